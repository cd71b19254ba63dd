"""The conformance kit on sinks: a right one passes every schedule, and each law finds the sink that breaks it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from squall import Bolt, Tuple
from squall.connectors.contract import Unavailable
from squall.connectors.standard import Print
from squall.errors import DeadLetter, TopologyError
from squall.testing import conformance
from squall.testing.conformance import EpochSchedule, SinkSchedule, SinkUnderTest
from squall.testing.conformance.epochs import LAWS as EPOCH_LAWS
from squall.testing.conformance.sink_laws import LAWS

from .shelf import Shelf, ShelfSink, UpsertingSink


def under_test(make: Callable[[Shelf], Bolt], folder: Path, **more: Any) -> SinkUnderTest:
    shelf = Shelf(folder)
    return SinkUnderTest(
        make=lambda: make(shelf),
        read_back=shelf.numbers,
        poison=lambda number: (number, None),
        outage=shelf.unavailable,
        **({"outage_s": 0.2} | more),
    )


@pytest.mark.parametrize("schedule", conformance.sink_schedules())
def test_a_right_sink_passes(schedule: SinkSchedule, tmp_path: Path) -> None:
    report = conformance.check_sink(under_test(ShelfSink, tmp_path), schedule, seed=1)
    assert report.given >= 20


@pytest.mark.parametrize("schedule", [SinkSchedule.GIVEN_AGAIN, SinkSchedule.FAILURES_AROUND])
def test_a_right_upserting_sink_passes(schedule: SinkSchedule, tmp_path: Path) -> None:
    conformance.check_sink(under_test(UpsertingSink, tmp_path, upserts=True, ordered=False), schedule, seed=1)


# -- wrong sinks ---------------------------------------------------------------------------------------------------


class AcksTooEarly(ShelfSink):
    """Keeps rows and writes them later."""

    batch_max = 1

    def open(self, context: Any) -> None:
        super().open(context)
        self.kept: list[Any] = []

    def write(self, rows: Sequence[Tuple]) -> None:
        self.kept += [row.values for row in rows]
        if len(self.kept) >= 10:
            self.insert(self.kept)
            self.kept = []


class ForgetsWhenAway(ShelfSink):
    """Takes rows as written that it could not write."""

    def write(self, rows: Sequence[Tuple]) -> None:
        with contextlib.suppress(Unavailable):
            super().write(rows)


class GivesUpWhenAway(ShelfSink):
    """Takes an outage for a failure of rows."""

    def write(self, rows: Sequence[Tuple]) -> None:
        try:
            super().write(rows)
        except Unavailable as error:
            raise ConnectionError("cannot write") from error


class BlamesAll(ShelfSink):
    """Gives a whole batch up for one row."""

    def process_batch(self, tuples: list[Tuple]) -> list[Exception | None] | None:
        try:
            self.write(tuples)
        except DeadLetter as error:
            return [error] * len(tuples)
        return None


class SwallowsPoison(ShelfSink):
    """Leaves out what is refused, and says nothing."""

    def write(self, rows: Sequence[Tuple]) -> None:
        super().write([row for row in rows if row["text"] is not None])


class WritesPoison(ShelfSink):
    """Writes something in the place of what is refused."""

    def write(self, rows: Sequence[Tuple]) -> None:
        self.shelf.reach()
        self.insert([(row["number"], row["text"] or "") for row in rows])


class TurnsRound(ShelfSink):
    """Writes a batch from its end."""

    def write(self, rows: Sequence[Tuple]) -> None:
        super().write(rows[::-1])


class WritesTwice(ShelfSink):
    """Takes a slow confirmation for none."""

    def write(self, rows: Sequence[Tuple]) -> None:
        super().write(rows)
        if len(rows) == 1:
            super().write(rows)


class ForgetsOne(ShelfSink):
    """Never ends one row."""

    manual_ack = True
    blocking = False
    batch_max = 1

    def process_batch(self, tuples: list[Tuple]) -> None:
        for row in tuples:
            if row["number"] != 13:
                self.write([row])
                self.ack(row)


class BeginsAnew(ShelfSink):
    """Clears its place when it is opened."""

    def connect(self) -> None:
        super().connect()
        self.connection.execute("DELETE FROM rows")


class AddsItsOwn(ShelfSink):
    """Writes a row that nobody gave."""

    def connect(self) -> None:
        super().connect()
        self.insert([(4711, "hello")])


WRONG: list[tuple[type[ShelfSink], SinkSchedule, str]] = [
    (AcksTooEarly, SinkSchedule.ONE_BY_ONE, "no_ack_before_it_is_there"),
    (AcksTooEarly, SinkSchedule.KILLS, "acked_rows_are_there"),
    (ForgetsWhenAway, SinkSchedule.DISCONNECT, "no_ack_while_away"),
    (GivesUpWhenAway, SinkSchedule.DISCONNECT, "good_rows_go_through"),
    (BlamesAll, SinkSchedule.POISON, "good_rows_go_through"),
    (SwallowsPoison, SinkSchedule.POISON, "poison_fails"),
    (WritesPoison, SinkSchedule.POISON, "nothing_else_is_there"),
    (TurnsRound, SinkSchedule.ALL_AT_ONCE, "order_is_kept"),
    (WritesTwice, SinkSchedule.SLOW, "no_row_is_doubled"),
    (ForgetsOne, SinkSchedule.ALL_AT_ONCE, "every_row_ends"),
    (BeginsAnew, SinkSchedule.RESTARTS, "acked_rows_are_there"),
    (AddsItsOwn, SinkSchedule.ONE_BY_ONE, "nothing_else_is_there"),
]


@pytest.mark.parametrize(("make", "schedule", "law"), WRONG)
def test_a_wrong_sink_is_found(make: type[ShelfSink], schedule: SinkSchedule, law: str, tmp_path: Path) -> None:
    with pytest.raises(conformance.NonConformance) as caught:
        conformance.check_sink(under_test(make, tmp_path, patience_s=1.5, outage_s=0.5), schedule, seed=2)
    assert law in [breach.law for breach in caught.value.report.breaches]
    assert f"{make.__name__} breaks" in str(caught.value)
    assert "with seed 2" in str(caught.value)


@pytest.mark.parametrize("schedule", [SinkSchedule.GIVEN_AGAIN, SinkSchedule.FAILURES_AROUND])
def test_a_sink_that_should_upsert_and_inserts_is_found(schedule: SinkSchedule, tmp_path: Path) -> None:
    with pytest.raises(conformance.NonConformance, match="no_row_is_doubled"):
        conformance.check_sink(under_test(ShelfSink, tmp_path, upserts=True), schedule, seed=2)


def test_every_law_has_a_sink_that_breaks_it() -> None:
    assert {law for _, _, law in WRONG} == {law.__name__ for law in LAWS}


# -- epochs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", conformance.epoch_schedules())
def test_a_right_sink_is_exactly_once(schedule: EpochSchedule, tmp_path: Path) -> None:
    conformance.check_epochs(under_test(ShelfSink, tmp_path), schedule, seed=1)


class ShowsWhatIsStaged(ShelfSink):
    """Publishes rows as it gets them."""

    def stage(self, rows: Sequence[Tuple]) -> None:
        self.insert([row.values for row in rows])

    def commit(self, epoch: int, staged: bytes) -> None:
        self.mark(epoch)


class KeepsItInMemory(ShelfSink):
    """What it prepares says nothing to another instance."""

    def prepare(self, epoch: int) -> bytes:
        self.prepared = super().prepare(epoch)
        return b"here"

    def commit(self, epoch: int, staged: bytes) -> None:
        super().commit(epoch, getattr(self, "prepared", b"[]"))


class CommitsAgain(ShelfSink):
    """Does not look at the mark."""

    def commit(self, epoch: int, staged: bytes) -> None:
        self.shelf.reach()
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT INTO rows (number, text) VALUES (?, ?)", __import__("json").loads(staged))
        self.mark(epoch)
        self.connection.execute("COMMIT")


class MarksAfterwards(ShelfSink):
    """Publishes in one transaction and marks in another."""

    def commit(self, epoch: int, staged: bytes) -> None:
        if self.committed() < epoch:
            self.insert(__import__("json").loads(staged))
            time.sleep(0.02)
            self.mark(epoch)


class SharesItsMark(ShelfSink):
    """All tasks have one mark."""

    def mark(self, epoch: int) -> None:
        self.connection.execute("INSERT OR REPLACE INTO marks VALUES (0, ?)", (epoch,))

    def committed(self) -> int:
        found = self.connection.execute("SELECT epoch FROM marks").fetchone()
        return found[0] if found else 0


class LosesWhatIsLast(ShelfSink):
    """Publishes all rows but one."""

    def prepare(self, epoch: int) -> bytes:
        self.staged = self.staged[:-1]  # pyright: ignore[reportAttributeAccessIssue]
        return super().prepare(epoch)


WRONG_EPOCHS: list[tuple[type[ShelfSink], EpochSchedule, str]] = [
    (ShowsWhatIsStaged, EpochSchedule.ONE_AFTER_THE_OTHER, "uncommitted_rows_are_unseen"),
    (ShowsWhatIsStaged, EpochSchedule.CRASH_BEFORE_PREPARE, "epochs_are_there_once"),
    (KeepsItInMemory, EpochSchedule.CRASH_BEFORE_COMMIT, "committed_rows_are_there"),
    (KeepsItInMemory, EpochSchedule.LATE_COMMIT, "committed_rows_are_there"),
    (CommitsAgain, EpochSchedule.COMMITTED_TWICE, "epochs_are_there_once"),
    (CommitsAgain, EpochSchedule.CRASH_AFTER_COMMIT, "epochs_are_there_once"),
    (MarksAfterwards, EpochSchedule.CRASH_IN_COMMIT, "rows_and_mark_are_one"),
    (SharesItsMark, EpochSchedule.TWO_TASKS, "committed_tells_the_newest_epoch"),
    (LosesWhatIsLast, EpochSchedule.ONE_AFTER_THE_OTHER, "committed_rows_are_there"),
]


@pytest.mark.parametrize(("make", "schedule", "law"), WRONG_EPOCHS)
def test_a_sink_that_is_not_exactly_once_is_found(
    make: type[ShelfSink], schedule: EpochSchedule, law: str, tmp_path: Path
) -> None:
    with pytest.raises(conformance.NonConformance) as caught:
        conformance.check_epochs(under_test(make, tmp_path, patience_s=1.5), schedule, seed=2)
    assert law in [breach.law for breach in caught.value.report.breaches]


def test_every_law_of_epochs_has_a_sink_that_breaks_it() -> None:
    assert {law for _, _, law in WRONG_EPOCHS} == {*EPOCH_LAWS}


# -- descriptions --------------------------------------------------------------------------------------------------


def test_a_schedule_that_needs_more_than_it_was_told_says_so(tmp_path: Path) -> None:
    bare = SinkUnderTest(make=lambda: ShelfSink(Shelf(tmp_path)), read_back=Shelf(tmp_path).numbers)
    for schedule in set(SinkSchedule) - {*conformance.sink_schedules(outage=False, poison=False)}:
        with pytest.raises(TopologyError, match="conformance_description"):
            conformance.check_sink(bare, schedule)


def test_a_sink_without_the_three_calls_is_refused() -> None:
    with pytest.raises(TopologyError, match="Print is not Transactional"):
        conformance.check_epochs(SinkUnderTest(make=Print, read_back=list), EpochSchedule.ONE_AFTER_THE_OTHER)


def test_what_a_description_raises_is_no_breach(tmp_path: Path) -> None:
    def broken() -> list[int]:
        raise OSError("no such shelf")

    described = SinkUnderTest(make=lambda: ShelfSink(Shelf(tmp_path)), read_back=broken)
    with pytest.raises(OSError, match="no such shelf"):
        conformance.check_sink(described, SinkSchedule.ONE_BY_ONE)
