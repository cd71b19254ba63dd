"""docs/parity.md has a true row for each feature of Storm 1.2.1."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
IDS = Path(__file__).with_name("parity_ids.txt").read_text(encoding="utf-8").split()
STATES = ("done", "partly", "planned")


class Row(NamedTuple):
    id: str
    feature: str
    state: str
    module: str
    test: str


def rows_of(text: str) -> list[Row]:
    lines = [line for line in text.splitlines() if line.startswith("| F-")]
    return [Row(*(cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1])) for line in lines]


ROWS = rows_of((ROOT / "docs/parity.md").read_text(encoding="utf-8"))
THERE = [row for row in ROWS if row.state in ("done", "partly")]


def test_each_feature_has_one_row() -> None:
    assert Counter(row.id for row in ROWS) == Counter(IDS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_state_is_one_of_three_and_only_what_is_there_is_proven(row: Row) -> None:
    assert row.feature
    assert row.state in STATES
    assert bool(row.module) == bool(row.test) == (row.state != "planned")


@pytest.mark.parametrize("row", THERE, ids=lambda row: row.id)
def test_the_module_and_the_test_that_a_row_names_exist(row: Row) -> None:
    assert (ROOT / row.module).is_file()
    path, _, name = row.test.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
