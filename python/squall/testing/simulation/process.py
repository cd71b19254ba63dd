"""What stands for the process of a simulated worker: its parent starts, hears, tells, kills and reaps it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from random import Random
from typing import Any

from squall import _core
from squall.engines.embedded.process import Process
from squall.model.graph import Kind
from squall.testing.simulation.agenda import Agenda, Queue
from squall.testing.simulation.cables import Switchboard
from squall.testing.simulation.faults import Strikes
from squall.testing.simulation.fed import ReplayedSpout
from squall.testing.simulation.life import Given, Life, World
from squall.testing.simulation.turns import Turns

SLICE_BYTES = 1 << 16
"""What the socket to the parent takes at once for certain."""


class SimulatedProcess(Process):
    """One life of a worker as its parent sees it; see `Process`.

    Args:
        heard: has the parent look at what it was told.
        ended: is told of the end, before the parent is.
    """

    def __init__(
        self,
        world: World,
        given: Given,
        agenda: Agenda,
        strikes: Strikes,
        switchboard: Switchboard,
        heard: Callable[[], None],
        ended: Callable[[Life], None],
    ) -> None:
        super().__init__(_core.page_create())
        self._agenda, self._switchboard, self._heard, self._ended = agenda, switchboard, heard, ended
        self.session, self._theirs = socket.socketpair()
        self.pidfd = os.eventfd(0)
        self._random = Random(f"{world.seed}/process/{given.incarnation}")
        self._down, self._up = Queue(agenda), Queue(agenda)
        self._is_by_itself = self._is_closed = False
        turns = Turns(agenda, strikes, self._random, self._turn, self.kill)
        try:
            self.life = Life(world, given, turns, self._say, self.page)
        except BaseException:
            self.close()
            raise
        turns.want(agenda.now_s + self._random.uniform(0.02, 0.2))

    @property
    def pid(self) -> int:
        """It has none: the number of its life."""
        return self.life.incarnation

    def _turn(self) -> bool:
        more = self.life.turn()
        self._switchboard.after_turn(self.life)
        return more

    def _word_s(self) -> float:
        return self._random.uniform(0.0001, 0.003)

    def _say(self, event: str, **fields: Any) -> None:
        if event == "ready":
            self._switchboard.began(self.life)
        self._is_by_itself |= event == "ended"
        line = json.dumps({"event": event, **fields}, default=repr).encode() + b"\n"
        self._up.after(self._word_s(), lambda: self._tell_parent(line))

    def _tell_parent(self, line: bytes) -> None:
        for start in range(0, len(line), SLICE_BYTES):  # who reads is on this thread: what does not fit waits for ever
            self._theirs.sendall(line[start : start + SLICE_BYTES])
            self._heard()

    def tell(self, command: dict[str, Any], *, may_be_lost: bool = False) -> None:
        """Gives it a command, which it hears a moment later."""
        request = json.loads(json.dumps(command))
        self._down.after(self._word_s(), lambda: self.life.hear(request) if self.life.is_alive else None)

    def kill(self) -> None:
        """Ends it; its parent gets to know that when it has heard all that it said."""
        if not self.life.is_alive:
            return
        self.life.is_alive = False
        self.life.turns.stop()
        self._switchboard.ended(self.life)
        self._ended(self.life)
        self._up.after(self._word_s(), self._show_end)

    def _show_end(self) -> None:
        os.eventfd_write(self.pidfd, 1)
        self._heard()

    def reap(self) -> int:
        """How it ended."""
        return 1 if self._is_by_itself else -signal.SIGKILL

    def prefixes(self, spouts: int) -> list[int]:
        """See `Process`; of mocked spouts as well."""
        prefixes = super().prefixes(spouts)
        own = [task for task in self.life.built.tasks if task.spec.kind is Kind.SPOUT]
        for place, task in enumerate(own):
            if isinstance(task.instance, ReplayedSpout):
                prefixes[place] = self.life.worker.ended_prefix(task.index) or 0
        return prefixes

    def suspects(self, incarnation: int, /) -> list[tuple[bool, int, tuple[int, int] | None]]:
        """See `Process`. A death by chance is held against no tuple: three would make a dead letter of a good one."""
        return super().suspects(incarnation) if self._is_by_itself else []

    def figures(self) -> dict[str, Any]:
        """The operating system knows nothing of it."""
        return {}

    def flush(self) -> None:
        """Nothing waits."""

    def out_of_memory(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Lets go of what its parent had of it."""
        if self._is_closed:
            return
        self._is_closed = True
        for fd in (self.pidfd, self.page):
            os.close(fd)
        self.session.close()
        self._theirs.close()
