"""How squall refuses: with defects that have a code and a page, name a thing, and keep to their lines."""

from __future__ import annotations

import re
from pathlib import Path

import squall.explained
from squall.errors import MAX_FACT_LINES, MAX_LINE, SquallError

CODE = re.compile(r"[a-z]+(_[a-z]+)+")
PAGES = {page.stem for folder in squall.explained.__path__ for page in Path(folder).glob("*.md")}


def check_refusal(error: SquallError) -> None:
    """It says what is wrong as the others do."""
    assert error.defects, "a refusal says why"
    for defect in error.defects:
        assert CODE.fullmatch(defect.code), defect.code
        assert defect.code in PAGES, defect.code
        assert defect.message.strip(), "it says what happened"
        lines = str(defect).split("\n")
        assert all(line.isprintable() and len(line) <= MAX_LINE + 200 for line in lines), lines
        assert len(lines) <= 3 + (MAX_FACT_LINES + 1) * len(defect.facts), len(lines)
