"""What the documents show runs: their Python, their commands, their links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest
from squall import Topology
from squall.cli.app import tree
from squall.planner.validate import validate

from .documents import ROOT, blocks_of

PAGES = [page.relative_to(ROOT).as_posix() for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
SQUALL: Any = tree()


def commands_of(page: str) -> Iterator[list[str]]:
    """The words of each shown command, up to a comment or what the shell makes of the rest (`>`, `|`, `&`)."""
    for block in blocks_of(page):
        if block.language == "console":
            for line in block.code.splitlines():
                if line.startswith("$ "):
                    words = shlex.split(line.removeprefix("$ "), comments=True)
                    yield list(takewhile(lambda word: word not in (">", "|", "&", "&&"), words))


PYTHON = [
    page
    for page in PAGES
    if not page.startswith(("docs/tutorial/", "docs/guides/"))  # they have tests of their own
    and any(block.language == "python" for block in blocks_of(page))
]
COMMANDS = [
    pytest.param(words, id=f"{page}: {' '.join(words)}")
    for page in PAGES
    for words in commands_of(page)
    if words[0] in ("squall", "make")
]
MENTIONS = [
    pytest.param(match[1].replace("\\|", "|"), id=f"{page}: {match[1]}")
    for page in PAGES
    for match in re.finditer(r"`squall ([a-z][^`\n]*)`", (ROOT / page).read_text(encoding="utf-8"))
]
LINKS = [
    pytest.param(page, match[1], id=f"{page}: {match[1]}")
    for page in PAGES
    for match in re.finditer(r"\]\(([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8"))
    if "://" not in match[1]
]


def test_there_is_something_to_check() -> None:
    assert "README.md" in PYTHON
    assert COMMANDS
    assert MENTIONS
    assert LINKS


@pytest.mark.parametrize("page", PYTHON)
def test_python_runs_in_order_and_its_topologies_are_valid(page: str) -> None:
    namespace: dict[str, Any] = {"__name__": "documented"}
    for block in blocks_of(page):
        if block.language == "python":
            lines_before = "\n" * block.line
            exec(compile(lines_before + block.code, page, "exec"), namespace)
    for topology in [value for value in namespace.values() if isinstance(value, Topology)]:
        validate(topology)


def parsed(words: list[str]) -> None:
    """Parses a command of `squall` as the command line does, and runs nothing; raises if that is wrong use."""
    command = SQUALL
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    command.make_context(command.name, words)


@pytest.mark.parametrize("words", COMMANDS)
def test_shown_commands_exist(words: list[str]) -> None:
    if words[0] == "make":
        assert {word for word in words[1:] if "=" not in word} <= TARGETS
    else:
        parsed(words[1:])


@pytest.mark.parametrize(
    "words", [["rnu", "words.py"], ["run", "words.py", "--fro", "20s"], ["dead", "lst"], ["explain"]]
)
def test_a_command_that_does_not_exist_would_be_found(words: list[str]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (its class is private to typer)
        parsed(words)
    assert isinstance(caught.value, KeyError) or getattr(caught.value, "exit_code", None) == 2


@pytest.mark.parametrize("mention", MENTIONS)
def test_mentioned_commands_exist(mention: str) -> None:
    """`squall dead list|show` names two commands; words in capitals are the reader's."""
    group = SQUALL
    for word in mention.split():
        if not hasattr(group, "commands"):
            break
        names = word.split("|")
        assert set(names) <= group.commands.keys()
        group = group.commands[names[0]]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links_lead_somewhere(page: str, link: str) -> None:
    assert (ROOT / page).parent.joinpath(link).exists()
