"""What a document holds: its blocks of code, and what they show that a program says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FREE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:,\d+)?|\d+\.\d+|…|\s+)")
FILE_NAME = re.compile(r"# (\S+\.(?:py|yaml))\n")


class Block(NamedTuple):
    language: str
    code: str
    line: int

    @property
    def file_name(self) -> str | None:
        """The file that the block shows, if its first line names one."""
        named = FILE_NAME.match(self.code)
        return named[1] if named else None


def blocks_of(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order; `line` is where the code begins, from 0."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)


def _pattern_of(line: str) -> re.Pattern[str]:
    """The line, loosely."""
    parts = FREE.split(line.strip())
    loose = (_loosened(part) if number % 2 else re.escape(part) for number, part in enumerate(parts))
    return re.compile("".join(loose))


def _loosened(part: str) -> str:
    if part == "…":
        return ".*"
    if part.isspace():
        return r"\s+"
    return r"[\d-]+ [\d:,]+" if part.count("-") else r"[\d,]+\.\d+"


def missing(shown: list[str], text: str) -> str | None:
    """The first line that does not follow the lines before it in a text; None if all are there in order.

    Compared loosely: the text may have more lines, `…` stands for anything, spaces, dates and numbers with a decimal
    point are free.
    """
    lines, at = text.splitlines(), 0
    for wanted in shown:
        pattern = _pattern_of(wanted)
        found = next((number for number in range(at, len(lines)) if pattern.search(lines[number])), None)
        if found is None and wanted.strip():
            return wanted
        at = at if found is None else found + bool(wanted.strip(" …"))
    return None
