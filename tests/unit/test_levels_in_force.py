"""Which log levels a worker's next life is told."""

from __future__ import annotations

from typing import Any

import pytest
from squall.cluster.levels import Level, Levels, in_force, told


def change(logger: str, level: str, for_s: Any = None) -> dict[str, Any]:
    return {"cmd": "log-level", "id": 1, "logger": logger, "level": level, "for_s": for_s}


def after(*commands: dict[str, Any], at_s: float = 100.0) -> Levels:
    levels = Levels()
    for command in commands:
        levels = told(levels, command, at_s)
    return levels


def test_a_level_that_lasts_is_in_force_until_another_one_is() -> None:
    assert in_force(after(change("mine", "DEBUG")), 1e9) == [Level("mine", "DEBUG")]
    assert in_force(after(change("mine", "DEBUG"), change("mine", "ERROR")), 1e9) == [Level("mine", "ERROR")]


def test_one_for_a_while_lies_above_the_one_that_lasts_and_ends_when_it_was_to() -> None:
    levels = after(change("mine", "ERROR"), change("mine", "DEBUG", 30))
    assert in_force(levels, 129.9) == [Level("mine", "ERROR"), Level("mine", "DEBUG", 130.0)]
    assert in_force(levels, 130.0) == [Level("mine", "ERROR")]


def test_one_that_lasts_ends_one_for_a_while() -> None:
    assert in_force(after(change("mine", "DEBUG", 30), change("mine", "ERROR")), 101) == [Level("mine", "ERROR")]


def test_a_reset_is_of_one_logger_or_of_all() -> None:
    two = (change("mine", "DEBUG"), change("other", "ERROR", 30))
    assert in_force(after(*two, {"cmd": "log-level-reset", "logger": "mine"}), 101) == [Level("other", "ERROR", 130.0)]
    assert in_force(after(*two, {"cmd": "log-level-reset"}), 101) == []


@pytest.mark.parametrize(
    "command",
    [change("mine", "LOUD"), change("mine", "DEBUG", "soon"), {"cmd": "log-level"}, {"cmd": "log-levels"}, {"cmd": 1}],
)
def test_what_workers_refuse_is_not_in_force(command: dict[str, Any]) -> None:
    before = after(change("mine", "ERROR"))
    assert told(before, command, 1.0) == before
