"""The ways between simulated workers: what stands for the gates, and streams that are late, cut or changed.

Each worker has its end of a pair of Unix sockets, as of a connection; the other ends are here. Of two workers the one
with the lower number calls, as real ones do.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from random import Random
from typing import Protocol

from squall import _core
from squall.testing.simulation.agenda import Agenda, Queue
from squall.testing.simulation.faults import Strikes

PIECE_BYTES = 4096
"""Bytes that cross at once."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Whom a life wants: that life of the other, in this session."""

    incarnation: int
    session: int


class Caller(Protocol):
    """What a cable knows of a life; see `life.Life`."""

    number: int
    incarnation: int
    is_alive: bool
    worker: _core.Worker

    def wake(self) -> None:
        """Has it take a turn."""
        ...


class Way:
    """One direction of a cable."""

    def __init__(self, agenda: Agenda, source: socket.socket, target: socket.socket, to: Caller) -> None:
        self.source, self.target, self.to = source, target, to
        self.queue = Queue(agenda)
        self.kept = bytearray()
        """What the target's socket has not taken."""

    def deliver(self, data: bytes) -> bool:
        """Hands over as much as the target takes; False: it has closed its end."""
        self.kept += data
        if not self.kept:
            return True
        try:
            del self.kept[: self.target.send(self.kept)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        self.to.wake()
        return True


class Cable:
    """A connection between two lives."""

    def __init__(self, agenda: Agenda, strikes: Strikes, random: Random, one: Caller, other: Caller) -> None:
        self._agenda, self._strikes, self._random = agenda, strikes, random
        self.lives = (one, other)
        self.is_open, self.is_deaf = True, False
        (self._its, ours), (self._others, theirs) = socket.socketpair(), socket.socketpair()
        self._held = (ours, theirs)
        for end in self._held:
            end.setblocking(False)
        self._ways = (Way(agenda, ours, theirs, other), Way(agenda, theirs, ours, one))

    def ends(self) -> tuple[int, int]:
        """The ends of the two lives, which are theirs to close."""
        return self._its.detach(), self._others.detach()

    def pump(self, life: Caller) -> None:
        """Takes what the life has written, and gives it what it had no room for."""
        for way, sender in zip(self._ways, self.lives, strict=True):
            if sender is life:
                self._read(way)
            elif not self.is_deaf and way.kept and not way.deliver(b""):
                self.close()

    def _read(self, way: Way) -> None:
        while self.is_open:
            try:
                data = way.source.recv(PIECE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                return way.queue.after(self._pause_s(), self.close)
            self._send(way, data)

    def _send(self, way: Way, data: bytes) -> None:
        now_s, strikes = self._agenda.now_s, self._strikes
        if strikes.strikes("drop", now_s):
            part = data[: self._random.randrange(len(data))]
            way.queue.after(self._pause_s(), lambda: self._arrive(way, part))
            way.queue.after(0.0, self.close if self._random.random() < 0.7 else self._go_deaf)
            return
        if strikes.strikes("corrupt", now_s):
            at = self._random.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ (1 << self._random.randrange(8))]) + data[at + 1 :]
        late_s = self._random.uniform(0.1, 2.0) if strikes.strikes("delay", now_s) else self._pause_s()
        way.queue.after(late_s, lambda: self._arrive(way, data))

    def _pause_s(self) -> float:
        return self._random.uniform(0.0001, 0.002)

    def _arrive(self, way: Way, data: bytes) -> None:
        if self.is_open and not self.is_deaf and way.to.is_alive and not way.deliver(data):
            self.close()

    def _go_deaf(self) -> None:
        self.is_deaf = True

    def ended(self, life: Caller) -> None:
        """A life has ended: what it had sent still arrives, then the end."""
        way = self._ways[self.lives.index(life)]
        way.queue.after(self._pause_s(), self.close)

    def close(self) -> None:
        """Both ends see that there is no more."""
        if not self.is_open:
            return
        self.is_open = False
        for end in self._held:
            end.close()
        for life in self.lives:
            if life.is_alive:
                life.wake()


