"""What befalls a source: the schedules, each a function that lives one or more lives and leaves what was seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from squall.testing.conformance.described import SourceUnderTest
from squall.testing.conformance.outage import Outage
from squall.testing.conformance.process import Life, Tell
from squall.testing.conformance.shown import Shown
from squall.testing.conformance.source_laws import SourceSeen
from squall.testing.conformance.source_life import Decide, Hold, SourceLife

FEW = 20
LIVES = 8
LONGEST_PAUSE_S = 0.02
KILL_WITHIN_S = 0.005
LOOK_EVERY_S = 0.05
FAILS_RATIO = 0.15
QUIET_S = 0.3
"""How long nothing may come for it to be said that nothing comes."""


class SourceSchedule(StrEnum):
    """What befalls a source."""

    ONE_BY_ONE = "one_by_one"
    ALL_AT_ONCE = "all_at_once"
    SLOW = "slow"
    OUT_OF_ORDER = "out_of_order"
    NEVER_FOR_ONE = "never_for_one"
    FAILURES = "failures"
    POISON = "poison"
    DISCONNECT = "disconnect"
    AWAY_AT_THE_START = "away_at_the_start"
    RESTARTS = "restarts"
    KILLS = "kills"


REPEATS = {
    SourceSchedule.FAILURES,
    SourceSchedule.POISON,
    SourceSchedule.DISCONNECT,
    SourceSchedule.AWAY_AT_THE_START,
    SourceSchedule.RESTARTS,
    SourceSchedule.KILLS,
}
"""In these a record may come more than once."""


@dataclass
class SourceStage:
    """Where a schedule plays: the source, chance, and what is seen."""

    under_test: SourceUnderTest
    random: Random
    seen: SourceSeen
    shown: Shown
    name: str = ""
    lives: int = 0
    position: bytes | None = None
    outage: Outage | None = None
    _done: set[int] = field(default_factory=set[int])
    _done_before: set[int] = field(default_factory=set[int])
    _ended_before: set[int] = field(default_factory=set[int])
    _kept: set[int] = field(default_factory=set[int])
    _looked_s: float = 0.0

    # -- records ---------------------------------------------------------------------------------------------------

    def put(self, count: int) -> list[int]:
        """Puts so many new records."""
        first = len(self.seen.put)
        numbers = list(range(first, first + count))
        self.seen.put += numbers
        self.under_test.put(numbers)
        return numbers

    def came(self, number: int) -> None:
        """A record came."""
        self.seen.came.append(number)
        if number in self._ended_before:
            self.seen.needless[-1].append(number)
        if number in self._done_before:
            self.seen.came_though_done.add(number)

    def ended(self, number: int) -> None:
        """A record is about to be acked."""
        self.seen.ended.add(number)

    # -- lives -----------------------------------------------------------------------------------------------------

    def begin_life(self) -> None:
        """One more instance begins, where the last one was."""
        self.lives += 1
        self.seen.needless.append([])
        self.look(now=True)
        self._done_before = {*self._done}
        has_position = self.position is not None
        self._ended_before = {*self._kept} if has_position else {*self.seen.ended} if self.lives > 1 else set()

    def life(self, decide: Decide) -> SourceLife:
        """One more instance."""
        self.begin_life()
        life = SourceLife(self.under_test, self, decide, self.position, self.shown)
        self.name = type(life.source).__name__
        return life

    def settle(self, life: SourceLife) -> bool:
        """Runs until all that was put has ended; False if it does not."""
        return life.run_until(lambda: not self.seen.open, lambda: self.after_a_pass(life))

    def after_a_pass(self, life: SourceLife) -> None:
        """Keeps the position, and looks at what the other system was told."""
        given_up = life.given_up()
        self.seen.dead = given_up
        self.seen.ended.update(given_up)
        self.keep(life.position(), self.seen.ended)
        self.look()

    def keep(self, position: bytes | None, ended: set[int]) -> None:
        """Keeps a position that was asked for when these had ended."""
        if position != self.position:
            self.position, self._kept = position, {*ended}

    def look(self, *, now: bool = False) -> None:
        """Looks at what the other system was told; not at each pass, since asking takes time."""
        if self.under_test.done is None or (self.outage is not None and not self.outage.is_over):
            return
        if not now and time.monotonic() - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        done = {*self.under_test.done()}
        self.seen.undone |= self._done - done
        self.seen.done_early |= done - self.seen.ended
        self._done = done

    def close_in_peace(self, life: SourceLife) -> None:
        """Drains a life, whose end must leave nothing untold."""
        life.drain()
        self.after_a_pass(life)

    def look_at_the_end(self) -> None:
        """What must have been told when the last life was drained and closed."""
        self.look(now=True)
        if self.under_test.done is not None and not self.seen.held and not self.seen.open:
            self.seen.left_undone |= self.seen.ended - self._done

    def begin_outage(self) -> Outage:
        """An outage of the other system, which begins when it is told to."""
        assert self.under_test.outage is not None
        self.outage = Outage(self.under_test.outage, self.under_test.outage_s)
        return self.outage


# -- what becomes of what comes ------------------------------------------------------------------------------------


def at_once(hold: Hold) -> None:
    """Everything is acked as it comes."""
    for number in list(hold.held):
        hold.end(number)


def nothing(_hold: Hold) -> None:
    """Everything is held."""


# -- the schedules -------------------------------------------------------------------------------------------------


def one_by_one(stage: SourceStage) -> None:
    """Each record is put when the one before has ended."""
    with stage.life(at_once) as life:
        for _ in range(FEW):
            stage.put(1)
            if not stage.settle(life):
                return
        stage.close_in_peace(life)
    stage.look_at_the_end()


def all_at_once(stage: SourceStage) -> None:
    """Many records at the same time, some of them before the source is opened."""
    stage.put(stage.under_test.records // 2)
    with stage.life(at_once) as life:
        stage.put(stage.under_test.records // 2)
        if stage.settle(life):
            stage.close_in_peace(life)
    stage.look_at_the_end()


def slow(stage: SourceStage) -> None:
    """Records come now and then, and are acked late."""
    due: dict[int, float] = {}

    def late(hold: Hold) -> None:
        now_s = time.monotonic()
        for number in list(hold.held):
            if now_s > due.setdefault(number, now_s + stage.random.random() * LONGEST_PAUSE_S):
                stage.look(now=True)  # a busy machine may have seen nothing of the time in which it was held
                hold.end(number)

    with stage.life(late) as life:
        for _ in range(FEW):
            stage.put(1)
            life.run(stage.random.random() * LONGEST_PAUSE_S)
            stage.after_a_pass(life)
        if stage.settle(life):
            stage.close_in_peace(life)
    stage.look_at_the_end()


def out_of_order(stage: SourceStage) -> None:
    """All records are held at first, then acked in an order that chance gives."""

    def some(hold: Hold) -> None:
        if not order and len(hold.held) == len(stage.seen.put):
            order.extend(stage.random.sample(sorted(hold.held), len(hold.held)))
        for number in order[:7]:
            hold.end(number)
        del order[:7]

    order: list[int] = []
    stage.put(stage.under_test.records)
    with stage.life(some) as life:
        if stage.settle(life):
            stage.close_in_peace(life)
    stage.look_at_the_end()


def never_for_one(stage: SourceStage) -> None:
    """One record is never acked: the others come and end, and it comes again in the next life."""
    one = stage.random.randrange(stage.under_test.records // 2)

    def others(hold: Hold) -> None:
        for number in list(hold.held):
            if number != one:
                hold.end(number)

    stage.put(stage.under_test.records // 2)
    stage.seen.held = {one}
    with stage.life(others) as life:
        stage.settle(life)
        stage.put(stage.under_test.records // 2)
        stage.settle(life)
    if stage.under_test.keeps_place:
        stage.seen.held = set()
        stage.seen.may_repeat, stage.seen.replay_max = True, None  # what was behind it comes again as well
        with stage.life(at_once) as life:
            if stage.settle(life):
                stage.close_in_peace(life)
        stage.look_at_the_end()


def failures(stage: SourceStage) -> None:
    """Bolts behind the source fail at random, and what failed comes again."""

    def some(hold: Hold) -> None:
        for number in list(hold.held):
            if stage.random.random() < FAILS_RATIO:
                hold.refuse(number)
            else:
                hold.end(number)

    stage.put(stage.under_test.records)
    with stage.life(some) as life:
        if stage.settle(life):
            stage.close_in_peace(life)
    stage.look_at_the_end()


def poison(stage: SourceStage) -> None:
    """Records fail whatever happens: the first, the last, one among others; they are given up, the others go on."""
    records = max(FEW, stage.under_test.records // 5)
    stage.seen.poison = {0, stage.random.randrange(1, records - 1), records - 1}

    def but_poison(hold: Hold) -> None:
        for number in list(hold.held):
            if number in stage.seen.poison:
                hold.refuse(number, for_good=True)
            else:
                hold.end(number)

    stage.put(records)
    with stage.life(but_poison) as life:
        if stage.settle(life):
            stage.close_in_peace(life)
    stage.look_at_the_end()


def disconnect(stage: SourceStage) -> None:
    """The other system goes away while records are read, and comes back."""
    outage = stage.begin_outage()
    stage.put(stage.under_test.records)
    with stage.life(at_once) as life:
        try:
            outage.begin(after_s=stage.random.random() * LONGEST_PAUSE_S)
            life.run_until(lambda: outage.is_over)
        finally:
            outage.end()
        stage.put(FEW)
        if stage.settle(life):
            stage.close_in_peace(life)
    stage.look_at_the_end()


def away_at_the_start(stage: SourceStage) -> None:
    """The other system is away when the source is opened, and comes later."""
    stage.put(FEW)
    outage = stage.begin_outage()
    outage.begin(wait=True)
    try:
        with stage.life(at_once) as life:
            life.run_until(lambda: outage.is_over)
            outage.end()
            if stage.settle(life):
                stage.close_in_peace(life)
    finally:
        outage.end()
    stage.look_at_the_end()


def restarts(stage: SourceStage) -> None:
    """The source is closed and a new one goes on: when just opened, with all in flight, with some ended, with all."""

    def a_few(hold: Hold) -> None:
        for number in list(hold.held):
            if room[0]:
                room[0] -= 1
                hold.end(number)

    room = [0]
    for number in range(LIVES):
        stage.put(FEW)
        room[0] = 0
        with stage.life(at_once if number % 4 == 3 else a_few) as life:
            came = len(stage.seen.came)
            match number % 4:
                case 0:
                    life.run(stage.random.random() * KILL_WITHIN_S)
                case 1:
                    life.run_until(lambda came=came: len(stage.seen.came) > came)
                case 2:
                    room[0] = stage.random.randrange(1, FEW)
                    life.run_until(lambda: not room[0])
                    life.run()
                case _:
                    stage.settle(life)
            stage.after_a_pass(life)
    _last_life(stage)
    _nothing_comes(stage)


def kills(stage: SourceStage) -> None:
    """The process of the source is killed at any moment, and a new one goes on where it was."""
    for number in range(LIVES):
        stage.put(FEW)
        stage.begin_life()
        with Life(lambda tell: _killed_life(stage, tell), stage.under_test.patience_s) as life:
            heard_at_most = stage.random.randrange(3 * FEW)
            while heard_at_most and (heard := life.heard()):
                heard_at_most -= 1
                word, values = heard
                if word == "came":
                    stage.came(*values)
                elif word == "ended":
                    stage.ended(*values)
                elif word == "position":
                    stage.keep(values[0], values[1])
                    stage.look()
            if number % 2:
                life.let_go_on()
                time.sleep(stage.random.random() * KILL_WITHIN_S)
    _last_life(stage)
    _nothing_comes(stage)


@dataclass
class _Telling:
    """Tells what becomes of records to another process."""

    tell: Tell
    open: set[int]
    known: set[int]

    def came(self, number: int) -> None:
        self.tell("came", number)

    def ended(self, number: int) -> None:
        self.open.discard(number)
        self.known.add(number)
        self.tell("ended", number)


def _killed_life(stage: SourceStage, tell: Tell) -> None:
    told = _Telling(tell, {*stage.seen.open}, {*stage.seen.ended})
    with SourceLife(stage.under_test, told, at_once, stage.position, stage.shown) as life:
        tell("opened")
        life.run_until(lambda: not told.open, lambda: tell("position", life.position(), told.known))
        while True:
            life.run()
            tell("position", life.position(), told.known)


def _last_life(stage: SourceStage) -> None:
    with stage.life(at_once) as life:
        if stage.settle(life):
            stage.close_in_peace(life)
    stage.look_at_the_end()


def _nothing_comes(stage: SourceStage) -> None:
    """Opens one more, which has nothing to give but what its kind may give again."""
    with stage.life(at_once) as life:
        until_s = time.monotonic() + QUIET_S
        while time.monotonic() < until_s:
            life.run()


SCHEDULES: dict[SourceSchedule, Callable[[SourceStage], None]] = {
    SourceSchedule.ONE_BY_ONE: one_by_one,
    SourceSchedule.ALL_AT_ONCE: all_at_once,
    SourceSchedule.SLOW: slow,
    SourceSchedule.OUT_OF_ORDER: out_of_order,
    SourceSchedule.NEVER_FOR_ONE: never_for_one,
    SourceSchedule.FAILURES: failures,
    SourceSchedule.POISON: poison,
    SourceSchedule.DISCONNECT: disconnect,
    SourceSchedule.AWAY_AT_THE_START: away_at_the_start,
    SourceSchedule.RESTARTS: restarts,
    SourceSchedule.KILLS: kills,
}
