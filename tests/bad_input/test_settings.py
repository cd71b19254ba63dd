"""Settings that no one means, from each source: told with key, value and source, all at once, and nothing starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from squall.config.load import load
from squall.config.table import SETTINGS, Setting
from squall.errors import ConfigError, SquallError

from .law import CommandLine, nothing_half_done
from .values import NUMBERS

NO_VALUES: dict[type, dict[str, str]] = {
    int: {**NUMBERS, "unit": "5 sec", "truth": "true", "list": "[1]", "exponent": "1e3"},
    float: {**NUMBERS, "unit": "5 sec", "unit alone": "s", "with unit": "30s", "comma": "1,5", "truth": "yes"},
    bool: {**NUMBERS, "typo": "ture", "both": "yes no", "letter": "y", "two": "2"},
    str: {"nul": "a\0b"},
}
"""Texts that are no value of a setting of a type, whatever its bounds; some are of some."""


def is_value(row: Setting, name: str, text: str) -> bool:
    """Whether the text is a value of this very setting, so that there is nothing to refuse."""
    if name == "empty":
        return row.default is None
    low, high = row.at_least if row.at_least is not None else 0, row.at_most if row.at_most is not None else 0
    within = {"zero": low <= 0, "fraction": row.kind is float and low <= 1.5 <= high, "negative": False}
    if row.kind is bool and name in ("zero", "number"):
        return True
    if row.kind is not bool and name == "other digits":
        return low <= 12 <= high
    return within.get(name, False) and row.kind is not bool


SOURCES: dict[str, Callable[[pytest.MonkeyPatch, str, str], list[str]]] = {}


def source(put: Callable[[pytest.MonkeyPatch, str, str], list[str]]) -> Callable[..., list[str]]:
    SOURCES[put.__name__.replace("_", " ")] = put
    return put


@source
def command_line(_: pytest.MonkeyPatch, key: str, text: str) -> list[str]:
    return [f"{key}={text}"]


@source
def environment(monkeypatch: pytest.MonkeyPatch, key: str, text: str) -> list[str]:
    monkeypatch.setenv("SQUALL_" + key.replace(".", "_").upper(), text)
    return []


@source
def file(_: pytest.MonkeyPatch, key: str, text: str) -> list[str]:
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in text)
    Path("squall.yaml").write_text(f'{key}: "{escaped}"\n', encoding="utf-8")
    return []


FIRST_OF_ITS_KIND = {row.kind: key for key, row in reversed(SETTINGS.items())}
"""The settings that are tried from each source; the others from the command line: the checks are the same."""
VALUES = {
    f"{where}: {key} {name}": (where, key, text)
    for key, row in SETTINGS.items()
    for name, text in NO_VALUES[row.kind].items()
    if not is_value(row, name, text)
    for where in (SOURCES if key == FIRST_OF_ITS_KIND[row.kind] else ["command line"])
    if not (where == "environment" and "\0" in text) and not (where == "environment" and key == "storm.local.dir")
}


@pytest.mark.parametrize(("where", "key", "text"), VALUES.values(), ids=VALUES)
def test_value_is_refused_with_key_value_and_source(
    where: str, key: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = SOURCES[where](monkeypatch, key, text)
    with pytest.raises(ConfigError) as caught:
        load(overrides)
    (defect,) = caught.value.defects
    facts = dict(defect.facts)
    named = {"command line": "-c ", "environment": "environment variable SQUALL_", "file": "squall.yaml:1"}
    assert defect.code == "setting_invalid"
    assert f'"{key}"' in defect.message
    assert named[where] in facts["given by"]
    assert facts["value"]
    assert SETTINGS[key].wanted in defect.fix
    assert all(line.isprintable() and len(line) < 1200 for line in str(defect).split("\n"))


MISSPELT = {key: key[:-2] + key[-1] + key[-2] for key in SETTINGS if key[-1] != key[-2]}


@pytest.mark.parametrize("key", MISSPELT)
@pytest.mark.parametrize("where", SOURCES)
def test_unknown_key_is_told_with_the_nearest(where: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = SOURCES[where](monkeypatch, MISSPELT[key], "1")
    with pytest.raises(ConfigError, match=r"setting_unknown") as caught:
        load(overrides)
    assert f'did you mean "{key}"?' in str(caught.value)


# -- the file -------------------------------------------------------------------------------------------------------

KEY = "topology.retries"
FILES: dict[str, bytes] = {
    "tab": f"\t{KEY}: 3\n".encode(),
    "tabs inside": b"topology:\n\tretries: 3\n",
    "unended list": f"{KEY}: [".encode(),
    "unended text": f'{KEY}: "3\n'.encode(),
    "two colons": b"a: b: c\n",
    "list": f"- {KEY}\n".encode(),
    "text": b"just a text\n",
    "number": b"5\n",
    "two documents": f"{KEY}: 3\n---\n{KEY}: 4\n".encode(),
    "twice": f"{KEY}: 3\n{KEY}: 4\n".encode(),
    "python object": b"!!python/object:os.system {}\n",
    "python call": f"{KEY}: !!python/object/apply:os.system ['touch pwned']\n".encode(),
    "python name": f"{KEY}: !!python/name:os.system\n".encode(),
    "unknown tag": f"{KEY}: !mine 3\n".encode(),
    "anchors": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 110))
    + f"{KEY}: *m\n".encode(),
    "anchor of itself": f"{KEY}: &a [*a]\n".encode(),
    "merge": f"base: &b {{x: 1}}\n<<: *b\n{KEY}: 3\n".encode(),
    "unknown alias": f"{KEY}: *nothing\n".encode(),
    "nested": b"topology:\n  retries: 3\n",
    "nested list": f"{KEY}:\n  - 3\n".encode(),
    "deep": b"a: " + b"[" * 50_000 + b"\n",
    "deep mapping": b"{a: " * 50_000 + b"\n",
    "number as key": b"1: 2\n",
    "truth as key": b"on: 2\n",
    "nothing as key": b"null: 2\n",
    "list as key": b"? [a, b]\n: 2\n",
    "mapping as key": b"? {a: b}\n: 2\n",
    "empty key": b"'': 2\n",
    "norway": b"worker.log.level: no\n",
    "truth for a text": b"topology.mask.fields: yes\n",
    "date for a number": f"{KEY}: 2026-01-01\n".encode(),
    "no such date": f"{KEY}: 2026-99-99\n".encode(),
    "octal": f"{KEY}: 0777777777777\n".encode(),
    "digits": f"{KEY}: {'9' * 5000}\n".encode(),
    "empty int": f"{KEY}: !!int ''\n".encode(),
    "empty float": f"{KEY}: !!float ''\n".encode(),
    "no truth": f"{KEY}: !!bool maybe\n".encode(),
    "no timestamp": f"{KEY}: !!timestamp soon\n".encode(),
    "no base64": f"{KEY}: !!binary '%'\n".encode(),
    "infinite": b"topology.stuck.secs: .inf\n",
    "nan": b"topology.stuck.secs: .nan\n",
    "utf-16": f"{KEY}: 3\n".encode("utf-16"),
    "latin-1": f"{KEY}: ü\n".encode("latin-1"),
    "nul": f"{KEY}: 3\0\n".encode(),
    "nul inside": b'storm.local.dir: "a\\0b"\n',
    "binary": bytes(range(256)),
    "zeros": b"\0" * 1000,
    "10 MB": f"{KEY}: 3\n".encode() + b"#" * (10 << 20),
    "long line": f"{KEY}: {'x' * 200_000}\n".encode(),
    "many keys": b"".join(b"key.%d: 1\n" % n for n in range(5000)),
    "windows": f"{KEY}: x\r\n".encode(),
    "byte order mark": b"\xef\xbb\xbf" + f"{KEY}: x\n".encode(),
    "directive": b"%YAML 9.9\n---\na: 1\n",
    "conflict": b"<<<<<<< HEAD\ntopology.retries: 3\n=======\n",
    "json": b'{"topology.retries": "many"}',
    "toml": b"topology.retries = 3\n",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_file_is_refused_with_its_name_and_line(content: bytes, command_line: CommandLine) -> None:
    (command_line.folder / "squall.yaml").write_bytes(content)
    refusal = command_line.refuses("check", "good.py")
    assert refusal.status == 2
    assert "squall.yaml" in refusal.err
    assert set(refusal.codes) <= {"settings_file", "setting_invalid", "setting_unknown", "setting_twice"}
    assert not (command_line.folder / "pwned").exists()


def directory(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing.yaml")


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.touch(0)


ODD_FILES = {one.__name__.replace("_", " "): one for one in (
    directory, fifo, link_to_itself, link_to_nothing, device, unreadable)}  # fmt: skip


@pytest.mark.parametrize("make", ODD_FILES.values(), ids=ODD_FILES)
@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
def test_what_is_no_file_is_told_and_not_waited_for(
    make: Callable[[Path], None], named: bool, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = command_line.folder / ("other.yaml" if named else "squall.yaml")
    make(path)
    if named:
        monkeypatch.setenv("SQUALL_CONFIG", str(path))
    refusal = command_line.said("check", "good.py")
    assert (refusal.status, refusal.codes) == (2, ["settings_file"])
    assert str(path) in refusal.err


def test_empty_files_and_byte_order_marks_say_nothing_wrong(tmp_path: Path) -> None:
    for content in (
        b"",
        b"\n",
        b"# nothing\n",
        b"---\n",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbftopology.retries: 3\n",
        b"null\n",
    ):
        (tmp_path / "squall.yaml").write_bytes(content)
        assert load()[KEY] == 3


# -- the state folder -----------------------------------------------------------------------------------------------

FOLDERS = {
    "file": "good.py",
    "below a file": "good.py/state",
    "device": "/dev/null/state",
    "proc": "/proc/nowhere",
    "no home": "~nobody-of-this-name/x",
    "link to itself": "circle/state",
    "long name": "x" * 300,
    "long path": "/".join(["x" * 200] * 25),
}
NEEDING_STATE = {
    "run": ["run", "good.py"],
    "stacks": ["stacks", "good"],
    "dead list": ["dead", "list", "good"],
    "dead replay": ["dead", "replay", "good"],
    "tap": ["tap", "last"],
}


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("line", NEEDING_STATE.values(), ids=NEEDING_STATE)
def test_state_folder_of_no_use_is_told(folder: str, line: list[str], command_line: CommandLine) -> None:
    (command_line.folder / "circle").symlink_to("circle")
    refusal = command_line.refuses(*line, "-c", f"storm.local.dir={folder}")
    assert set(refusal.codes) <= {"state_unusable", "local_dir_unknown", "not_running", "no_dead_letters"}
    if line[0] == "run":
        assert refusal.codes[0] in ("state_unusable", "local_dir_unknown")


def test_current_folder_that_was_removed_is_told(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = command_line.folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("SQUALL_STORM_LOCAL_DIR", "state")
    assert command_line.refuses("check", "good.py").codes == ["file_missing"]
    assert command_line.refuses("stacks", "good").codes == ["local_dir_unknown"]
    monkeypatch.chdir(command_line.folder)


# -- what hypothesis finds ------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text("a:-[]{}&*!|>'\"%@#? \n\t0.", max_size=40).map(str.encode))
def test_any_bytes_are_settings_or_an_error_of_them(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "squall.yaml").write_bytes(content)
    with nothing_half_done(tmp_path):
        try:
            load()
        except SquallError as error:
            told = str(error)
        else:
            return
    assert "squall.yaml" in told
    assert all(line.isprintable() for line in told.split("\n"))


CASES = [
    *VALUES,
    *(f"{where}: unknown {key}" for where in SOURCES for key in MISSPELT),
    *(f"file: {name}" for name in FILES),
    *(f"{how} file: {name}" for how in ("found", "named") for name in ODD_FILES),
    *(f"{line}: state folder {folder}" for line in NEEDING_STATE for folder in FOLDERS),
]
