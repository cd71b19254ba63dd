"""Decision records are numbered, listed, and have the same parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs/decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))


def test_numbers_have_no_gap() -> None:
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_is_listed_by_its_title_and_has_every_part(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    number, title = record.name[:4], text.partition("\n")[0].removeprefix("# ")
    assert title.startswith(f"{number} ")
    assert f"| [{number}]({record.name}) | {title[5:]} |" in (FOLDER / "README.md").read_text(encoding="utf-8")
    parts = re.findall(r"^\*\*(Context|Options|Decision|Price|What would change our mind)\.\*\*", text, re.MULTILINE)
    assert parts == ["Context", "Options", "Decision", "Price", "What would change our mind"]
