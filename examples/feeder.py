"""Streams the texts in `data/` at a TCP address again and again, as fast as they are taken.

    python examples/feeder.py 127.0.0.1:7007 --for 20s

It ends after the given time, or at Ctrl-C or SIGTERM, always after a whole line; then it waits until the server has
taken everything and closed the connection, and prints what it sent as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import time
from pathlib import Path

from squall.model.durations import parse_duration

TEXTS = Path(__file__).parent / "data"
CONNECT_WITHIN_S = 30.0


class Feeder:
    """One connection, and what went through it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.stopped = False
        self._text = b"".join(path.read_bytes() for path in sorted(TEXTS.glob("*.txt")))
        self._rounds = 0
        self._socket = _connect(address)

    def feed(self, for_s: float) -> None:
        """Sends the texts until the time is over or `stopped` is set."""
        stop_at = time.monotonic() + for_s
        while not self.stopped and time.monotonic() < stop_at:
            self._socket.sendall(self._text)
            self._rounds += 1

    def finish(self) -> dict[str, int]:
        """Says that nothing more comes, waits until the server has taken everything, and counts."""
        self._socket.shutdown(socket.SHUT_WR)
        while self._socket.recv(4096):
            pass
        lines, words = self._text.count(b"\n"), len(self._text.split())
        return {"lines": self._rounds * lines, "words": self._rounds * words, "bytes": self._rounds * len(self._text)}


def _connect(address: tuple[str, int]) -> socket.socket:
    """A connection, as soon as somebody listens."""
    deadline = time.monotonic() + CONNECT_WITHIN_S
    while True:
        try:
            return socket.create_connection(address, timeout=None)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def main() -> None:
    """Feeds as the command line says."""
    parser = argparse.ArgumentParser(description="Streams texts at a TCP address.")
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("--for", dest="for_s", type=parse_duration, default=parse_duration("20s"), metavar="DURATION")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    feeder = Feeder((host, int(port)))

    def stop(_signal: int, _frame: object) -> None:
        feeder.stopped = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        feeder.feed(arguments.for_s)
        print(json.dumps(feeder.finish()), flush=True)
    except ConnectionError as error:
        raise SystemExit(f"feeder: {arguments.address} is gone: {error}") from None


if __name__ == "__main__":
    main()
