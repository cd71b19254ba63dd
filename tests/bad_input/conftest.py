"""A folder for each test with the files that commands are given, and no settings but those of the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .law import CommandLine

GOOD = """
from squall import Topology

def build(region: str = "eu", limit: int = 3) -> Topology:
    topology = Topology("good")
    topology.bolt("last", lambda n: None).shuffle(topology.spout("numbers", lambda: iter(range(limit)), outputs=("n",)))
    return topology
"""
DEFECTIVE = """
from squall import Topology

topology = Topology("defective")
"""


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment says where the state is, and nothing else."""
    for name in [name for name in os.environ if name.startswith("SQUALL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SQUALL_STORM_LOCAL_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "defective.py").write_text(DEFECTIVE)


@pytest.fixture
def command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, capfd)
