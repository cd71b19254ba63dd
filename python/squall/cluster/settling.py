"""When all workers of a run have come to rest, and what comes next: the end of a run, and the stages of its drain.

No worker sees the whole: one may have nothing to do while another has just sent it a tuple. So the workers count what
they send and receive that may bring work (data, acks, fails, end markers), by peer, and the decider asks them all in
waves. A stage has settled when two waves running say the same: every worker is quiet, and between each two living
incarnations as much was received as sent. Two waves, since the answers of one come from different moments; counts by
peer, since those of a lost incarnation never agree and must not: a tuple that died with it is not in flight, and one
that was lost on a link to a living one must not be outweighed by another. A link that is given up between two that live
counts from zero again at both ends. Source: Mattern, Algorithms for Distributed
Termination Detection, 1987 (the four-counter and the channel-counting methods).

**What a worker owes.** It answers each `Ask` at once, quiet or not. After each stage that is begun and after each
answer it says `Quiet` once, unasked, when it has nothing to do and was busy, or has counted more, since; where its
sources run (`Stage.needs_exhausted`), not before they are exhausted. So an idle run costs nothing, and no rest goes
unnoticed. The parent's words reach a worker in their order, so an answer after `peer-lost` knows of the loss.

**Losses.** A worker that is lost is waited for. While sources run nothing else changes: the stage began for the new
life too. In a drain, roots that were lost with it are emitted again and pass bolts that had drained already; so the
drain begins anew at once from what it began from. So it does when a link between two that live is given up. A new
stage has a new number, and waves are never numbered twice: whatever comes late from before is known by that and
dropped. What bounds it all is the time of the drain, which is the run's; a drain that the sources' own end began is
over when they run again, and has its time anew when they end again.

**What comes late.** A bolt may get tuples when it has drained: retries, or what another one's timers let go of. So a
drain that has come to its end is done again, its sources stopped as they are, until no such bolt is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

Counts = Mapping[int, int]
"""Frames by the incarnation at the other end."""


class Kind(Enum):
    """What is going on in a stage."""

    RUN = "run"
    """Sources run until they are exhausted."""
    STOP = "stop"
    """Sources are stopped, and what they gave comes to its end."""
    DRAIN = "drain"
    """One component's `drain()` is called in all its tasks, and what it emits comes to its end."""
    HELD = "held"
    """Timers may let go of what user code still holds; what comes of it may lead to another drain."""
    CLOSE = "close"
    """Everything has ended: components are closed."""
    CUT = "cut"
    """Nobody reads what the run gives: components are closed, whatever is under way."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the run. `number`: never twice in a run. `component`: whose `drain()` is called."""

    number: int
    kind: Kind
    component: str | None = None

    @property
    def needs_exhausted(self) -> bool:
        """Whether it can only end by the sources' own end."""
        return self.kind is Kind.RUN

    def json(self) -> dict[str, Any]:
        """As JSON can have it."""
        return {"number": self.number, "kind": self.kind.value, "component": self.component}


# -- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Joined:
    """An incarnation of the worker is ready."""

    worker: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The incarnation has died."""

    worker: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class LinkLost:
    """A link between two that live was given up: what was on its way is sent again."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """A worker has come to rest, unasked: a hint that it is worth to ask all. `incarnation`: who says it."""

    incarnation: int
    stage: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says in a wave.

    `exhausted`: none of its sources will give anything any more. `waits`: trees of its spouts are open. `holds`: bolts
    hold tuples; where some without a `drain()` do (`keeps`), the worker is not quiet while sources run. `timed`: it
    waits or holds, and a timer of its own is due before the drain's time is over. `undrained`: bolts have executed
    tuples after their `drain()`.
    """

    incarnation: int
    wave: int
    is_quiet: bool
    exhausted: bool
    sent: Counts = field(default_factory=dict[int, int])
    received: Counts = field(default_factory=dict[int, int])
    waits: bool = False
    holds: bool = False
    keeps: bool = False
    timed: bool = False
    undrained: bool = False

    @classmethod
    def of_json(cls, incarnation: int, told: Mapping[str, Any]) -> Answer:
        """What a worker tells, as JSON has it."""

        def counts(key: str) -> dict[int, int]:
            return {int(number): count for number, count in told[key].items()}

        return cls(
            incarnation,
            told["wave"],
            told["is_quiet"],
            told["exhausted"],
            counts("sent"),
            counts("received"),
            told["waits"],
            told["holds"],
            told["keeps"],
            told["timed"],
            told["undrained"],
        )


