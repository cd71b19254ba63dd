"""Why a worker's process ended, in words. Pure; whoever reaped it brings the evidence."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from squall.errors import Defect
from squall.model import exits

MEMORY_FIX = "use less memory in this component, or give the machine more"


class Kind(Enum):
    """How a worker ended."""

    EXIT = "exit"
    """It exited by itself."""
    SIGNAL = "signal"
    """A signal ended it: a crash, or somebody's kill."""
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel killed it for lack of memory, or it had too little to go on."""
    TOLD = "told"
    """Its parent ended it, or it said itself why it could not go on."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a worker is lost. `defect` is what ends a run for it."""

    kind: Kind
    defect: Defect

    @property
    def text(self) -> str:
        """One line for people."""
        return self.defect.message


def cause_of(status: int, components: Sequence[str], out_of_memory: bool, who: str = "the worker") -> Cause:
    """The cause of an end without a word.

    Args:
        status: exit code, or the negative number of the signal that killed it.
        components: whose code was running.
        out_of_memory: whether the kernel killed processes for memory meanwhile. It counts only with SIGKILL: it may
            have been another process.
        who: what to call the worker.
    """
    ran = " and ".join(f'"{name}"' for name in components)
    during = f" while {ran} {'was' if len(components) == 1 else 'were'} running" if ran else ""
    if status == exits.NO_MEMORY:
        message = f"{who} had no memory left to go on{during}"
        return Cause(Kind.OUT_OF_MEMORY, Defect("worker_out_of_memory", message, (), MEMORY_FIX))
    if status >= 0:
        fix = "end a topology by ending its sources; never by `exit`"
        return Cause(Kind.EXIT, Defect("worker_exited", f"{who} exited with code {status}{during}", (), fix))
    name = _signal_name(-status)
    if name == "SIGKILL" and out_of_memory:
        message = f"{who} was killed for lack of memory (SIGKILL){during}"
        return Cause(Kind.OUT_OF_MEMORY, Defect("worker_out_of_memory", message, (), MEMORY_FIX))
    how = {"SIGSEGV": "by a segmentation fault", "SIGABRT": "by an abort"}.get(name, "by a signal")
    fix = "the log may hold its last lines, and stacks of a crash in C code"
    return Cause(Kind.SIGNAL, Defect("worker_crashed", f"{who} was ended {how} ({name}){during}", (), fix))


def told(defect: Defect) -> Cause:
    """The cause of an end that somebody gave a reason for: a call that hangs, a topology that cannot be built."""
    return Cause(Kind.TOLD, defect)


def not_started(who: str, error: Exception) -> Defect:
    """A process that could not be made: the machine has no room for it, perhaps."""
    facts = (("because", str(error).splitlines()[0] if str(error) else type(error).__name__),)
    fix = "see how many processes, open files and how much memory the machine allows; it is tried again"
    return Defect("worker_not_started", f"{who} could not be started again", facts, fix)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
