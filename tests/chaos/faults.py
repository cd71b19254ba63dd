"""What each kind of fault does to a run, and how it is mended."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from chaos.noted import Order, order
from chaos.proxy import Spoiler
from chaos.schedule import LINK_FAULTS, Planned

MIB = 1 << 20
KILLS_OF_A_STORM, KILLS_OF_A_LONG_STORM, LONG_S = 5, 30, 2.0
"""A storm is long where faults last longest, which they do in no short run."""
GRABBED_BYTES = 512 * MIB
"""What a bolt asks for in vain while its worker gets no more memory."""


class Struck(Protocol):
    """The run that faults strike."""

    folder: Path
    spoilers: dict[int, Spoiler]

    @property
    def parent(self) -> int:
        """The process of the parent."""
        ...

    def pid(self, worker: int) -> int | None:
        """The process of a worker, if it has one now."""
        ...

    def kill(self, worker: int) -> None:
        """Kills a worker's process, if it has one, and notes when."""
        ...

    def rest(self, seconds: float) -> None:
        """Lets time pass, watching."""
        ...


@dataclass(frozen=True)
class UserFault:
    """Something that user code does by order."""

    component: str
    kind: str
    chance: float = 1.0


USER_FAULTS = {
    "slow": UserFault("keep", "slow"),
    "blocked": UserFault("keep", "blocked"),
    "failing": UserFault("keep", "raise", 0.1),
    "raise": UserFault("split", "raise", 1 / 500),
    "recursion": UserFault("split", "recursion", 1 / 500),
    "exit": UserFault("split", "exit", 1 / 3000),
    "segfault": UserFault("split", "segfault", 1 / 3000),
    "spin": UserFault("split", "spin", 1 / 500),
    "huge": UserFault("split", "huge", 1 / 1000),
}


def strike(run: Struck, fault: Planned) -> None:
    """Lets a fault happen and, where it lasts, end."""
    if user_fault := USER_FAULTS.get(fault.kind):
        until_s = time.monotonic() + fault.lasts_s
        draw = Random(fault.draw)
        size = draw.choice((MIB, 16 * MIB, 64 * MIB))
        chance = draw.choice((user_fault.chance, 1.0)) if fault.kind == "failing" else user_fault.chance
        order(user_fault.component, Order(user_fault.kind, until_s, chance, size), run.folder)
        run.rest(fault.lasts_s)
    elif fault.kind in LINK_FAULTS:
        spoiler = run.spoilers[max(fault.worker, min(run.spoilers))]
        spoiler.spoil(fault.kind)
        run.rest(fault.lasts_s)
        spoiler.spoil("")
    else:
        OTHERS[fault.kind](run, fault)


def _kill(run: Struck, fault: Planned) -> None:
    run.kill(fault.worker)


def _storm(run: Struck, fault: Planned) -> None:
    chance = Random(fault.draw)
    for _ in range(KILLS_OF_A_LONG_STORM if fault.lasts_s >= LONG_S else KILLS_OF_A_STORM):
        run.kill(chance.choice([1, fault.worker]))
        run.rest(chance.uniform(0.1, 1.0))


def _pause(run: Struck, fault: Planned) -> None:
    pid = run.parent if fault.kind == "parent" else run.pid(fault.worker)
    if pid is None:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        run.rest(fault.lasts_s)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _core(run: Struck, fault: Planned) -> None:
    allowed = os.sched_getaffinity(0)
    for processors, lasts_s in (({min(allowed)}, fault.lasts_s), (allowed, 0.0)):
        for worker in run.spoilers.keys() | {1}:
            _bind(run.pid(worker), processors)
        run.rest(lasts_s)


def _bind(pid: int | None, processors: set[int]) -> None:
    """Where all threads of a process may run."""
    if pid is None:
        return
    with suppress(ProcessLookupError, FileNotFoundError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), processors)


def _memory(run: Struck, fault: Planned) -> None:
    until_s = time.monotonic() + fault.lasts_s
    order("split", Order("grab", until_s, 1 / 500, GRABBED_BYTES), run.folder)
    _limited(resource.RLIMIT_AS, _address_space)(run, fault)


def _limited(what: int, limit: Callable[[int], int]) -> Callable[[Struck, Planned], None]:
    """A worker gets no more of something than it has, for a while."""

    def strike(run: Struck, fault: Planned) -> None:
        if (pid := run.pid(fault.worker)) is None:
            return
        with suppress(ProcessLookupError, FileNotFoundError):
            before = resource.prlimit(pid, what)
            resource.prlimit(pid, what, (limit(pid), before[1]))
            run.rest(fault.lasts_s)
            resource.prlimit(pid, what, before)

    return strike


def _address_space(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize() + 2 * MIB


OTHERS = {
    "kill": _kill,
    "storm": _storm,
    "pause": _pause,
    "parent": _pause,
    "core": _core,
    "descriptors": _limited(resource.RLIMIT_NOFILE, lambda pid: 3),
    "disk": _limited(resource.RLIMIT_FSIZE, lambda pid: 0),
    "memory": _memory,
}