class Switchboard:
    """Brings those together that seek each other."""

    def __init__(self, agenda: Agenda, strikes: Strikes, random: Random, workers: int) -> None:
        self._agenda, self._strikes, self._random, self._workers = agenda, strikes, random, workers
        self._lives: dict[int, Caller] = {}
        self._sought: dict[tuple[int, int], Sought] = {}
        self._calls: dict[tuple[int, int], int] = {}
        """By life and worker: the number of the search that goes on; it is gone when there is a stream."""
        self._cables: dict[frozenset[int], Cable] = {}
        self._count = 0

    def after_turn(self, life: Caller) -> None:
        """Looks at what a life seeks, and takes what it wrote."""
        if self._workers == 1 or not life.is_alive:
            return
        for worker, incarnation, session, within_s in life.worker.links_sought():
            self._heard(life, worker, incarnation, session, within_s)
        for pair, cable in list(self._cables.items()):
            if life.number in pair and life in cable.lives:
                cable.pump(life)

    def began(self, life: Caller) -> None:
        """A life can be found from now on."""
        self._lives[life.number] = life

    def ended(self, life: Caller) -> None:
        """A life has ended."""
        if self._lives.get(life.number) is life:
            del self._lives[life.number]
        for key in [key for key in self._sought if key[0] == life.incarnation]:
            del self._sought[key]
            self._calls.pop(key, None)
        for cable in self._cables.values():
            if life in cable.lives:
                cable.ended(life)

    def close(self) -> None:
        """Lets go of all sockets."""
        for cable in self._cables.values():
            cable.close()

    def _heard(self, life: Caller, worker: int, incarnation: int, session: int, within_s: float | None) -> None:
        key = (life.incarnation, worker)
        if not incarnation:
            self._sought.pop(key, None)
            self._calls.pop(key, None)
            return
        self._sought[key] = Sought(incarnation, session)
        self._count += 1
        self._calls[key] = number = self._count
        if within_s is not None:
            self._agenda.at(self._agenda.now_s + within_s, lambda: self._give_up(life, worker, number))
        self._call(life, worker)
        if (other := self._lives.get(worker)) is not None:
            self._call(other, life.number)

    def _give_up(self, life: Caller, worker: int, number: int) -> None:
        key = (life.incarnation, worker)
        if self._calls.get(key) != number or not life.is_alive:
            return
        sought = self._sought.pop(key)
        del self._calls[key]
        life.worker.link_not_found(worker, sought.incarnation, sought.session)
        life.wake()

    def _call(self, life: Caller, worker: int) -> None:
        if life.number > worker or (life.incarnation, worker) not in self._calls:
            return
        late_s = self._random.uniform(0.1, 2.0) if self._strikes.strikes("delay", self._agenda.now_s) else None
        pause_s = self._random.uniform(0.0005, 0.02) if late_s is None else late_s
        self._agenda.at(self._agenda.now_s + pause_s, lambda: self._connect(life, worker))

    def _connect(self, life: Caller, worker: int) -> None:
        other = self._lives.get(worker)
        if other is None or not life.is_alive or (life.incarnation, worker) not in self._calls:
            return
        mine, its = self._sought.get((life.incarnation, worker)), self._sought.get((other.incarnation, life.number))
        if mine is None or its is None or mine.session != its.session:
            return
        if (mine.incarnation, its.incarnation) != (other.incarnation, life.incarnation):
            return
        pair = frozenset({life.number, worker})
        if (before := self._cables.get(pair)) is not None:
            before.close()
        cable = self._cables[pair] = Cable(self._agenda, self._strikes, self._random, life, other)
        for one, peer, sought, fd in zip((life, other), (other, life), (mine, its), cable.ends(), strict=True):
            one.worker.link_up(peer.number, sought.incarnation, sought.session, fd)
            self._calls.pop((one.incarnation, peer.number), None)
            one.wake()
