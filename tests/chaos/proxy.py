"""Stands between workers and spoils what they say to each other, or passes it on."""

from __future__ import annotations

import random
import socket
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

from squall.engines.embedded import sockets

WITHIN_S = 5.0
PIECE_BYTES = 1 << 16
DRIP_EVERY_S = 0.02


class Proxy:
    """Everything that other workers say to one of them goes through here.

    `spoil` says how: "" passes on, `delay` keeps each piece for 50 ms, `drip` passes some bytes at a time, `cut` hangs
    up in the middle of a piece, once, `swallow` passes on nothing more while both ends stay open, `corrupt` changes one
    bit of a piece, once.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self._behind = path.with_suffix(".behind")
        path.rename(self._behind)
        self._listener = sockets.listen(path)
        self._listener.setblocking(True)
        self._chance, self._lock, self._spoil = random.Random(seed), Lock(), ""
        Thread(target=self._serve, daemon=True).start()

    def spoil(self, how: str) -> None:
        """How what comes from now on is spoilt."""
        with self._lock:
            self._spoil = how

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
                caller.close()
                continue
            for end in (caller, called):
                end.setblocking(True)
            for one, other in ((caller, called), (called, caller)):
                Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        swallowed = False
        try:
            while data := one.recv(PIECE_BYTES):
                how = self._take()
                swallowed |= how == "swallow"
                if swallowed:
                    continue
                match how:
                    case "delay":
                        time.sleep(0.05)
                    case "drip":
                        self._drip(data, other)
                        continue
                    case "cut":
                        other.sendall(data[: self._chance.randrange(len(data))])
                        break
                    case "corrupt":
                        at = self._chance.randrange(len(data))
                        data = data[:at] + bytes([data[at] ^ 1 << self._chance.randrange(8)]) + data[at + 1 :]
                    case _:
                        pass
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _take(self) -> str:
        """How the next piece is spoilt; what happens once is over then."""
        with self._lock:
            how = self._spoil
            if how in ("cut", "corrupt"):
                self._spoil = ""
            return how

    def _drip(self, data: bytes, other: socket.socket) -> None:
        for at in range(0, len(data), 8):
            with self._lock:
                over = self._spoil != "drip"
            if over:
                other.sendall(data[at:])
                return
            other.sendall(data[at : at + 8])
            time.sleep(DRIP_EVERY_S)
