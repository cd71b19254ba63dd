"""The pytest plug-in, seen by running pytest on a user's test file."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

TOPOLOGY = """
from squall import Bolt, Topology

class Broken(Bolt):
    closed = []

    def process(self, word):
        raise ValueError(f"cannot take {word}")

    def close(self):
        self.closed.append(True)

def make():
    topology = Topology("words")
    topology.bolt("broken", Broken, retries=0).shuffle(topology.spout("s", lambda: iter(()), outputs=("word",)))
    return topology
"""


def run_pytest(folder: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_words.py").write_text(TOPOLOGY + test)
    installed = any(point.value == "squall.testing.plugin" for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "squall.testing.plugin"]
    command = [sys.executable, "-m", "pytest", *plugin, "-p", "no:cacheprovider", "--rootdir", str(folder), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_failed_test_shows_dead_letters_and_errors_of_its_clusters(tmp_path: Path) -> None:
    test = """
def test_words(local_cluster):
    cluster = local_cluster(make(), mock_sources={"s": ["a"]})
    cluster.run_until_idle()
    assert cluster.acked("s") == ["a"]
"""
    result = run_pytest(tmp_path, test)
    assert result.returncode == 1, result.stdout
    assert "squall topology 'words'" in result.stdout
    assert "dead letter of \"broken\" (1 tries): s/default(word='a'): ValueError: cannot take a" in result.stdout
    assert 'error in `process` of "broken"' in result.stdout
    assert 'raise ValueError(f"cannot take {word}")' in result.stdout


def test_clusters_are_closed_at_the_end_of_their_test(tmp_path: Path) -> None:
    test = """
def test_first(local_cluster):
    cluster = local_cluster(make(), mock_sources={"s": ["a"]}, seed=3, settings={"topology.retries": 1})
    other = local_cluster(make(), mock_sources={"s": []})
    cluster.run_until_idle()
    assert cluster.failed("s") == ["a"]
    assert not Broken.closed

def test_second():
    assert Broken.closed == [True, True]
"""
    result = run_pytest(tmp_path, test)
    assert result.returncode == 0, result.stdout


def test_the_plugin_alone_does_not_load_the_runtime() -> None:
    """Else each start of pytest would pay for it, and coverage would miss what was imported before."""
    code = "import sys, squall.testing.plugin; print([m for m in sys.modules if m.startswith('squall.runtime')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_a_test_is_run_with_each_seed_and_the_one_that_fails_is_shown(tmp_path: Path) -> None:
    test = """
import pytest

@pytest.mark.squall_seeds(20)
def test_seeds(squall_seed, local_cluster):
    cluster = local_cluster(make(), mock_sources={"s": []}, workers=2, seed=squall_seed)
    assert squall_seed != 17

def test_without_the_mark(squall_seed):
    assert squall_seed == 0
"""
    result = run_pytest(tmp_path, test, "--strict-markers", "-W", "error")
    assert result.returncode == 1, result.stdout
    assert "1 failed, 20 passed" in result.stdout
    assert "the same history again: pytest 'test_words.py::test_seeds[seed=17]'" in result.stdout
    again = run_pytest(tmp_path, test, "test_words.py::test_seeds[seed=17]")
    assert "= 1 failed in" in again.stdout


@pytest.mark.parametrize("mark", ["squall_seeds", "squall_seeds()", "squall_seeds(0)", "squall_seeds(count=3)"])
def test_seeds_that_are_none_are_refused(tmp_path: Path, mark: str) -> None:
    result = run_pytest(
        tmp_path,
        f"""
import pytest

@pytest.mark.{mark}
def test_seeds(squall_seed):
    pass
""",
    )
    assert result.returncode != 0
    assert "code: seeds_invalid" in result.stdout + result.stderr
    assert "give it one whole number from 1" in result.stdout + result.stderr


def test_seeds_that_nobody_takes_are_refused(tmp_path: Path) -> None:
    result = run_pytest(
        tmp_path,
        """
import pytest

@pytest.mark.squall_seeds(3)
def test_seeds():
    pass
""",
    )
    assert result.returncode != 0
    assert "does not use the fixture squall_seed" in result.stdout + result.stderr


def test_the_line_that_repeats_a_seed_is_for_the_folder_pytest_was_started_in(tmp_path: Path) -> None:
    (folder := tmp_path / "below").mkdir()
    test = """
import pytest

@pytest.mark.squall_seeds(1)
def test_seeds(squall_seed):
    assert squall_seed == 1
"""
    result = run_pytest(folder, test, "--rootdir", str(tmp_path))
    assert "again: pytest 'test_words.py::test_seeds[seed=0]'" in result.stdout, result.stdout
