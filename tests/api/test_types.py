"""The public types: what must be accepted, and what must be refused, by a strict type checker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHECKER = Path(sys.executable).with_name("basedpyright")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[int]]:
    """Lines with errors, by file."""
    config = tmp_path_factory.mktemp("types") / "pyrightconfig.json"
    files = [str(HERE / f"check_{name}.py") for name in ("accepts", "refuses", "testing")]
    options = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": files,
        "extraPaths": [str(ROOT / "python")],
    }
    config.write_text(json.dumps(options))
    command = [str(CHECKER), "-p", str(config), "--outputjson", "--pythonpath", sys.executable]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert result["summary"]["filesAnalyzed"] == len(files)
    lines: dict[str, set[int]] = {Path(file).name: set() for file in files}
    for diagnostic in result["generalDiagnostics"]:
        if diagnostic["severity"] == "error":
            lines[Path(diagnostic["file"]).name].add(diagnostic["range"]["start"]["line"] + 1)
    return lines


@pytest.mark.parametrize("name", ["check_accepts.py", "check_testing.py"])
def test_what_users_write_is_accepted(reported: dict[str, set[int]], name: str) -> None:
    assert reported[name] == set()


def test_every_marked_line_is_refused_and_no_other(reported: dict[str, set[int]]) -> None:
    text = (HERE / "check_refuses.py").read_text()
    marked = {number for number, line in enumerate(text.splitlines(), 1) if re.search(r"# E\b", line)}
    assert reported["check_refuses.py"] == marked


def test_the_testing_file_also_runs() -> None:
    namespace: dict[str, object] = {"__name__": "check_testing"}
    exec(compile((HERE / "check_testing.py").read_text(), "check_testing.py", "exec"), namespace)
    namespace["test_second_attempt_is_written"]()  # type: ignore[operator]
