"""The conformance kit on sources: right ones pass every schedule, and each law finds the source that breaks it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from squall import Batch, Spout
from squall.errors import TopologyError
from squall.testing import conformance
from squall.testing.conformance import SourceSchedule, SourceUnderTest
from squall.testing.conformance.source_laws import LAWS

from .shelf import PlacedSource, Shelf, ShelfSource


def number_of(row: tuple[Any, ...]) -> int:
    return row[0]


def under_test(make: Callable[[Shelf], Spout], folder: Path, **more: Any) -> SourceUnderTest:
    shelf = Shelf(folder)
    parts: dict[str, Any] = {"outage": shelf.unavailable, "outage_s": 0.2, "replay_max": 30}
    if not (isinstance(make, type) and issubclass(make, PlacedSource)):
        parts["done"] = shelf.done
    return SourceUnderTest(make=lambda: make(shelf), put=shelf.put, number_of=number_of, **(parts | more))


@pytest.mark.parametrize("source", [ShelfSource, PlacedSource])
@pytest.mark.parametrize("schedule", conformance.source_schedules())
def test_a_right_source_passes(source: type[ShelfSource], schedule: SourceSchedule, tmp_path: Path) -> None:
    report = conformance.check_source(under_test(source, tmp_path), schedule, seed=1)
    assert report.given >= 20


# -- wrong sources -------------------------------------------------------------------------------------------------


class NeverAgain(ShelfSource):
    """Takes what failed for done."""

    def fail(self, row: int) -> None:
        pass


class MakesUp(ShelfSource):
    """Emits what nobody put."""

    def next_batch(self, limit: int) -> Batch | None:
        batch = super().next_batch(limit)
        return batch and Batch([*batch.outputs, (-1,)], ids=[*batch.ids, None])


class Mixes(ShelfSource):
    """Emits a batch from its end."""

    def next_batch(self, limit: int) -> Batch | None:
        batch = super().next_batch(limit)
        return batch and Batch([*batch.outputs][::-1], ids=[*batch.ids][::-1])


class Repeats(ShelfSource):
    """Emits a record of each batch once more."""

    def next_batch(self, limit: int) -> Batch | None:
        batch = super().next_batch(limit)
        return batch and Batch([*batch.outputs, batch.outputs[0]], ids=[*batch.ids, None])


class BeginsAnew(PlacedSource):
    """Forgets where it was."""

    def seek(self, position: bytes) -> None:
        pass


class TellsWhenRead(ShelfSource):
    """Says that records are done when it has read them."""

    def next_batch(self, limit: int) -> Batch | None:
        batch = super().next_batch(limit)
        if batch is not None:
            self.tell([row[0] for row in batch.outputs])
        return batch


class TellsTheNewest(ShelfSource):
    """Says that all before a record are done when it has ended."""

    def ack(self, row: int) -> None:
        self.waiting.pop(row)
        self.tell(range(row))


class TakesBack(ShelfSource):
    """Says now and then that what was done is not."""

    def tell(self, numbers: Sequence[int]) -> None:
        super().tell(numbers)
        if 10 in numbers:
            with closing(sqlite3.connect(self.shelf.path)) as connection, connection:
                connection.execute("DELETE FROM done WHERE number = 5")


class IgnoresWhatIsDone(ShelfSource):
    """Reads from the beginning, whatever it has told."""

    def begin(self) -> None:
        self.is_begun, self.told = True, 0


class NeverTells(ShelfSource):
    """Tells nothing of what has ended."""

    def tell(self, numbers: Sequence[int]) -> None:
        pass


class GivesUp(ShelfSource):
    """Takes any failure for the last."""

    def fail(self, row: int) -> None:
        self.context.dead_letter((self.waiting[row],), error=ValueError("it failed"))
        self.ack(row)


WRONG: list[tuple[type[ShelfSource], SourceSchedule, str]] = [
    (NeverAgain, SourceSchedule.FAILURES, "every_record_ends"),
    (MakesUp, SourceSchedule.ONE_BY_ONE, "only_records_come"),
    (Mixes, SourceSchedule.ALL_AT_ONCE, "order_is_kept"),
    (Repeats, SourceSchedule.SLOW, "no_record_comes_needlessly"),
    (BeginsAnew, SourceSchedule.RESTARTS, "a_restart_replays_little"),
    (TellsWhenRead, SourceSchedule.SLOW, "nothing_is_done_before_it_ends"),
    (TellsWhenRead, SourceSchedule.KILLS, "every_record_comes"),
    (TellsTheNewest, SourceSchedule.OUT_OF_ORDER, "nothing_is_done_before_it_ends"),
    (TakesBack, SourceSchedule.ONE_BY_ONE, "done_is_done"),
    (IgnoresWhatIsDone, SourceSchedule.RESTARTS, "what_is_done_stays_away"),
    (GivesUp, SourceSchedule.FAILURES, "only_poison_is_given_up"),
    (NeverTells, SourceSchedule.ALL_AT_ONCE, "what_ended_is_done_at_the_end"),
]


@pytest.mark.parametrize(("make", "schedule", "law"), WRONG)
def test_a_wrong_source_is_found(make: type[ShelfSource], schedule: SourceSchedule, law: str, tmp_path: Path) -> None:
    with pytest.raises(conformance.NonConformance) as caught:
        conformance.check_source(under_test(make, tmp_path, patience_s=1.5), schedule, seed=2)
    assert law in [breach.law for breach in caught.value.report.breaches]


def test_every_law_has_a_source_that_breaks_it() -> None:
    assert {law for _, _, law in WRONG} == {law.__name__ for law in LAWS}


def test_a_schedule_that_needs_more_than_it_was_told_says_so(tmp_path: Path) -> None:
    bare = under_test(ShelfSource, tmp_path, outage=None, keeps_place=False)
    for schedule in set(SourceSchedule) - {*conformance.source_schedules(outage=False, keeps_place=False)}:
        with pytest.raises(TopologyError, match="conformance_description"):
            conformance.check_source(bare, schedule)