@dataclass(frozen=True, slots=True)
class Stop:
    """The sources are to stop: Ctrl-C, or the time is up."""


@dataclass(frozen=True, slots=True)
class OutputClosed:
    """A worker found that nobody reads the run's standard output any more."""


Event = Joined | Lost | LinkLost | Quiet | Answer | Stop | OutputClosed


# -- actions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask these incarnations how they stand."""

    wave: int
    incarnations: frozenset[int]


@dataclass(frozen=True, slots=True)
class Begin:
    """Tell these incarnations that the stage has begun."""

    stage: Stage
    incarnations: frozenset[int]


Action = Ask | Begin


# -- the machine -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settling:
    """How far a run has settled.

    `order`: components with a `drain()`, in topological order. `left`: those whose stage is still to come.
    `living`: incarnations that are ready, by worker. `quiet`: those that have said so in this stage. `wave`: the newest
    one's number. `answers`: what came in it. `before`: the answers of the wave before, where they agree in themselves.
    `hinted`: whether somebody came to rest while a wave was under way.
    """

    workers: frozenset[int]
    order: tuple[str, ...]
    stage: Stage = Stage(0, Kind.RUN)
    left: tuple[str, ...] = ()
    begins_from: Kind = Kind.RUN
    living: Mapping[int, int] = field(default_factory=dict[int, int])
    quiet: frozenset[int] = frozenset()
    wave: int = 0
    is_asking: bool = False
    answers: Mapping[int, Answer] = field(default_factory=dict[int, Answer])
    before: Mapping[int, Answer] | None = None
    hinted: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is left but to close."""
        return self.stage.kind in (Kind.CLOSE, Kind.CUT)


def settling(workers: Iterable[int], order: Sequence[str]) -> Settling:
    """A run that begins. One worker is the simple case: it sends nothing, and two waves are two answers."""
    return Settling(frozenset(workers), tuple(order), left=tuple(order))


def step(state: Settling, event: Event) -> tuple[Settling, list[Action]]:
    """The run after an event, and what is to be told to whom."""
    match event:
        case Joined(_, incarnation) if state.is_over:
            return state, [Begin(state.stage, frozenset({incarnation}))]
        case _ if state.is_over:
            return state, []
        case OutputClosed():
            return _begun(state, Kind.CUT)
        case Joined(worker, incarnation):
            return _joined(state, worker, incarnation)
        case Lost(worker, incarnation):
            return _lost(state, worker, incarnation)
        case LinkLost():
            return _drained_anew(state)
        case Quiet(incarnation, stage):
            if stage != state.stage.number or incarnation not in state.living.values():
                return state, []
            return _looked(replace(state, quiet=state.quiet | {incarnation}, hinted=True))
        case Answer():
            return _answered(state, event)
        case Stop():
            if state.begins_from is Kind.STOP:
                return state, []
            state = replace(state, begins_from=Kind.STOP)
            return _begun(state, Kind.STOP) if state.stage.kind is Kind.RUN else (state, [])


def _joined(state: Settling, worker: int, incarnation: int) -> tuple[Settling, list[Action]]:
    state = replace(state, living={**state.living, worker: incarnation})
    return state, [Begin(state.stage, frozenset({incarnation}))]


def _lost(state: Settling, worker: int, incarnation: int) -> tuple[Settling, list[Action]]:
    if state.living.get(worker) != incarnation:
        return state, []
    living = {other: number for other, number in state.living.items() if other != worker}
    return _drained_anew(_unasked(replace(state, living=living, quiet=state.quiet - {incarnation})))


def _drained_anew(state: Settling) -> tuple[Settling, list[Action]]:
    if state.stage.kind in (Kind.DRAIN, Kind.HELD):
        return _begun(replace(state, left=state.order), state.begins_from)
    return state, []


def _answered(state: Settling, answer: Answer) -> tuple[Settling, list[Action]]:
    if not state.is_asking or answer.wave != state.wave or answer.incarnation not in state.living.values():
        return state, []
    state = replace(state, answers={**state.answers, answer.incarnation: answer})
    if not _rests(answer, state.stage):
        state = replace(state, quiet=state.quiet - {answer.incarnation})
    if len(state.answers) < len(state.living):
        return state, []
    rest = all(_rests(one, state.stage) for one in state.answers.values()) and _has_run(state)
    if not rest or not _agree(state.answers):
        return _looked(_unasked(state))  # those that are busy, or are being sent something, say when they rest
    if state.before is not None and _same(state.before, state.answers):
        return _next(state)
    return _asked(replace(state, before=state.answers))


def _looked(state: Settling) -> tuple[Settling, list[Action]]:
    """Asks all, if all are there, all seem to rest, and there is news."""
    if state.is_asking or not state.hinted or len(state.living) < len(state.workers):
        return state, []
    return _asked(state) if len(state.quiet) == len(state.living) else (state, [])


def _asked(state: Settling) -> tuple[Settling, list[Action]]:
    state = replace(state, wave=state.wave + 1, is_asking=True, answers={}, hinted=False)
    return state, [Ask(state.wave, frozenset(state.living.values()))]


def _unasked(state: Settling) -> Settling:
    return replace(state, is_asking=False, answers={}, before=None)


def with_order(state: Settling, order: Sequence[str]) -> Settling:
    """The run when it is known which components have a `drain()`; those already drained are not drained again."""
    gone = set(state.order) - set(state.left)
    return replace(state, order=tuple(order), left=tuple(name for name in order if name not in gone))


def _has_run(state: Settling) -> bool:
    """Whether, where sources run, open trees wait for nothing but a `drain()`."""
    answers = state.answers.values()
    waits, holds = any(one.waits for one in answers), any(one.holds for one in answers)
    return not state.stage.needs_exhausted or not waits or holds


def _next(state: Settling) -> tuple[Settling, list[Action]]:
    if state.left:
        return _begun(replace(state, left=state.left[1:]), Kind.DRAIN, state.left[0])
    if state.stage.kind is not Kind.HELD:
        return _begun(state, Kind.HELD)
    answers = state.answers.values()
    timed = any(one.timed for one in answers)
    if any(one.undrained for one in answers) and not (timed and any(one.keeps for one in answers)):
        return _next(replace(state, left=state.order))
    return _looked(_unasked(state)) if timed else _begun(state, Kind.CLOSE)


def _begun(state: Settling, kind: Kind, component: str | None = None) -> tuple[Settling, list[Action]]:
    stage = Stage(state.stage.number + 1, kind, component)
    state = _unasked(replace(state, stage=stage, quiet=frozenset(), hinted=False))
    return state, [Begin(stage, frozenset(state.living.values()))]


def _rests(answer: Answer, stage: Stage) -> bool:
    return answer.is_quiet and (answer.exhausted or not stage.needs_exhausted)


def _agree(answers: Mapping[int, Answer]) -> bool:
    """Whether nothing is on its way between any two of those that answered."""
    return all(
        one.sent.get(number, 0) == other.received.get(mine, 0)
        for mine, one in answers.items()
        for number, other in answers.items()
        if mine != number
    )


def _same(before: Mapping[int, Answer], now: Mapping[int, Answer]) -> bool:
    return before.keys() == now.keys() and all(
        (before[number].sent, before[number].received) == (answer.sent, answer.received)
        for number, answer in now.items()
    )
