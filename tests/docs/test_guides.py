"""The guides: their code runs in order, their tests pass, and what they call wrong is refused in the words they show.

A Python block that is followed by a `text` block with a code is wrong on purpose: it, or a run of its topology, leads
to that message. What it defines is forgotten.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from squall import Topology
from squall.errors import SquallError
from squall.planner.validate import validate
from squall.testing import LocalCluster

from .documents import ROOT, Block, blocks_of, missing

GUIDES = sorted(page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/guides/[a-z]*.md"))
PAST_ALL_TRIES_S = 120


def is_message(block: Block) -> bool:
    return block.language == "text" and "  code: " in block.code


def right_and_wrong(page: str) -> tuple[list[Block], list[tuple[Block, Block]]]:
    """The Python blocks that are to run, and those that are wrong with the messages they lead to."""
    blocks = list(blocks_of(page))
    wrong = [pair for pair in pairwise(blocks) if pair[0].language == "python" and is_message(pair[1])]
    mistaken = [block for block, _ in wrong]
    return [block for block in blocks if block.language == "python" and block not in mistaken], wrong


def execute(block: Block, page: str, names: dict[str, Any]) -> None:
    exec(compile("\n" * block.line + block.code, page, "exec"), names)


def executed(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "guide"}
    for block in right_and_wrong(page)[0]:
        execute(block, page, names)
    return names


def told(block: Block, page: str, caplog: pytest.LogCaptureFixture) -> str:
    """What squall says to a wrong block: when it is executed, when its topology is checked, when that runs."""
    names = executed(page)
    before = set(names)
    try:
        execute(block, page, names)
        for topology in [names[name] for name in names.keys() - before if isinstance(names[name], Topology)]:
            with LocalCluster(topology) as cluster:
                cluster.advance(PAST_ALL_TRIES_S)
                return caplog.text + "".join(letter.traceback for letter in cluster.dead_letters())
    except SquallError as error:
        return str(error)
    return ""


def pitfalls() -> Iterator[Any]:
    for page in GUIDES:
        for block, message in right_and_wrong(page)[1]:
            yield pytest.param(page, block, message, id=f"{Path(page).stem}:{block.line}")


@pytest.mark.parametrize("page", GUIDES)
def test_code_of_a_guide_runs_and_its_tests_pass(
    page: str, tmp_path: Path, local_cluster: Callable[..., LocalCluster]
) -> None:
    names = executed(page)
    for topology in [value for value in names.values() if isinstance(value, Topology)]:
        validate(topology)
    tests = [value for name, value in names.items() if name.startswith("test_") and inspect.isfunction(value)]
    assert tests, "a guide shows at least one test"
    for number, test in enumerate(tests):
        (folder := tmp_path / str(number)).mkdir()
        for seed in range(seeds_of(test)):
            fixtures = {"tmp_path": folder, "local_cluster": local_cluster, "squall_seed": seed}
            test(**{name: fixtures[name] for name in inspect.signature(test).parameters})


def seeds_of(test: Any) -> int:
    """How often a test is run."""
    return next((mark.args[0] for mark in getattr(test, "pytestmark", ()) if mark.name == "squall_seeds"), 1)


def test_the_bolt_that_loses_orders_is_found_as_the_guide_shows(tmp_path: Path) -> None:
    page = "docs/guides/crash-tests.md"
    code, shown = right_and_wrong(page)[0], [block for block in blocks_of(page) if block.language != "python"]
    assert "manual_ack" not in code[0].code
    for name, tests, expected in (("shop", code[1], shown[0]), ("shrunk", code[3], shown[1])):
        (tmp_path / f"test_{name}.py").write_text(code[0].code + "\n\n" + tests.code)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=1"]
        at_home = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
        done = subprocess.run(
            [*command, f"test_{name}.py"],
            cwd=tmp_path, env=at_home, capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip
        assert done.returncode == 1, done.stdout
        lines = [line for line in expected.code.splitlines() if not line.startswith("$") and "  seed=" not in line]
        assert missing(lines, done.stdout) is None, done.stdout


@pytest.mark.parametrize(("page", "block", "message"), list(pitfalls()))
def test_a_pitfall_is_told_in_the_words_of_the_guide(
    page: str, block: Block, message: Block, caplog: pytest.LogCaptureFixture
) -> None:
    text = told(block, page, caplog)
    assert missing(message.code.splitlines(), text) is None, text


def test_every_guide_shows_a_pitfall() -> None:
    assert {page for page in GUIDES if not right_and_wrong(page)[1]} == set()
