"""Stands between workers and spoils what they say to each other, or passes it on."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

from squall.engines.embedded import sockets

WITHIN_S = 5.0
PIECE_BYTES = 1 << 14
DRIP_EVERY_S = 0.02
LONGEST_S = (0.02, 0.1, 0.1, 2.0)
"""Of a time in which pieces are kept: for how long at most, one of these."""

Mangle = Callable[[int, bool, int, bytes], bytes | Iterable[bytes] | None]
"""From the number of the connection, whether it is what the caller says, the bytes before, and some that came: what is
passed on, at once or in pieces; None, or an `OSError`: the connection is cut."""


class Proxy:
    """Everything that other workers say to one of them goes through here, and `mangle` does to it what it wants.

    Attributes:
        connections: how many there were.
    """

    def __init__(self, path: Path, mangle: Mangle) -> None:
        self._behind = path.with_suffix(".behind")
        path.rename(self._behind)
        self._mangle = mangle
        self._listener = sockets.listen(path)
        self._listener.setblocking(True)
        self.connections = 0
        self._ends: dict[int, tuple[socket.socket, socket.socket]] = {}
        Thread(target=self._serve, daemon=True).start()

    def cut(self, number: int) -> None:
        """Cuts a connection by its number, from 1."""
        _cut(*self._ends[number])

    def close(self) -> None:
        """Takes no more calls."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            try:
                called = sockets.connect(self._behind, WITHIN_S)
            except OSError:
                caller.close()  # the worker has died
                continue
            for end in (caller, called):
                end.setblocking(True)
            self.connections += 1
            self._ends[self.connections] = caller, called
            for is_caller, one, other in ((True, caller, called), (False, called, caller)):
                Thread(target=self._pass_on, args=(self.connections, is_caller, one, other), daemon=True).start()

    def _pass_on(self, number: int, is_caller: bool, one: socket.socket, other: socket.socket) -> None:
        before = 0
        try:
            while (data := one.recv(PIECE_BYTES)) and (
                out := self._mangle(number, is_caller, before, data)
            ) is not None:
                for piece in [out] if isinstance(out, bytes) else out:
                    other.sendall(piece)
                before += len(data)
        except OSError:
            pass
        _cut(one, other)


def _cut(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Spoiler:
    """A mangle that spoils as it was told last.

    "" passes on, `delay` keeps each piece for a time of its own, at most 2 s, `drip` passes some bytes at a time, `cut`
    hangs up in the middle of a piece, once, `swallow` passes on nothing more while both ends stay open, `corrupt`
    changes one bit of a piece, once.
    """

    def __init__(self, seed: int) -> None:
        self._chance, self._lock, self._spoil = random.Random(seed), Lock(), ""
        self._longest_s = 0.0
        self._swallowed: set[tuple[int, bool]] = set()

    def spoil(self, how: str) -> None:
        """How what comes from now on is spoilt."""
        with self._lock:
            self._spoil, self._longest_s = how, self._chance.choice(LONGEST_S)

    def __call__(self, number: int, is_caller: bool, before: int, data: bytes) -> bytes | Iterable[bytes]:
        how, way = self._take(), (number, is_caller)
        if how == "swallow" or way in self._swallowed:
            self._swallowed.add(way)
            return b""
        match how:
            case "delay":
                self._delay(self._chance.uniform(0.001, self._longest_s))
            case "drip":
                return self._dripped(data)
            case "cut":
                return self._cut_off(data)
            case "corrupt":
                at = self._chance.randrange(len(data))
                return data[:at] + bytes([data[at] ^ 1 << self._chance.randrange(8)]) + data[at + 1 :]
            case _:
                pass
        return data

    def _take(self) -> str:
        """How the next piece is spoilt; what happens once is over then."""
        with self._lock:
            how = self._spoil
            if how in ("cut", "corrupt"):
                self._spoil = ""
            return how

    def _delay(self, for_s: float) -> None:
        until_s = time.monotonic() + for_s
        while (left_s := until_s - time.monotonic()) > 0 and self._spoil == "delay":
            time.sleep(min(left_s, 0.02))

    def _cut_off(self, data: bytes) -> Iterator[bytes]:
        yield data[: self._chance.randrange(len(data))]
        raise ConnectionAbortedError("by order")

    def _dripped(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), 8):
            with self._lock:
                over = self._spoil != "drip"
            if over:
                yield data[at:]
                return
            yield data[at : at + 8]
            time.sleep(DRIP_EVERY_S)
