"""The laws of trees, tuples and lives, tried on the traces of all lives of a run.

A law is told by its name in the delivery semantics (a number) or among the invariants (`A1`, `C7`, `S1`). What a trace
does not say is no breach: where one was cut off, or a life has none, what it may have held is taken for granted.

The traces are read twice: first what was opened, sent and ended, life by life; then what became of each tuple. Of two
notes in one trace the order is known; of notes in two it is where their turns do not overlap.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple

from squall.trace.life import Block, Life
from squall.trace.notes import (
    ACKED,
    ASKED,
    DEAD,
    ORDERED,
    REPLAY,
    SOLO,
    Ended,
    InputAcked,
    InputFailed,
    Lost,
    Opened,
    Prefix,
    Rest,
    Sent,
    SpoutNote,
    Taken,
    TaskNote,
)

Edge = tuple[int, int]
"""A tuple in one of its trees: root, edge."""
DEADLY = 3
"""So many deaths of workers on an output give it up."""
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Breach:
    """A law that does not hold: which, in which life, and what shows it."""

    law: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"law {self.law}, {self.where}: {self.what}"


class Moment(NamedTuple):
    """When something was noted: in which life, in which turn of it, as which note, within which times."""

    life: int
    turn: int
    note: int
    began_ns: int
    ended_ns: int

    def is_after(self, other: Moment) -> bool:
        """Whether it is certain to have come later."""
        if self.life == other.life:
            return (self.turn, self.note) > (other.turn, other.note)
        return self.began_ns > other.ended_ns


class Channel(NamedTuple):
    """A source task of one life, a stream, a target task."""

    life: int
    source: int
    stream: int
    target: int


class Way(NamedTuple):
    """The way of a tuple: its channel, and its number there, from 0."""

    channel: Channel
    number: int


@dataclass
class Spout:
    """What is known of a spout's task in one life."""

    limit: int = 0
    workers: frozenset[int] = frozenset()
    asked_open: int = 0
    owed: set[int] = field(default_factory=set[int])
    """Places of outputs that have not ended."""
    first_owed: list[int] = field(default_factory=list[int])
    """The same as a heap, with some that have."""
    ended: int = 0


