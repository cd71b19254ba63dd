"""Which lost lives a worker has let go of: those of which its loop has heard for sure."""

from __future__ import annotations

from squall.runtime.partings import Partings


def test_a_lost_life_is_let_go_of_by_the_report_after_the_next() -> None:
    """Semantics 14. The loop takes what it was told between two reports."""
    partings = Partings()
    partings.told(7)
    assert partings.over() == []
    partings.told(8)
    assert partings.over() == [7]
    assert partings.over() == [8]
    assert partings.over() == []


def test_what_a_report_could_not_tell_is_told_by_the_next() -> None:
    partings = Partings()
    partings.told(7)
    partings.over()
    partings.told(8)
    partings.untold(partings.over())
    assert partings.over() == [7, 8]
