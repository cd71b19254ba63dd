"""Decisions of a run, pure: what state it is in after an event, what is to be done, and how it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from squall.errors import Defect
from squall.model.figures import ROOTS

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_KILLED = 0, 1, 2, 130
DRAIN_AT_LEAST_S = 0.1
"""A drain without any time would end before it had looked whether anything is pending."""
DRAIN_GRACE_S = 3.0
"""What the worker gets on top of its drain to say its last word."""
NEVER = float("inf")


class Phase(Enum):
    """Where a run is."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    ENDED = "ended"
    KILLED = "killed"


class Do(Enum):
    """What the engine is to do."""

    STOP = "stop"
    """Tell the worker to stop its sources and drain."""
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Ready:
    """Every component is open."""


@dataclass(frozen=True, slots=True)
class Draining:
    """The sources have ended, or were told to."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A worker was lost after all sources had ended, and they run again for what was lost with it."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Ctrl-C, SIGTERM or SIGHUP."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Something went wrong that ends the run with exit code 1; the worker is still there."""

    failure: Defect


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A worker said its last word before the drain had ended; what it had left, by component."""

    busy: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ended:
    """All workers said their last words."""


@dataclass(frozen=True, slots=True)
class Gone:
    """All processes have ended; `cause` says how one did, in case it said nothing."""

    cause: Defect | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Ready | Draining | Resumed | Interrupted | Failed | Unfinished | Ended | Gone | Tick


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a run; `stop_at_s` and `kill_at_s` are on the monotonic clock.

    `busy`: what workers had left when their drain was over, by component; None: none said so.
    """

    drain_s: float
    phase: Phase = Phase.STARTING
    stop_at_s: float = NEVER
    kill_at_s: float = NEVER
    failure: Defect | None = None
    busy: Mapping[str, int] | None = None

    @property
    def next_at_s(self) -> float:
        """When the clock has to be looked at next."""
        return self.stop_at_s if self.phase in (Phase.STARTING, Phase.RUNNING) else self.kill_at_s

    @property
    def exit_code(self) -> int:
        """0 done, 1 failed, 130 killed."""
        if self.failure is not None:
            return EXIT_FAILED
        return EXIT_KILLED if self.phase is Phase.KILLED else EXIT_OK

    @property
    def said_its_last_word(self) -> bool:
        """Whether all workers reported their final figures."""
        return self.phase is Phase.ENDED


def step(run: Run, event: Event, now_s: float) -> tuple[Run, Do | None]:
    """The run after an event, and what is to be done."""
    match event, run.phase:
        case Ready(), Phase.STARTING:
            return replace(run, phase=Phase.RUNNING), None
        case Draining(), Phase.STARTING | Phase.RUNNING:
            return _draining(run, now_s), None
        case Interrupted(), Phase.STARTING | Phase.RUNNING:
            return _draining(run, now_s), Do.STOP
        case Resumed(), Phase.DRAINING:
            return replace(run, phase=Phase.RUNNING, kill_at_s=NEVER), None
        case Interrupted(), Phase.DRAINING:
            return replace(_judged(run), phase=Phase.KILLED, kill_at_s=NEVER), Do.KILL
        case Failed(failure), _:
            return replace(run, failure=run.failure or failure), None
        case Unfinished(busy), _:
            return replace(run, busy=Counter(run.busy) + Counter(busy)), None
        case Ended(), Phase.STARTING | Phase.RUNNING | Phase.DRAINING:
            return replace(_judged(run), phase=Phase.ENDED, kill_at_s=now_s + DRAIN_GRACE_S), None
        case Gone(cause), Phase.STARTING | Phase.RUNNING | Phase.DRAINING:
            return replace(run, failure=_judged(run).failure or cause), None
        case Tick(), Phase.STARTING | Phase.RUNNING if now_s >= run.stop_at_s:
            return _draining(run, now_s), Do.STOP
        case Tick(), Phase.DRAINING if now_s >= run.kill_at_s:
            failure = run.failure or drain_unfinished(run.drain_s, run.busy or {}, is_all=False)
            return replace(run, phase=Phase.KILLED, kill_at_s=NEVER, failure=failure), Do.KILL
        case Tick(), Phase.ENDED if now_s >= run.kill_at_s:
            return replace(run, kill_at_s=NEVER), Do.KILL
        case _:
            return run, None


def _draining(run: Run, now_s: float) -> Run:
    return replace(run, phase=Phase.DRAINING, kill_at_s=now_s + run.drain_s + DRAIN_GRACE_S)


def _judged(run: Run) -> Run:
    """With the failure that an unfinished drain is."""
    if run.failure is not None or run.busy is None:
        return run
    return replace(run, failure=drain_unfinished(run.drain_s, run.busy))


# -- how failures are told -------------------------------------------------------------------------------------


def death_told(ended: Mapping[str, Any], *, was_ready: bool) -> tuple[str, Defect] | None:
    """Whose exception has ended this life of a worker, where another life follows.

    What `on_error` ends, another life goes on with. `open` that raises in the first life is wrong by itself; where an
    earlier life was ready, it is what it needs that is gone for now.
    """
    places = (None, "open") if was_ready else (None,)
    died = next((failure for failure in ended["failures"] if failure["where"] in places), None)
    if died is None:
        return None
    return died["component"], component_failed(died["component"], died["where"], died["error"])


def failure_at_end(ended: Mapping[str, Any]) -> Defect | None:
    """What the worker's last word tells of a failure of user code."""
    for failure in ended["failures"]:
        if failure["where"] != "close":
            return component_failed(failure["component"], failure["where"], failure["error"])
    return None


def drain_unfinished(drain_s: float, pending: Mapping[str, int], *, is_all: bool = True) -> Defect:
    """A drain that took too long.

    Args:
        pending: what is left, by component.
        is_all: whether each worker has said what it has left.
    """
    listed = [f'{count:,} in "{name}"' for name, count in pending.items()]
    if not is_all:
        listed.append("unknown: a worker does not answer")
    elif not listed:
        listed.append("nothing: a call of a spout did not return, so `drain` of the bolts was not called")
    facts = (("pending", ", ".join(listed)),)
    fix = "see what it waits for (squall stacks), or give it longer (--drain)"
    return Defect("drain_unfinished", f"the drain did not end in {drain_s:g} s", facts, fix)


def component_failed(component: str, where: str | None, error: str) -> Defect:
    """User code raised where no tuple can be failed instead; `where` None: by its `on_error` that ends the worker."""
    message = f'"{component}" raised in {where}' if where else f'"{component}" raised what ends its worker'
    return Defect("component_failed", message, (("error", error),), "mend it; the log has the traceback")


def call_hangs(component: str, running_s: float) -> Defect:
    """A call that was given up together with its worker."""
    message = f'a call of "{component}" did not return for {running_s:.0f} s, so its worker was ended'
    fix = "make the call shorter, or raise topology.message.timeout.secs; the log has its stack"
    return Defect("call_hangs", message, (), fix)


def summary(report: Mapping[str, Any], wall_s: float) -> dict[str, Any]:
    """The totals at the end, from what all workers have told; `approximate` where one was lost."""
    latency = report.get("complete_ms", {})
    out: dict[str, Any] = {
        **{key: report[key] for key in ROOTS},
        "wall_s": round(wall_s, 3),
        "cpu_s": report.get("cpu_s", 0.0),
        "complete_ms": {key: latency.get(key, 0.0) for key in ("p50", "p99", "max")},
        "components": report["components"],
    }
    told = {"links": report["links"], "approximate": report.get("approximate")}
    return out | {key: value for key, value in told.items() if value}
