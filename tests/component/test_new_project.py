"""`squall new`: what it makes runs, is tested, formatted and type-checks; it never writes over anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from squall.cli.app import exit_code_of
from squall.cli.creating import files

from .conftest import Squall, wait_until


def tool(folder: Path, *arguments: str) -> str:
    """What a tool of Python prints in the project; it must end well."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_new_project_runs_and_is_tested_and_type_checks(squall: Squall) -> None:
    made = squall.done("new", "warm-rooms")
    assert made.process.returncode == 0, made.err
    assert 'made "warm-rooms"' in made.out
    assert "cd warm-rooms && squall run topology.py --for 10s\n  pytest\n  squall check topology.py\n" in made.out
    folder = squall.folder / "warm-rooms"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(files())
    assert "{{" not in "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    run = squall.start("run", folder / "topology.py", "--json", "-p", "limit=22")
    wait_until(lambda: any(event["acked"] for event in run.events("progress")), what="the first reading")
    run.interrupt()
    assert run.end() == 0
    assert run.summary()["topology"] == "warm-rooms"
    assert "3 passed" in tool(folder, "pytest", "-p", "no:cacheprovider")
    tool(folder, "ruff", "check", ".")
    tool(folder, "ruff", "format", "--check", ".")
    report = json.loads(tool(folder, "basedpyright", "--pythonpath", sys.executable, "--outputjson"))
    assert report["summary"]["filesAnalyzed"] == 2
    assert report["generalDiagnostics"] == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folder_that_holds_something_is_left_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "topology.py").write_text("mine")
    assert exit_code_of(["new", "mine"]) == 2
    err = capsys.readouterr().err
    assert '"mine" is not empty\n  holds: topology.py\n' in err
    assert [path.name for path in (here / "mine").iterdir()] == ["topology.py"]
    (here / "file").touch()
    assert exit_code_of(["new", "file"]) == 2


def test_project_is_made_in_an_empty_repository(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".git").mkdir()
    assert exit_code_of(["new", ".", "--name", "orders"]) == 0
    assert "next:\n  squall run topology.py" in capsys.readouterr().out
    assert 'Topology("orders")' in (here / "topology.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["new", "a b"], 2, "or name it: --name NAME"),
        (["new", "good", "--name", "a/b"], 2, "code: name_invalid"),
        (["new", "/proc/project"], 1, "code: project_unwritable"),
    ],
)
def test_what_cannot_be_made_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert exit_code_of(arguments) == code
    assert said in capsys.readouterr().err
    assert not list(here.iterdir())
