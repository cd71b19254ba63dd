"""The conformance kit on secrets: a connector that shows one is found, wherever it does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from squall import Batch, Tuple
from squall.connectors.contract import Unavailable
from squall.errors import DeadLetter
from squall.testing import conformance
from squall.testing.conformance import EpochSchedule, SinkSchedule, SinkUnderTest, SourceSchedule, SourceUnderTest
from squall.testing.conformance.shown import Shown

from .shelf import Shelf, ShelfSink, ShelfSource

SECRET = "open/sesame"
log = logging.getLogger("squall.connectors.shelf")


def under_test(make: type[ShelfSink], folder: Path) -> SinkUnderTest:
    shelf = Shelf(folder)
    return SinkUnderTest(
        make=lambda: make(shelf),
        read_back=shelf.numbers,
        poison=lambda number: (number, None),
        outage=shelf.unavailable,
        outage_s=0.2,
        secrets=(SECRET,),
    )


class LogsIt(ShelfSink):
    def connect(self) -> None:
        log.info("event=connected password=%s", SECRET)
        super().connect()


class IsCalledByIt(ShelfSink):
    def __repr__(self) -> str:
        return f"ShelfSink(password={SECRET!r})"


class WaitsForIt(ShelfSink):
    def where(self) -> str:
        return f"the shelf, by {SECRET}"


class TellsItWhenAway(ShelfSink):
    def write(self, rows: Sequence[Tuple]) -> None:
        try:
            super().write(rows)
        except Unavailable as error:
            raise Unavailable("shelf://me:open%2Fsesame@here is locked") from error


class WritesItToLetters(ShelfSink):
    def write(self, rows: Sequence[Tuple]) -> None:
        try:
            super().write(rows)
        except DeadLetter as error:
            raise DeadLetter(f"{error} ({SECRET})") from error


class RaisesItWhenOpened(ShelfSink):
    def connect(self) -> None:
        raise PermissionError(f"{SECRET} is wrong")


WRONG = [
    (LogsIt, SinkSchedule.ONE_BY_ONE, "its log"),
    (IsCalledByIt, SinkSchedule.ALL_AT_ONCE, "its repr"),
    (WaitsForIt, SinkSchedule.ALL_AT_ONCE, "what it says it waits for"),
    (TellsItWhenAway, SinkSchedule.DISCONNECT, "an error that was reported"),
    (WritesItToLetters, SinkSchedule.POISON, "a dead letter"),
    (RaisesItWhenOpened, SinkSchedule.ONE_BY_ONE, "what it raised"),
]


@pytest.mark.parametrize(("make", "schedule", "place"), WRONG)
def test_a_sink_that_shows_a_secret_is_found(
    make: type[ShelfSink], schedule: SinkSchedule, place: str, tmp_path: Path
) -> None:
    with pytest.raises(conformance.NonConformance) as caught:
        conformance.check_sink(under_test(make, tmp_path), schedule, seed=2)
    (breach,) = caught.value.report.breaches
    assert breach.law == "no_secret_shows"
    assert f"one is in {place}: " in breach.facts
    assert SECRET not in str(caught.value)
    assert "open%2Fsesame" not in str(caught.value)


@pytest.mark.parametrize("schedule", [SinkSchedule.DISCONNECT, SinkSchedule.POISON])
def test_a_sink_that_shows_none_passes(schedule: SinkSchedule, tmp_path: Path) -> None:
    conformance.check_sink(under_test(ShelfSink, tmp_path), schedule, seed=2)


def test_a_sink_that_shows_a_secret_in_an_epoch_is_found(tmp_path: Path) -> None:
    with pytest.raises(conformance.NonConformance, match="no_secret_shows"):
        conformance.check_epochs(under_test(LogsIt, tmp_path), EpochSchedule.ONE_AFTER_THE_OTHER)


def test_a_source_that_shows_a_secret_is_found(tmp_path: Path) -> None:
    class LogsWhatItReads(ShelfSource):
        def next_batch(self, limit: int) -> Batch | None:
            log.info("event=read password=%s", SECRET)
            return super().next_batch(limit)

    shelf = Shelf(tmp_path)
    source = SourceUnderTest(
        make=lambda: LogsWhatItReads(shelf), put=shelf.put, number_of=lambda row: row[0], secrets=(SECRET,)
    )
    with pytest.raises(conformance.NonConformance, match="no_secret_shows"):
        conformance.check_source(source, SourceSchedule.ONE_BY_ONE)


def test_what_is_raised_without_a_secret_is_raised_on_and_the_log_is_as_before(tmp_path: Path) -> None:
    class Refused(ShelfSink):
        def connect(self) -> None:
            raise PermissionError("no such key")

    root: Any = logging.getLogger()
    before = root.level, list(root.handlers)
    with pytest.raises(PermissionError, match="no such key"):
        conformance.check_sink(under_test(Refused, tmp_path), SinkSchedule.ONE_BY_ONE)
    assert (root.level, list(root.handlers)) == before
    assert Shown(()).breaches() == ()
