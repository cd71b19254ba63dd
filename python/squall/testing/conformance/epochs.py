"""Sinks that can be exactly once: their three calls, with crashes between them and within them (semantics 34)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from random import Random
from typing import Any, Self, TypeVar, cast

from squall._core import Tuple
from squall.api.components import Bolt
from squall.api.topology import Topology
from squall.connectors.contract import Transactional, Unavailable
from squall.errors import Defect, TopologyError
from squall.testing.cluster import LocalCluster
from squall.testing.conformance.described import SinkUnderTest
from squall.testing.conformance.outage import Outage
from squall.testing.conformance.process import Life, Tell
from squall.testing.conformance.report import Breach, numbers
from squall.testing.conformance.shown import Shown

_T = TypeVar("_T")

ROWS = 20
"""Rows of an epoch."""
CRASHES = 8
AGAIN_AFTER_S = 0.05


class EpochSchedule(StrEnum):
    """What befalls the epochs of a sink."""

    ONE_AFTER_THE_OTHER = "epochs"
    COMMITTED_TWICE = "committed_twice"
    CRASH_BEFORE_PREPARE = "crash_before_prepare"
    CRASH_BEFORE_COMMIT = "crash_before_commit"
    CRASH_IN_COMMIT = "crash_in_commit"
    CRASH_AFTER_COMMIT = "crash_after_commit"
    LATE_COMMIT = "late_commit"
    TWO_TASKS = "two_tasks"
    AWAY_IN_COMMIT = "away_in_commit"


LAWS = {
    "uncommitted_rows_are_unseen": "Nobody sees a row before the commit of its epoch.",
    "committed_rows_are_there": "Every row of a committed epoch is there.",
    "epochs_are_there_once": "An epoch is there once, however often and by whomever it is committed.",
    "rows_and_mark_are_one": "A commit that was cut short has published all of its rows and the mark, or neither.",
    "committed_tells_the_newest_epoch": "`committed` gives the newest epoch of its task that is marked; 0 if none is.",
}


class Collect(Bolt):
    """Keeps what it is given: rows as a sink gets them."""

    def __init__(self) -> None:
        self.rows: list[Tuple] = []

    def process(self, row: Tuple) -> None:
        """Keeps one."""
        self.rows.append(row)


class EpochLife:
    """Instances of a sink that are open and driven by hand; a context manager.

    Args:
        shown: looks for secrets at the end.
        tasks: how many tasks the sink has.
    """

    def __init__(self, under_test: SinkUnderTest, shown: Shown, tasks: int = 1) -> None:
        self._under_test, self._shown, self._tasks = under_test, shown, tasks
        self.sinks: list[Transactional] = []
        self._collect, self._ids = Collect(), count()
        topology = Topology("conformance")
        rows = topology.spout("rows", lambda: iter(()), outputs=under_test.fields)
        none = topology.spout("none", lambda: iter(()), outputs=under_test.fields)
        topology.bolt("collect", lambda: self._collect).shuffle(rows)
        topology.bolt("sink", under_test.make, parallelism=tasks).shuffle(none)
        self._cluster = LocalCluster(topology, mock_sources={"rows": [], "none": []})

    def __enter__(self) -> Self:
        self._cluster.open()
        made = [self._cluster.task("sink", Bolt, index) for index in range(self._tasks)]
        if not all(isinstance(sink, Transactional) for sink in made):
            fix = "give it stage, prepare, commit and committed, or leave these schedules out"
            message = f"{type(made[0]).__name__} is not Transactional, so its epochs cannot be checked"
            self._cluster.close()
            raise TopologyError(Defect("conformance_description", message, (), fix))
        self.sinks = cast("list[Transactional]", made)
        return self

    def __exit__(self, *exc: object) -> None:
        self._shown.look(self.sinks, self._cluster)
        self._cluster.close()

    @property
    def sink(self) -> Transactional:
        """The sink, of one task."""
        return self.sinks[0]

    def rows(self, numbers: Iterable[int]) -> list[Tuple]:
        """Rows as a sink gets them."""
        values = [self._under_test.row(number) for number in numbers]
        self._cluster.feed("rows", values, ids=[next(self._ids) for _ in values])
        self._cluster.run_until_idle()
        taken, self._collect.rows = self._collect.rows, []
        return taken


@dataclass
class EpochStage:
    """Where a schedule plays, and what must be there by now."""

    under_test: SinkUnderTest
    random: Random
    shown: Shown
    name: str = ""
    lives: int = 0
    given: int = 0
    published: set[int] = field(default_factory=set[int])
    broken: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    # -- what is done ----------------------------------------------------------------------------------------------

    def life(self, tasks: int = 1) -> EpochLife:
        """Instances that are opened anew."""
        self.lives += 1
        self.name = self.name or type(self.under_test.make()).__name__
        return EpochLife(self.under_test, self.shown, tasks)

    def new_rows(self) -> range:
        """Numbers of rows that were not given yet."""
        first, self.given = self.given, self.given + ROWS
        return range(first, self.given)

    def staged(self, life: EpochLife, epoch: int, numbers: Sequence[int], sink: Transactional | None = None) -> bytes:
        """Stages rows in two parts and prepares their epoch."""
        sink, half = sink or life.sink, len(numbers) // 2
        for part in (numbers[:half], numbers[half:]):
            if part:
                self.when_available(lambda part=part: sink.stage(life.rows(part)))
        staged = self.when_available(lambda: sink.prepare(epoch))
        self.look()
        return staged

    def commit(self, sink: Transactional, epoch: int, staged: bytes, numbers: Iterable[int]) -> None:
        """Commits an epoch of these rows, and looks."""
        self.when_available(lambda: sink.commit(epoch, staged))
        self.published.update(numbers)
        self.look()
        self.look_at_mark(sink, epoch)

    def when_available(self, call: Callable[[], _T]) -> _T:
        """Calls until the other system is there.

        Raises:
            Unavailable: it was not in time.
        """
        deadline_s = time.monotonic() + self.under_test.patience_s
        while True:
            try:
                return call()
            except Unavailable:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(AGAIN_AFTER_S)

    # -- what is seen ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Compares what is there with what should be."""
        there = Counter(self.under_test.read_back())
        self._note("uncommitted_rows_are_unseen", {*there} - self.published)
        self._note("committed_rows_are_there", self.published - {*there})
        self._note("epochs_are_there_once", {number for number, times in there.items() if times > 1})

    def look_at_mark(self, sink: Transactional, *epochs: int) -> int:
        """The newest epoch that is marked; it must be one of these."""
        told = self.when_available(sink.committed)
        if told not in epochs:
            wanted = " or ".join(map(str, epochs))
            self.broken.setdefault("committed_tells_the_newest_epoch", []).append(f"it gave {told}, not {wanted}")
        return told

    def look_after_a_cut(self, told: int, epoch: int, rows: Sequence[int]) -> None:
        """An epoch whose commit was cut short is there as its mark says."""
        there = {*rows} & {*self.under_test.read_back()}
        if told == epoch:
            self.published.update(rows)
        if len(there) != (len(rows) if told == epoch else 0):
            facts = f"epoch {epoch} has {len(there)} of {len(rows)} rows there, and the newest mark is {told}"
            self.broken.setdefault("rows_and_mark_are_one", []).append(facts)
            self.published.update(there)

    def _note(self, law: str, rows: set[int]) -> None:
        if rows:
            self.broken.setdefault(law, []).append(f"rows {numbers(sorted(rows))}")

    def breaches(self) -> tuple[Breach, ...]:
        """The laws that did not hold."""
        return tuple(Breach(law, LAWS[law], facts[0]) for law, facts in self.broken.items())


