"""The lives of one worker: when it is started, and when the run gives it up.

Dropped: to hold a death before `ready` against the run at once. A worker may die while it imports because another
process took the memory; ten deaths running are no accident. Deaths after `ready` end no run unless a setting says so,
since a tuple that kills its worker ends as a dead letter (semantics 9).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from squall.cluster.backoff import ALIVE_S, pause_s
from squall.cluster.causes import Cause
from squall.errors import Defect

NEVER = float("inf")


class Phase(Enum):
    """Where a worker is."""

    LOST = "lost"
    """There is no process; one is being started."""
    BACKING_OFF = "backing-off"
    """There is no process until the pause is over."""
    STARTING = "starting"
    READY = "ready"
    ENDED = "ended"
    """It said its last word, so its exit is no death; or there is none, and nothing left to do."""
    GIVEN_UP = "given-up"


# -- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """Its process is there."""


@dataclass(frozen=True, slots=True)
class Ready:
    """All its components are open."""


@dataclass(frozen=True, slots=True)
class Ended:
    """It said its last word."""


@dataclass(frozen=True, slots=True)
class Closing:
    """Everything has ended: nothing is left for another life to do."""


@dataclass(frozen=True, slots=True)
class Died:
    """Its process was killed and reaped (semantics 18), or could not be started."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Started | Ready | Ended | Closing | Died | Tick


# -- actions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process now; `after_s`: how long it was held back since the death before it."""

    after_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the run with exit code 1."""

    defect: Defect


Action = Start | GiveUp


# -- the machine -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """Deaths of one worker that end a run: `topology.worker.start.deaths.max`, `topology.worker.deaths.max`."""

    start_deaths_max: int = 10
    """Running, without a `ready` between them."""
    deaths_max: int | None = None
    """After its `ready`, in the whole run; None: any number."""


@dataclass(frozen=True, slots=True)
class WorkerLife:
    """One worker of a run. Times are on the monotonic clock.

    `series`: deaths since it was last alive for `ALIVE_S`. `start_deaths`: deaths since it was last ready. `deaths`:
    deaths after `ready`. `is_last`: another life would have nothing to do, so a death ends the run.
    """

    worker: int
    limits: Limits = Limits()
    phase: Phase = Phase.LOST
    began_s: float = NEVER
    died_s: float = NEVER
    start_at_s: float = NEVER
    series: int = 0
    start_deaths: int = 0
    deaths: int = 0
    is_last: bool = False


def begun(worker: int, limits: Limits) -> tuple[WorkerLife, list[Action]]:
    """A worker that is to have its first life."""
    return WorkerLife(worker, limits), [Start(0.0)]


def step(life: WorkerLife, event: Event, now_s: float) -> tuple[WorkerLife, list[Action]]:
    """The worker after an event, and what is to be done, in this order."""
    match event, life.phase:
        case Started(), Phase.LOST:
            return replace(life, phase=Phase.STARTING, began_s=now_s), []
        case Ready(), Phase.STARTING:
            return replace(life, phase=Phase.READY, start_deaths=0), []
        case Ended(), Phase.STARTING | Phase.READY:
            return replace(life, phase=Phase.ENDED), []
        case Closing(), Phase.BACKING_OFF:
            return replace(life, phase=Phase.ENDED, start_at_s=NEVER), []
        case Closing(), _:
            return replace(life, is_last=True), []
        case Died(cause), Phase.LOST | Phase.STARTING | Phase.READY:
            return _died(life, cause, now_s)
        case Tick(), Phase.BACKING_OFF if now_s >= life.start_at_s:
            return replace(life, phase=Phase.LOST, start_at_s=NEVER), [Start(now_s - life.died_s)]
        case _:
            return life, []


def _died(life: WorkerLife, cause: Cause, now_s: float) -> tuple[WorkerLife, list[Action]]:
    was_ready = life.phase is Phase.READY
    life = replace(
        life,
        began_s=NEVER,
        died_s=now_s,
        series=1 if now_s - life.began_s >= ALIVE_S else life.series + 1,
        start_deaths=life.start_deaths + (not was_ready),
        deaths=life.deaths + was_ready,
    )
    if defect := cause.defect if life.is_last else _too_many(life, cause):
        return replace(life, phase=Phase.GIVEN_UP), [GiveUp(defect)]
    if pause := pause_s(life.series):
        return replace(life, phase=Phase.BACKING_OFF, start_at_s=now_s + pause), []
    return replace(life, phase=Phase.LOST), [Start(0.0)]


def _too_many(life: WorkerLife, cause: Cause) -> Defect | None:
    """Why the run ends, if it does."""
    limits = life.limits
    last = (("last cause", cause.text), *cause.defect.facts)
    if life.start_deaths >= limits.start_deaths_max:
        message = f"worker {life.worker} died {_times(life.start_deaths)} running before it was ready"
        fix = f"mend that; the log has more. {cause.defect.fix}".rstrip(". ")
        return Defect("worker_start_deaths", message, (*last, ("its code", cause.defect.code)), fix)
    if limits.deaths_max is not None and life.deaths >= limits.deaths_max:
        message = f"worker {life.worker} died {_times(life.deaths)}, as often as topology.worker.deaths.max allows"
        fix = "mend that, or unset topology.worker.deaths.max: what kills its worker thrice becomes a dead letter"
        return Defect("worker_deaths", message, (*last, ("its code", cause.defect.code)), fix)
    return None


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
