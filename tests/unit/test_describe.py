"""A topology as plain data: what belongs to it, and where two differ."""

from __future__ import annotations

import json
from typing import Any

from squall import Bolt, Topology
from squall.planner.describe import describe, differences
from squall.planner.validate import validate


class Split(Bolt):
    outputs = ("word",)

    def __init__(self, separator: str = " ") -> None:
        self.separator = separator

    def process(self, line: str) -> list[str]:
        return line.split(self.separator)


def made(
    parallelism: int = 1, separator: str = " ", settings: dict[str, object] | None = None, by_field: bool = False
) -> dict[str, Any]:
    topology = Topology("words", settings=settings)
    lines = topology.spout("lines", lambda: iter(()), outputs=("line",))
    split = topology.bolt("split", Split(separator), parallelism=parallelism)
    _ = split.fields(lines, "line") if by_field else split.shuffle(lines)
    return describe(validate(topology))


def test_arguments_and_code_are_no_part_of_it() -> None:
    """Semantics 39."""
    assert list(differences(made(), made(separator=","))) == []


def test_each_difference_is_told_with_its_place() -> None:
    """Semantics 39."""
    other = made(parallelism=2, settings={"topology.retries": 5}, by_field=True)
    assert list(differences(made(), other)) == [
        "components.split.inputs: ['shuffle() of lines/default'] ≠ ['fields(line) of lines/default']",
        "components.split.parallelism: 1 ≠ 2",
        "components.split.tasks: 1 ≠ 2",
        "settings.topology.retries: None ≠ 5",
    ]


def test_it_comes_back_from_json() -> None:
    described = made(parallelism=3, by_field=True)
    assert json.loads(json.dumps(described)) == described