# -- the schedules -------------------------------------------------------------------------------------------------


def one_after_the_other(stage: EpochStage) -> None:
    """Epochs are staged, prepared and committed, one of them without rows."""
    with stage.life() as life:
        stage.look_at_mark(life.sink, 0)
        for epoch in range(1, 6):
            numbers = stage.new_rows() if epoch != 3 else ()
            stage.commit(life.sink, epoch, stage.staged(life, epoch, numbers), numbers)


def committed_twice(stage: EpochStage) -> None:
    """A commit comes again: at once, after later epochs, and in another instance."""
    with stage.life() as life:
        first, second = stage.new_rows(), stage.new_rows()
        staged = stage.staged(life, 1, first)
        for _ in range(2):
            stage.commit(life.sink, 1, staged, first)
        later = stage.staged(life, 2, second)
        stage.commit(life.sink, 2, later, second)
        stage.when_available(lambda: life.sink.commit(1, staged))
        stage.look()
        stage.look_at_mark(life.sink, 2)
    with stage.life() as life:
        stage.look_at_mark(life.sink, 2)
        stage.commit(life.sink, 2, later, second)


def crash_before_prepare(stage: EpochStage) -> None:
    """The process dies with rows that are staged; they are given again to the next one, in the same epoch."""
    for epoch in range(1, 4):
        numbers = stage.new_rows()
        _killed(stage, lambda life, tell, numbers=numbers: (life.sink.stage(life.rows(numbers)), tell("staged")))
        stage.look()
        with stage.life() as life:
            stage.look_at_mark(life.sink, epoch - 1)
            stage.commit(life.sink, epoch, stage.staged(life, epoch, numbers), numbers)


def crash_before_commit(stage: EpochStage) -> None:
    """The process dies when its epoch is prepared; another one commits it from what the checkpoint holds."""
    for epoch in range(1, 4):
        numbers = stage.new_rows()
        [staged] = _killed(stage, lambda life, tell, e=epoch, n=numbers: tell("prepared", stage.staged(life, e, n)))
        with stage.life() as life:
            stage.look()
            stage.look_at_mark(life.sink, epoch - 1)
            stage.commit(life.sink, epoch, staged, numbers)


