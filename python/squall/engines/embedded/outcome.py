"""Decisions of a run, pure: what state it is in after an event, and how it ends."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_KILLED = 0, 1, 2, 130


class Phase(Enum):
    """Where a run is."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    ENDED = "ended"
    KILLED = "killed"


class Do(Enum):
    """What the engine is to do."""

    NOTHING = "nothing"
    STOP = "stop"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a run."""

    phase: Phase = Phase.STARTING
    exit_code: int | None = None
    reason: str = ""


def step(run: Run, event: str, **facts: Any) -> tuple[Run, Do]:
    """The run after an event, and what is to be done.

    Events: ready, draining, ended(ok), failed(text), interrupt, time_up, drain_time_up, worker_gone(text).
    """
    match event, run.phase:
        case "ready", Phase.STARTING:
            return replace(run, phase=Phase.RUNNING), Do.NOTHING
        case "draining", Phase.STARTING | Phase.RUNNING:
            return replace(run, phase=Phase.DRAINING), Do.NOTHING
        case ("interrupt" | "time_up"), Phase.STARTING | Phase.RUNNING:
            return replace(run, phase=Phase.DRAINING), Do.STOP
        case "interrupt", Phase.DRAINING:
            return Run(Phase.KILLED, EXIT_KILLED, "interrupted twice"), Do.KILL
        case "drain_time_up", Phase.DRAINING:
            return Run(Phase.KILLED, EXIT_FAILED, "the drain did not end in time"), Do.KILL
        case "ended", _:
            code = EXIT_OK if facts["ok"] else EXIT_FAILED
            return Run(Phase.ENDED, code, facts.get("reason", "")), Do.NOTHING
        case "failed", _:
            return replace(run, exit_code=EXIT_FAILED, reason=facts["text"]), Do.NOTHING
        case "worker_gone", Phase.ENDED | Phase.KILLED:
            return run, Do.NOTHING
        case "worker_gone", _:
            return Run(Phase.ENDED, EXIT_FAILED, run.reason or facts["text"]), Do.NOTHING
        case _:
            return run, Do.NOTHING


def cause_of_death(status: int, component: str | None, oom: bool) -> str:
    """How a worker that said nothing ended, in words.

    Args:
        status: exit code, or the negative number of the signal that killed it.
        component: whose code was running.
        oom: whether the kernel killed a process of this group for memory.
    """
    ran = f' while "{component}" was running' if component else ""
    if status >= 0:
        return f"the worker exited with code {status}{ran}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    what = {"SIGSEGV": "a segmentation fault", "SIGKILL": "kill -9", "SIGABRT": "an abort"}.get(name, name)
    if oom:
        what = "running out of memory"
    return f"the worker was ended by {what} ({name}){ran}"
