"""Settings: where values come from, which wins, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from squall.config.load import checked, load, local_dir
from squall.config.table import DEFAULTS, SETTINGS, Scope
from squall.errors import ConfigError, Defect, repr_of

RETRIES = "topology.retries"


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SQUALL_CONFIG", raising=False)


def defects(*overrides: str) -> list[Defect]:
    with pytest.raises(ConfigError) as caught:
        load(overrides)
    return list(caught.value.defects)


def facts(defect: Defect) -> dict[str, str]:
    return dict(defect.facts)


def test_nothing_given_is_the_defaults() -> None:
    assert load() == DEFAULTS


def test_each_source_is_stronger_than_the_one_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "squall.yaml").write_text(f"{RETRIES}: 4\ntopology.stuck.secs: 1\nworker.log.level: debug\n")
    assert (load()[RETRIES], load()["worker.log.level"]) == (4, "DEBUG")
    monkeypatch.setenv("SQUALL_TOPOLOGY_RETRIES", "5")
    assert load()[RETRIES] == 5
    assert load([f"{RETRIES}=6"])[RETRIES] == 6
    assert load([f"{RETRIES}=6", f" {RETRIES} = 7 "])[RETRIES] == 7
    assert load()["topology.stuck.secs"] == 1.0


def test_another_file_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "squall.yaml").write_text(f"{RETRIES}: 4\n")
    (tmp_path / "other.yaml").write_text(f"{RETRIES}: 8\n")
    monkeypatch.setenv("SQUALL_CONFIG", str(tmp_path / "other.yaml"))
    assert load()[RETRIES] == 8
    monkeypatch.setenv("SQUALL_CONFIG", str(tmp_path / "missing.yaml"))
    assert [defect.code for defect in defects()] == ["settings_file"]


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "squall.yaml").write_text("# nothing yet\n")
    assert load() == DEFAULTS


@pytest.mark.parametrize(
    "content", [b"a: [", b"- topology.retries", b"just a text", b"\xff\xfe\x00", b"a: b: c", b"!!python/object:os.x {}"]
)
def test_a_file_that_is_no_mapping_cannot_be_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "squall.yaml").write_bytes(content)
    (defect,) = defects()
    assert defect.code == "settings_file"
    assert facts(defect)["file"].startswith(str(tmp_path / "squall.yaml"))


def test_everything_wrong_is_told_at_once_with_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "squall.yaml").write_text("worker.log.level: INFO\n\ntopology.retires: 5\n")
    monkeypatch.setenv("SQUALL_TOPOLOGY_STUCK_SECS", "soon")
    monkeypatch.setenv("SQUALL_TOPOLOGY_RETIRES", "5")
    found = defects(f"{RETRIES}=many", RETRIES)
    assert sorted((defect.code, facts(defect).get("given by", "")) for defect in found) == [
        ("setting_invalid", "-c topology.retries=many"),
        ("setting_invalid", "environment variable SQUALL_TOPOLOGY_STUCK_SECS"),
        ("setting_syntax", ""),
        ("setting_unknown", f"{tmp_path}/squall.yaml:3"),
        ("setting_unknown", "environment variable SQUALL_TOPOLOGY_RETIRES"),
    ]
    assert all('did you mean "topology.retries"?' in d.fix for d in found if d.code == "setting_unknown")


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUALL_PROFILE", "dist")
    monkeypatch.setenv("TOPOLOGY_RETRIES", "9")
    assert load() == DEFAULTS


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        (RETRIES, "7", 7),
        (RETRIES, 7.0, 7),
        ("topology.max.pending.bytes", 2**53 + 1, 2**53 + 1),
        ("topology.message.timeout.secs", 5, 5.0),
        ("topology.message.timeout.secs", "1e1", 10.0),
        ("topology.stuck.restart", "Yes", True),
        ("topology.stuck.restart", False, False),
        ("topology.stuck.restart", "0", False),
        ("worker.log.level", "warning", "WARNING"),
        ("topology.max.spout.pending", None, None),
        ("topology.max.spout.pending", "none", None),
        ("topology.max.spout.pending", "", None),
    ],
)
def test_values_become_their_type(key: str, given: object, value: object) -> None:
    converted = checked(key, given, "here", Scope.LOCAL)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("key", "given", "wanted"),
    [
        (RETRIES, -1, "a whole number, 0–1,000,000"),
        (RETRIES, 1.5, "a whole number"),
        (RETRIES, True, "a whole number"),
        (RETRIES, None, "a whole number"),
        (RETRIES, [3], "a whole number"),
        ("topology.message.timeout.secs", "nan", "a number, 0.001–86,400 (s)"),
        ("topology.message.timeout.secs", float("inf"), "a number"),
        ("topology.message.timeout.secs", 10**400, "a number"),
        ("topology.message.timeout.secs", 0, "a number"),
        ("topology.stats.sample.rate", 1.01, "a number, 0–1"),
        ("topology.stuck.restart", "maybe", "true or false"),
        ("topology.stuck.restart", 1, "true or false"),
        ("worker.log.level", "LOUD", "one of DEBUG, INFO"),
        ("worker.log.level", 10, "one of DEBUG, INFO"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_wanted(key: str, given: object, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(key, given, "here", Scope.LOCAL)
    (defect,) = caught.value.defects
    assert (defect.code, facts(defect)["value"], facts(defect)["given by"]) == (
        "setting_invalid",
        repr_of(given),
        "here",
    )
    assert wanted in defect.fix


@pytest.mark.parametrize(
    ("key", "scope", "fix"),
    [
        ("topology.workers", Scope.COMPONENT, "Topology("),
        ("storm.local.dir", Scope.TOPOLOGY, "squall.yaml"),
        ("storm.local.dir", Scope.COMPONENT, "squall.yaml"),
    ],
)
def test_a_known_key_in_the_wrong_place_says_where_it_goes(key: str, scope: Scope, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(key, 1, "here", scope)
    assert caught.value.code == "setting_scope"
    assert fix in str(caught.value)


@pytest.mark.parametrize("scope", list(Scope))
def test_every_scope_takes_the_local_sources_and_its_own(scope: Scope) -> None:
    """The command line may say anything; a component only what concerns it."""
    assert scope.takes(Scope.LOCAL)
    assert scope.takes(scope)
    assert Scope.COMPONENT.takes(scope)


@pytest.mark.parametrize("key", SETTINGS)
def test_every_default_is_allowed(key: str) -> None:
    row = SETTINGS[key]
    assert row.default is None or row.allows(row.default)
    assert checked(key, row.default, "here", Scope.LOCAL) == row.default


STORM_DEFAULTS: dict[str, Any] = {
    "topology.workers": 1,
    "topology.message.timeout.secs": 30,
    "topology.enable.message.timeouts": True,
    "topology.max.spout.pending": None,
    "topology.max.task.parallelism": None,
    "topology.tasks": None,
    "topology.acker.executors": None,
    "topology.stats.sample.rate": 0.05,
    "topology.tick.tuple.freq.secs": None,
    "topology.sleep.spout.wait.strategy.time.ms": 1,
    "topology.error.throttle.interval.secs": 10,
    "topology.max.error.report.per.interval": 5,
    "topology.executor.receive.buffer.size": 1024,
    "backpressure.disruptor.high.watermark": 0.9,
    "backpressure.disruptor.low.watermark": 0.4,
    "topology.disable.loadaware.messaging": False,
}


def test_defaults_are_storms_where_storm_has_one() -> None:
    """Source: Storm 1.2.1 `conf/defaults.yaml`."""
    assert {key: DEFAULTS[key] for key in STORM_DEFAULTS} == STORM_DEFAULTS


def test_local_dir_follows_setting_then_xdg_then_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert local_dir({}) == Path("/home/ada/.local/state/squall")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert local_dir({}) == Path("/state/squall")
    assert local_dir({"storm.local.dir": "~/mine"}) == Path("/home/ada/mine")
    assert local_dir({"storm.local.dir": "mine"}) == Path.cwd() / "mine"
