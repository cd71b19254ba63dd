"""What befalls a sink: the schedules, each a function that lives one or more lives and leaves what was seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from squall.testing.conformance.described import SinkUnderTest
from squall.testing.conformance.outage import Outage
from squall.testing.conformance.process import Life, Tell
from squall.testing.conformance.shown import Shown
from squall.testing.conformance.sink_laws import SinkSeen
from squall.testing.conformance.sink_life import SinkLife

FEW = 20
LIVES = 8
LONGEST_PAUSE_S = 0.02
KILL_WITHIN_S = 0.005


class SinkSchedule(StrEnum):
    """What befalls a sink."""

    ONE_BY_ONE = "one_by_one"
    ALL_AT_ONCE = "all_at_once"
    SLOW = "slow"
    FAILURES_AROUND = "failures_around"
    POISON = "poison"
    GIVEN_AGAIN = "given_again"
    DISCONNECT = "disconnect"
    AWAY_AT_THE_START = "away_at_the_start"
    RESTARTS = "restarts"
    KILLS = "kills"


MIXES = {SinkSchedule.FAILURES_AROUND, SinkSchedule.POISON, SinkSchedule.GIVEN_AGAIN}
"""After these rows may stand in any order."""
REPEATS = {
    SinkSchedule.FAILURES_AROUND,
    SinkSchedule.POISON,
    SinkSchedule.GIVEN_AGAIN,
    SinkSchedule.DISCONNECT,
    SinkSchedule.AWAY_AT_THE_START,
    SinkSchedule.RESTARTS,
    SinkSchedule.KILLS,
}
"""After these a row may have been given again."""


@dataclass
class SinkStage:
    """Where a schedule plays: the sink, chance, and what is seen."""

    under_test: SinkUnderTest
    random: Random
    seen: SinkSeen
    shown: Shown
    name: str = ""
    lives: int = 0
    outage: Outage | None = None
    _there: set[int] = field(default_factory=set[int])
    _given_away: set[int] = field(default_factory=set[int])

    # -- rows ------------------------------------------------------------------------------------------------------

    def give(self, life: SinkLife, numbers: Iterable[int], poison: Iterable[int] = ()) -> None:
        """Gives rows; those of `poison` as the other system refuses them."""
        numbers = list(numbers)
        self.note_given(numbers, poison)
        if self.outage is not None and self.outage.is_on:
            self._given_away.update(numbers)
        life.give((number, self._row(number)) for number in numbers)

    def note_given(self, numbers: Sequence[int], poison: Iterable[int] = ()) -> None:
        """Notes rows that are given."""
        known = {*self.seen.fed}
        self.seen.fed += [number for number in numbers if number not in known]
        self.seen.poison.update(poison)

    def _row(self, number: int) -> tuple[object, ...]:
        if number not in self.seen.poison:
            return self.under_test.row(number)
        assert self.under_test.poison is not None
        return self.under_test.poison(number)

    # -- what becomes of them --------------------------------------------------------------------------------------

    def acked(self, number: int) -> None:
        """A row was acked: it must be there now."""
        self.seen.acked.append(number)
        if self.outage is not None and self.outage.is_on:
            if number in self._given_away:
                self.seen.early.append(number)
            return
        if number in self._there or number in self.seen.poison:
            return
        try:
            self._there = {*self.under_test.read_back()}
        except Exception:
            if self.outage is not None and self.outage.is_on:
                return  # it began meanwhile; whether the row is there is seen at the end
            raise
        if number not in self._there:
            self.seen.unconfirmed.append(number)

    def dead(self, number: int) -> None:
        """A row was given up."""
        self.seen.dead.append(number)

    # -- lives -----------------------------------------------------------------------------------------------------

    def life(self, *, is_disturbed: bool = False) -> SinkLife:
        """One more instance."""
        self.lives += 1
        life = SinkLife(self.under_test, self, self.random, self.shown, is_disturbed=is_disturbed)
        self.name = type(life.sink).__name__
        return life

    def settle(self, life: SinkLife) -> bool:
        """Runs until all that was given has ended; False if it does not."""
        return life.run_until(lambda: not self.seen.open)

    def begin_outage(self) -> Outage:
        """An outage of the other system, which begins when it is told to."""
        assert self.under_test.outage is not None
        self.outage = Outage(self.under_test.outage, self.under_test.outage_s)
        return self.outage


# -- the schedules -------------------------------------------------------------------------------------------------


def one_by_one(stage: SinkStage) -> None:
    """Each row is given when the one before has ended."""
    with stage.life() as life:
        for number in range(FEW):
            stage.give(life, [number])
            if not stage.settle(life):
                return


def all_at_once(stage: SinkStage) -> None:
    """Many rows at the same time."""
    with stage.life() as life:
        stage.give(life, range(stage.under_test.rows))
        stage.settle(life)


def slow(stage: SinkStage) -> None:
    """Rows that come one after the other, now and then."""
    with stage.life() as life:
        for number in range(FEW):
            stage.give(life, [number])
            life.run(stage.random.random() * LONGEST_PAUSE_S)
        stage.settle(life)


def failures_around(stage: SinkStage) -> None:
    """Bolts before and beside the sink fail, so that rows come again, also some that are there already."""
    with stage.life(is_disturbed=True) as life:
        stage.give(life, range(stage.under_test.rows))
        stage.settle(life)


def poison(stage: SinkStage) -> None:
    """Rows that the other system refuses among good ones: the first, the last, two that are neighbours, one alone."""
    count = max(FEW, stage.under_test.rows // 5)
    somewhere = stage.random.randrange(1, count - 2)
    with stage.life() as life:
        stage.give(life, range(count), {0, somewhere, somewhere + 1, count - 1})
        if stage.settle(life):
            stage.give(life, [count], {count})
            stage.settle(life)


def given_again(stage: SinkStage) -> None:
    """Rows come again when they are there already, as they do when a confirmation was lost, and twice in a batch."""
    with stage.life() as life:
        for _ in range(2):
            stage.give(life, range(FEW))
            if not stage.settle(life):
                return
            life.run_until(lambda: len(stage.seen.acked) >= len(stage.seen.fed))
        both = [number for number in range(FEW, 2 * FEW) for _ in range(2)]
        stage.give(life, both)
        life.run_until(lambda: len(stage.seen.acked) >= 2 * FEW + len(both))


def disconnect(stage: SinkStage) -> None:
    """The other system goes away while rows are written, and comes back."""
    half = stage.under_test.rows // 2
    outage = stage.begin_outage()
    with stage.life() as life:
        try:
            stage.give(life, range(3))
            stage.settle(life)
            outage.begin(after_s=stage.random.random() * LONGEST_PAUSE_S)
            stage.give(life, range(3, half))
            while not (outage.is_on or outage.is_over):
                life.run()
            stage.give(life, range(half, stage.under_test.rows))
            life.run_until(lambda: outage.is_over)
        finally:
            outage.end()
        stage.settle(life)


def away_at_the_start(stage: SinkStage) -> None:
    """The other system is away when the sink is opened, and comes later."""
    outage = stage.begin_outage()
    outage.begin(wait=True)
    try:
        with stage.life() as life:
            stage.give(life, range(FEW))
            life.run_until(lambda: outage.is_over)
            outage.end()
            stage.settle(life)
    finally:
        outage.end()


def restarts(stage: SinkStage) -> None:
    """The sink is closed and a new one goes on: when it was just opened, with rows in its hands, after an ack."""
    for number in range(LIVES):
        with stage.life() as life:
            if number % 4 == 0:
                continue
            stage.give(life, [*stage.seen.open, *range(number * FEW, (number + 1) * FEW)])
            acked = len(stage.seen.acked)
            match number % 4:
                case 1:
                    life.run(stage.random.random() * KILL_WITHIN_S)
                case 2:
                    life.run_until(lambda acked=acked: len(stage.seen.acked) > acked)
                case _:
                    stage.settle(life)
    _last_life(stage)


def kills(stage: SinkStage) -> None:
    """The process of the sink is killed at any moment, and a new one goes on with what had not ended."""
    for number in range(LIVES):
        given = [*stage.seen.open, *range(number * FEW, (number + 1) * FEW)]
        stage.note_given(given)
        stage.lives += 1
        with Life(lambda tell, given=given: _killed_life(stage, given, tell), stage.under_test.patience_s) as life:
            heard_at_most = stage.random.randrange(len(given) + 2)
            while heard_at_most and (heard := life.heard()):
                heard_at_most -= 1
                word, values = heard
                if word == "acked":
                    stage.acked(*values)
                elif word == "dead":
                    stage.dead(*values)
            if number % 2:
                life.let_go_on()
                time.sleep(stage.random.random() * KILL_WITHIN_S)
    _last_life(stage)


@dataclass
class _Telling:
    """Tells what becomes of rows to another process."""

    tell: Tell
    ended: int = 0

    def acked(self, number: int) -> None:
        self.ended += 1
        self.tell("acked", number)

    def dead(self, number: int) -> None:
        self.ended += 1
        self.tell("dead", number)


def _killed_life(stage: SinkStage, given: Sequence[int], tell: Tell) -> None:
    told = _Telling(tell)
    with SinkLife(stage.under_test, told, stage.random, stage.shown) as life:
        tell("opened")
        life.give((number, stage.under_test.row(number)) for number in given)
        life.run_until(lambda: told.ended == len(given))


def _last_life(stage: SinkStage) -> None:
    with stage.life() as life:
        stage.give(life, stage.seen.open)
        stage.settle(life)


SCHEDULES: dict[SinkSchedule, Callable[[SinkStage], None]] = {
    SinkSchedule.ONE_BY_ONE: one_by_one,
    SinkSchedule.ALL_AT_ONCE: all_at_once,
    SinkSchedule.SLOW: slow,
    SinkSchedule.FAILURES_AROUND: failures_around,
    SinkSchedule.POISON: poison,
    SinkSchedule.GIVEN_AGAIN: given_again,
    SinkSchedule.DISCONNECT: disconnect,
    SinkSchedule.AWAY_AT_THE_START: away_at_the_start,
    SinkSchedule.RESTARTS: restarts,
    SinkSchedule.KILLS: kills,
}
