"""One worker over its lives: its process while there is one, what it says, and what outlives it."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squall.cluster.causes import Cause, cause_of, told
from squall.cluster.worker_life import WorkerLife
from squall.engines.embedded import sockets
from squall.engines.embedded.process import Process
from squall.engines.embedded.tail import Tail
from squall.errors import Defect

Event = dict[str, Any]
Origin = tuple[int, int]
"""A spout's task, by its number in its worker, and which of its outputs in this life."""
Suspect = tuple[bool, int, Origin | None]
"""Whether a call away from the loop worked on it, a root, and with what it began, if it was one of the same life."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a life that has ended.

    `counted`: emitted, acked, failed and dead roots. `prefixes`: by its spouts' tasks, outputs of generators that have
    ended.
    `suspects`: on which tuples it died, and in which component's code, if it was the loop's. `has_raised`: by an
    exception that this component raised. `reading`: what the record would have become that user code was reading.
    """

    incarnation: int
    pid: int
    cause: Cause
    counted: tuple[int, int, int, int]
    prefixes: Sequence[int]
    component: str | None
    has_raised: bool
    suspects: Sequence[Suspect]
    reading: Origin | None


class Seat:
    """One worker over its lives.

    Args:
        who: what to call it.
        components: those of the run, in the order in which workers number them.
        heard: gets what its lives say.
        ended: called when a life's process has ended, which is to be buried then.
    """

    def __init__(
        self,
        number: int,
        who: str,
        life: WorkerLife,
        tail: Tail,
        listener: socket.socket | None,
        components: Sequence[str],
        selector: selectors.BaseSelector,
        heard: Callable[[Seat, Event], None],
        ended: Callable[[Seat], None],
    ) -> None:
        self.number, self.who, self.life, self.tail, self.listener = number, who, life, tail, listener
        self._components, self._selector, self._heard, self._ended = components, selector, heard, ended
        self._process: Process | None = None
        self._lines = sockets.LineBuffer()
        self._said: Cause | None = None
        self._raised: str | None = None
        self.incarnation = 0
        self.was_ready = False
        self._reported_s = 0.0

    @property
    def is_living(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of its process; 0: there is none."""
        return 0 if self._process is None else self._process.pid

    def begin(self, process: Process, incarnation: int) -> None:
        """A life has begun."""
        self._process, self.incarnation = process, incarnation
        self._said, self._raised, self._lines = None, None, sockets.LineBuffer()
        self._reported_s = time.monotonic()
        self._selector.register(process.session, selectors.EVENT_READ, lambda: self._hear(process))
        self._selector.register(process.pidfd, selectors.EVENT_READ, lambda: self._ended(self))

    def tell(self, command: Mapping[str, Any], *, may_be_lost: bool = False) -> None:
        """Gives its process, if there is one, a command."""
        if self._process is not None:
            self._process.tell(dict(command), may_be_lost=may_be_lost)

    def kill(self, why: Defect | None = None) -> None:
        """Ends its process; `why`: what is told as the cause."""
        if self._process is not None:
            self._said = told(why) if why is not None else self._said
            self._process.kill()

    def will_end(self, why: Defect, component: str | None) -> None:
        """It said why it is about to end, and by whose exception, if it was one of the loop's."""
        self._said, self._raised = told(why), component

    def reported(self) -> None:
        """It has told how it stands."""
        self._reported_s = time.monotonic()

    def flush(self) -> None:
        """Sends what waits for it to read; called a few times a second."""
        if self._process is not None:
            self._process.flush()

    def figures(self) -> Event:
        """What the operating system knows of its process, and how old its last report is, in seconds."""
        if self._process is None:
            return {}
        return {**self._process.figures(), "report_age_s": round(time.monotonic() - self._reported_s, 1)}

    def call(self) -> int:
        """The number of the call of user code that its loop runs; 0: none."""
        return 0 if self._process is None else self._process.call()

    def ran(self) -> list[str]:
        """The components whose code runs now."""
        return [] if self._process is None else [self._components[number - 1] for number in self._process.ran()]

    def origin(self, root: int) -> Origin | None:
        """With what a root of its life began; None: it is not one of it, or there is no process."""
        return None if self._process is None else self._process.origin(self.incarnation, root)

    def bury(self, spouts: int) -> Remains:
        """Its process has ended: killed with all that it started, reaped, and heard to its last word.

        Args:
            spouts: how many tasks of spouts it had.
        """
        process = self._process
        assert process is not None
        status = process.reap()
        while self._hear_some(process):
            pass
        for fd in (process.session, process.pidfd):
            if fd in self._selector.get_map():
                self._selector.unregister(fd)
        number = process.on_loop()
        remains = Remains(
            self.incarnation,
            process.pid,
            self._said or cause_of(status, self.ran(), process.out_of_memory(), self.who),
            process.totals(),
            process.prefixes(spouts),
            self._raised or (self._components[number - 1] if number else None),
            self._raised is not None,
            process.suspects(self.incarnation),
            process.reading(),
        )
        process.close()
        self._process = None
        return remains

    def close(self) -> list[str]:
        """Lets go of everything; what its log got last."""
        lines = self.tail.rest()
        self.tail.close()
        if self.listener is not None:
            self.listener.close()
        return lines

    def _hear(self, process: Process) -> None:
        if process is self._process and not self._hear_some(process):  # else it was buried a moment ago
            self._selector.unregister(process.session)

    def _hear_some(self, process: Process) -> bool:
        """Takes what the process said; whether it may say more."""
        try:
            data = process.session.recv(1 << 16, socket.MSG_DONTWAIT)
        except OSError:
            return False
        for event in self._lines.feed(data):
            self._heard(self, event)
        return bool(data)