def crash_in_commit(stage: EpochStage) -> None:
    """The process dies at any moment of a commit; another one asks what is committed, and commits again."""
    with stage.life() as life:
        numbers = stage.new_rows()
        staged, began_s = stage.staged(life, 1, numbers), time.monotonic()
        stage.when_available(lambda: life.sink.commit(1, staged))
        takes_s = time.monotonic() - began_s
        stage.published.update(numbers)
    for epoch in range(2, 2 + CRASHES):
        numbers = stage.new_rows()
        after_s = stage.random.random() * 1.5 * takes_s
        [staged] = _killed(stage, lambda life, tell, e=epoch, n=numbers: _commit(stage, life, tell, e, n), after_s)
        with stage.life() as life:
            told = stage.look_at_mark(life.sink, epoch - 1, epoch)
            stage.look_after_a_cut(told, epoch, numbers)
            stage.commit(life.sink, epoch, staged, numbers)


def crash_after_commit(stage: EpochStage) -> None:
    """The process dies after a commit that nobody heard of; another one commits the epoch again."""
    for epoch in range(1, 4):
        numbers = stage.new_rows()
        [staged, *_] = _killed(
            stage, lambda life, tell, e=epoch, n=numbers: _commit(stage, life, tell, e, n), until="committed"
        )
        stage.published.update(numbers)
        with stage.life() as life:
            stage.look()
            stage.look_at_mark(life.sink, epoch)
            stage.commit(life.sink, epoch, staged, numbers)


def late_commit(stage: EpochStage) -> None:
    """An instance that was thought dead commits an epoch that its successor has committed, and moved on from."""
    first, second = stage.new_rows(), stage.new_rows()
    with stage.life() as old:
        staged = stage.staged(old, 1, first)
        with stage.life() as new:
            stage.commit(new.sink, 1, staged, first)
            later = stage.staged(new, 2, second)
            stage.commit(new.sink, 2, later, second)
            stage.when_available(lambda: old.sink.commit(1, staged))
            stage.look()
            stage.look_at_mark(new.sink, 2)


def two_tasks(stage: EpochStage) -> None:
    """Two tasks commit epochs of the same numbers; each has a mark of its own."""
    with stage.life(2) as life:
        first, second = stage.new_rows(), stage.new_rows()
        one, other = life.sinks
        staged, others = stage.staged(life, 1, first, one), stage.staged(life, 1, second, other)
        stage.commit(one, 1, staged, first)
        stage.look_at_mark(other, 0)
        stage.commit(other, 1, others, second)
        third = stage.new_rows()
        stage.commit(other, 2, stage.staged(life, 2, third, other), third)
        stage.look_at_mark(one, 1)
    with stage.life(2) as life:
        stage.look_at_mark(life.sinks[0], 1)
        stage.look_at_mark(life.sinks[1], 2)


def away_in_commit(stage: EpochStage) -> None:
    """The other system is away when an epoch is to be committed; the call says so, and is made again."""
    assert stage.under_test.outage is not None
    with stage.life() as life:
        numbers = stage.new_rows()
        staged = stage.staged(life, 1, numbers)
        outage = Outage(stage.under_test.outage, stage.under_test.outage_s)
        outage.begin(wait=True)
        try:
            stage.when_available(lambda: life.sink.commit(1, staged))
        finally:
            outage.end()
        stage.published.update(numbers)
        stage.look()
        stage.commit(life.sink, 1, staged, numbers)


def _commit(stage: EpochStage, life: EpochLife, tell: Tell, epoch: int, numbers: Sequence[int]) -> None:
    staged = stage.staged(life, epoch, numbers)
    tell("prepared", staged)
    stage.when_available(lambda: life.sink.commit(epoch, staged))
    tell("committed", staged)


def _killed(
    stage: EpochStage, act: Callable[[EpochLife, Tell], object], after_s: float | None = None, until: str | None = None
) -> tuple[Any, ...]:
    """What a process told that was killed then.

    Args:
        after_s: kills it so long after it was let go on; None: where it stands.
        until: the word after which it is killed; the first one if not given.
    """
    stage.lives += 1

    def live(tell: Tell) -> None:
        with EpochLife(stage.under_test, stage.shown) as life:
            act(life, tell)

    with Life(live, stage.under_test.patience_s) as process:
        heard = process.heard()
        while heard is not None and until not in (None, heard[0]):
            heard = process.heard()
        assert heard is not None
        if after_s is not None:
            process.let_go_on()
            time.sleep(after_s)
    return heard[1]


SCHEDULES: dict[EpochSchedule, Callable[[EpochStage], None]] = {
    EpochSchedule.ONE_AFTER_THE_OTHER: one_after_the_other,
    EpochSchedule.COMMITTED_TWICE: committed_twice,
    EpochSchedule.CRASH_BEFORE_PREPARE: crash_before_prepare,
    EpochSchedule.CRASH_BEFORE_COMMIT: crash_before_commit,
    EpochSchedule.CRASH_IN_COMMIT: crash_in_commit,
    EpochSchedule.CRASH_AFTER_COMMIT: crash_after_commit,
    EpochSchedule.LATE_COMMIT: late_commit,
    EpochSchedule.TWO_TASKS: two_tasks,
    EpochSchedule.AWAY_IN_COMMIT: away_in_commit,
}