@dataclass
class Known:
    """What all lives tell together."""

    lives: Sequence[Life]
    breaches: list[Breach] = field(default_factory=list[Breach])
    ways: dict[Edge, Way] = field(default_factory=dict[Edge, Way])
    acked_roots: dict[int, Moment] = field(default_factory=dict[int, Moment])
    solo: set[int] = field(default_factory=set[int])
    cuts: dict[Channel, list[int]] = field(default_factory=lambda: defaultdict(list))
    """How many tuples had been sent in a channel when the sender lost its target: those may be gone."""
    worker_of: dict[int, int] = field(default_factory=dict[int, int])
    """The worker that has a task."""
    tasks: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The lives that had a task."""
    spans: list[tuple[int, int] | None] = field(default_factory=list[tuple[int, int] | None])

    def breach(self, law: str, life: int, what: str) -> None:
        """A law does not hold."""
        self.breaches.append(Breach(law, str(self.lives[life]), what))


def check(lives: Sequence[Life]) -> list[Breach]:
    """The breaches of laws in the traces of one run; none, if all hold.

    Raises:
        ValueError: a trace was damaged.

    Cost: some 300 bytes of memory for each tuple of a tree, and some microseconds.
    """
    known = Known(lives)
    for number, life in enumerate(lives):
        _list_tasks(known, number, life)
    for number, _ in enumerate(lives):
        _Opener(known, number).read()
    _check_lives(known)
    _Tuples(known).read()
    return known.breaches


def _list_tasks(known: Known, number: int, life: Life) -> None:
    """Which tasks a life has: it tells of them before it does anything."""
    for block in life.blocks():
        for note in block.notes:
            if isinstance(note, TaskNote):
                known.tasks[note.task].append(number)
                known.worker_of[note.task] = life.worker
        return


class _Opener:
    """Reads one life: its trees, what it sent, its spouts."""

    def __init__(self, known: Known, number: int) -> None:
        self.known, self.number, self.life = known, number, known.lives[number]
        self.spouts: dict[int, Spout] = defaultdict(Spout)
        self.open: dict[int, Opened] = {}
        self.open_of: Counter[int] = Counter()
        """How many of them each task has: a spout may have very many open, and rest as often."""
        self.ended: set[int] = set()
        self.hopeless: set[int] = set()
        self.doomed: dict[int, int] = {}
        """Roots that a loss is to fail, with the lost worker."""
        self.sent: dict[Channel, int] = defaultdict(int)

    def read(self) -> None:
        span: tuple[int, int] | None = None
        for turn, block in enumerate(self.life.blocks()):
            span = (span[0] if span else block.began_ns, block.ended_ns)
            self._turn(turn, block)
        self.known.spans.append(span)

    def _turn(self, turn: int, block: Block) -> None:
        for place, note in enumerate(block.notes):
            match note:
                case Sent():
                    self._sent(note)
                case Opened():
                    self._opened(note)
                case Ended():
                    self._ended(note, Moment(self.number, turn, place, block.began_ns, block.ended_ns))
                case Prefix():
                    self._prefix(note)
                case Rest():
                    self._rest(note)
                case Lost():
                    self._lost(note)
                case SpoutNote():
                    self.spouts[note.task].limit = note.limit
                    self.spouts[note.task].workers = frozenset(note.workers)
                case _:
                    pass
        for root, worker in self.doomed.items():
            self._breach("19", f"root {root:#x} was open when worker {worker} was lost, and did not fail")
        self.doomed.clear()

    def _breach(self, law: str, what: str) -> None:
        self.known.breach(law, self.number, what)

    def _opened(self, note: Opened) -> None:
        if note.root >> 48 != self.life.incarnation:
            self._breach("14", f"root {note.root:#x} has the number of another life")
        if note.root in self.open or note.root in self.ended:
            self._breach("14", f"root {note.root:#x} was opened twice")
        if (before := self.open.get(note.root)) is not None:
            self.open_of[before.task] -= 1
        self.open[note.root] = note
        self.open_of[note.task] += 1
        if note.flags & SOLO:
            self.known.solo.add(note.root)
        if note.suspicions >= DEADLY:
            self.hopeless.add(note.root)
        spout = self.spouts[note.task]
        if note.flags & ORDERED and note.place not in spout.owed:
            spout.owed.add(note.place)
            heappush(spout.first_owed, note.place)
        if not note.flags & REPLAY:
            spout.asked_open += 1
            if note.flags & ASKED and 0 < spout.limit < spout.asked_open:
                self._breach("A4", f"task {note.task} was asked for a root while {spout.asked_open - 1} were open, "
                                   f"and may have {spout.limit}")  # fmt: skip

    def _sent(self, note: Sent) -> None:
        channel = Channel(self.number, note.source, note.stream, note.target)
        if (note.root, note.edge) in self.known.ways or note.edge == 0:
            self._breach("A6", f"edge {note.edge:#x} was given twice in the tree of root {note.root:#x}")
        self.known.ways[note.root, note.edge] = Way(channel, self.sent[channel])
        self.sent[channel] += 1
        if note.root in self.hopeless:
            self._breach("9", f"root {note.root:#x} was sent, although {DEADLY} workers or more had died on it")

    def _ended(self, note: Ended, at: Moment) -> None:
        opened = self.open.pop(note.root, None)
        if opened is None:
            again = "again" if note.root in self.ended else "and was never opened"
            return self._breach("A3", f"the tree of root {note.root:#x} ended {again}")
        self.ended.add(note.root)
        self.open_of[opened.task] -= 1
        spout = self.spouts[opened.task]
        if not opened.flags & REPLAY:
            spout.asked_open -= 1
        if note.how == ACKED:
            self.known.acked_roots[note.root] = at
        if opened.flags & ORDERED and note.how in (ACKED, DEAD):
            spout.owed.discard(opened.place)
        worker = self.doomed.pop(note.root, None)
        if worker is not None and note.how == ACKED:
            self._breach("19", f"root {note.root:#x} was open when worker {worker} was lost, and was acked")
        return None

    def _prefix(self, note: Prefix) -> None:
        spout = self.spouts[note.task]
        if note.ended < spout.ended:
            self._breach("31", f"the ended prefix of task {note.task} went from {spout.ended} back to {note.ended}")
        spout.ended = note.ended
        while spout.first_owed and spout.first_owed[0] not in spout.owed:
            heappop(spout.first_owed)
        if spout.first_owed and spout.first_owed[0] < note.ended < 1 << 32:  # places are the low half of a count
            place = spout.first_owed[0]
            self._breach("31", f"task {note.task} told that its first {note.ended} outputs had ended; {place} had not")

    def _rest(self, note: Rest) -> None:
        opened = self.open_of[note.task]
        if opened != note.open:
            self._breach("36", f"task {note.task} counts {note.open} open roots, and has {opened}")

    def _lost(self, note: Lost) -> None:
        for channel, count in self.sent.items():
            if self.known.worker_of.get(channel.target) == note.worker:
                self.known.cuts[channel].append(count)
        for root, opened in self.open.items():
            if note.worker in self.spouts[opened.task].workers:
                self.doomed[root] = note.worker


def _check_lives(known: Known) -> None:
    """Lives have numbers of their own, and a task is in one of them at a time."""
    numbers = [life.incarnation for life in known.lives]
    for number, life in enumerate(known.lives):
        if numbers.index(life.incarnation) != number:
            known.breach("14", number, "another life of the run has its number")
    for task, lives in known.tasks.items():
        spans = sorted((span, life) for life in lives if (span := known.spans[life]) is not None)
        for ((_, until_ns), before), ((from_ns, _), after) in pairwise(spans):
            if from_ns < until_ns:
                known.breach("S1", after, f"task {task} began while {known.lives[before]} still had it")


@dataclass
class _Tuples:
    """Reads all lives: what became of the tuples that were sent."""

    known: Known
    taken: dict[Edge, int] = field(default_factory=dict[Edge, int])
    """By which task."""
    acked: dict[Edge, Moment] = field(default_factory=dict[Edge, Moment])
    failed: set[Edge] = field(default_factory=set[Edge])
    is_cut: bool = False

    def read(self) -> None:
        self.is_cut = any(life.cut for life in self.known.lives)
        for number, life in enumerate(self.known.lives):
            passed: dict[Channel, int] = defaultdict(int)
            for turn, block in enumerate(life.blocks()):
                for place, note in enumerate(block.notes):
                    match note:
                        case Taken():
                            self._took(number, note, passed)
                        case InputAcked():
                            self._ended(number, note, "acked")
                            at = Moment(number, turn, place, block.began_ns, block.ended_ns)
                            self.acked[note.root, note.edge] = at
                        case InputFailed():
                            self._ended(number, note, "failed")
                            self.failed.add((note.root, note.edge))
                        case _:
                            pass
        self._check_trees()

    def _took(self, number: int, note: Taken, passed: dict[Channel, int]) -> None:
        one, known = (note.root, note.edge), self.known
        if note.root in known.solo and note.together > 1:
            known.breach("10", number, f"root {note.root:#x} was to run alone, and ran with {note.together - 1} others")
        way = known.ways.get(one)
        self.taken.setdefault(one, note.task)
        if way is None:
            if not self.is_cut and self._has_opener(note.root):
                known.breach("20", number, f"{_name(one)} was taken, and nobody had sent it")
            return
        if way.channel.target != note.task:
            known.breach("20", number, f"{_name(one)} was for task {way.channel.target}; task {note.task} took it")
            return
        expected = passed[way.channel]
        passed[way.channel] = max(expected, way.number + 1)
        if cuts := known.cuts.get(way.channel):
            expected = max(expected, max((cut for cut in cuts if cut <= way.number), default=0))
        if way.number < expected:
            known.breach("23", number, f"{_name(one)} was taken after one that was sent later, or again")
        elif way.number > expected:
            known.breach("20", number, f"{way.number - expected} tuples before {_name(one)} were sent, and never came")

    def _ended(self, number: int, note: InputAcked | InputFailed, how: str) -> None:
        one = (note.root, note.edge)
        if one in self.acked or one in self.failed:
            self.known.breach("A3", number, f"{_name(one)} was {how}, and had been acked or failed before")
        elif self.taken.get(one) != note.task:
            self.known.breach("A1", number, f"task {note.task} {how} {_name(one)}, which it had not taken")

    def _has_opener(self, root: int) -> bool:
        return any(life.incarnation == root >> 48 for life in self.known.lives)

    def _check_trees(self) -> None:
        """A root that is acked: so were all its tuples, before."""
        known = self.known
        for (root, edge), way in known.ways.items():
            ended = known.acked_roots.get(root)
            if ended is None:
                continue
            acked = self.acked.get((root, edge))
            if acked is None:
                if not any(known.lives[life].cut for life in known.tasks[way.channel.target]):
                    what = "failed" if (root, edge) in self.failed else "never acked"
                    known.breach("A1", ended.life, f"root {root:#x} was acked, and {_name((root, edge))} was {what}")
            elif acked.is_after(ended):
                known.breach("A1", ended.life, f"root {root:#x} was acked before {_name((root, edge))} was")


def _name(one: Edge) -> str:
    return f"tuple {one[1]:#x} of root {one[0]:#x}"
