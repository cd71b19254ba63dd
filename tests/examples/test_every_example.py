"""Every example as its reader meets it: in the table, by its docstring, and run on its sample data."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from squall.planner.load import load_topology
from squall.planner.validate import validate

EXAMPLES = Path(__file__).parents[2] / "examples"
TABLE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
COMMANDS = dict(re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \|.*\| `(squall run [^`]+)` \|$", TABLE, re.MULTILINE))
OLDER = {"word_count", "feeder", "run_word_count"}
"""Files that stand for the live job; `tests/component/test_examples.py` has them."""
DEAD = {"async_enrichment": 1, "csv_to_parquet": 3, "model_scoring": 2}
FAILED_TRIES = set(DEAD)


def documented(name: str) -> tuple[str, list[str]]:
    """The command of the example's docstring, and the lines that it says come out."""
    docstring = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8")))
    shown = re.search(r"^    \$ (squall run \S+) .*\n((?:    .+\n)+)", docstring or "", re.MULTILINE)
    assert shown, f"the docstring of {name}.py shows no command with its output"
    return shown[1], [" ".join(line.split()) for line in shown[2].splitlines()]


def test_the_table_names_every_example() -> None:
    assert set(COMMANDS) == {path.stem for path in EXAMPLES.glob("*.py")} - OLDER
    assert len(COMMANDS) == 11


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_example_takes_the_parameters_that_its_docstring_shows(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    shown = re.findall(r" -p (\w+)=(\S+)", text.split('"""')[1])
    given = [f"{key}={value}" for key, value in shown if value != "FILE"]
    topology = load_topology(str(EXAMPLES / f"{name}.py"), "build", given)
    validate(topology)
    build: Any = sys.modules[name].build
    assert list(inspect.signature(build).parameters) == [key for key, _ in shown]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_example_runs_on_its_sample_data_and_prints_what_it_says(name: str, tmp_path: Path) -> None:
    """It ends by itself with exit code 0 and nothing pending; only those about dead letters have some."""
    command, lines = documented(name)
    assert command == COMMANDS[name] == f"squall run examples/{name}.py"
    summary_file = tmp_path / "summary.json"
    run = subprocess.run(
        [sys.executable, "-m", "squall.cli", *command.split()[1:], "--json", "--summary", str(summary_file)],
        cwd=EXAMPLES.parent,
        env=os.environ | {"SQUALL_STORM_LOCAL_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    summary = json.loads(summary_file.read_text())
    assert summary["pending"] == 0
    assert summary["dead"] == DEAD.get(name, 0)
    assert (summary["failed"] > 0) == (name in FAILED_TRIES)
    assert summary["emitted"] == summary["acked"] + summary["failed"]
    printed = {" ".join(line.split()) for line in run.stderr.splitlines()}  # with --json standard output has only JSON
    assert [line for line in lines if line not in printed] == []


def test_examples_pass_the_strict_type_checker(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    options = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": [str(EXAMPLES / f"{name}.py") for name in COMMANDS],
        "extraPaths": [str(EXAMPLES.parent / "python")],
    }
    config.write_text(json.dumps(options))
    checker = Path(sys.executable).with_name("basedpyright")
    command = [str(checker), "-p", str(config), "--outputjson", "--pythonpath", sys.executable]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert result["summary"]["filesAnalyzed"] == len(COMMANDS)
    assert [diagnostic["message"] for diagnostic in result["generalDiagnostics"]] == []
