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

from squall.connectors.addresses import parse_address
from squall.errors import TopologyError
from squall.model.durations import parse_duration

TEXTS = Path(__file__).parent / "data"
CONNECT_WITHIN_S = 30.0


class Feeder:
    """One connection, and what went through it."""

    def __init__(self) -> None:
        self.stopped = False
        self._text = b"".join(path.read_bytes() for path in sorted(TEXTS.glob("*.txt")))
        self._rounds = 0

    def __call__(self, address: tuple[str, int], for_s: float) -> dict[str, int]:
        """Feeds until the time is over or `stopped` is set, and counts what the server has taken."""
        with self._connected(address) as connection:
            stop_at = time.monotonic() + for_s
            while not self.stopped and time.monotonic() < stop_at:
                connection.sendall(self._text)
                self._rounds += 1
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        lines, words = self._text.count(b"\n"), len(self._text.split())
        return {"lines": self._rounds * lines, "words": self._rounds * words, "bytes": self._rounds * len(self._text)}

    def _connected(self, address: tuple[str, int]) -> socket.socket:
        """A connection, as soon as somebody listens."""
        deadline = time.monotonic() + CONNECT_WITHIN_S
        while True:
            try:
                return socket.create_connection(address, timeout=None)
            except ConnectionRefusedError:
                if self.stopped or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def address(text: str) -> tuple[str, int]:
    """HOST and PORT, for argparse."""
    try:
        return parse_address(text)
    except TopologyError as error:
        defect = error.defects[0]
        raise argparse.ArgumentTypeError(f"{defect.message}; {defect.fix}") from None


def duration(text: str) -> float:
    """Seconds, for argparse."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main() -> None:
    """Feeds as the command line says."""
    parser = argparse.ArgumentParser(description="Streams texts at a TCP address.")
    parser.add_argument("address", type=address, metavar="HOST:PORT")
    parser.add_argument("--for", dest="for_s", type=duration, default="20s", metavar="DURATION")
    arguments = parser.parse_args()
    feeder = Feeder()

    def stop(_signal: int, _frame: object) -> None:
        feeder.stopped = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        print(json.dumps(feeder(arguments.address, arguments.for_s)), flush=True)
    except OSError as error:
        host, port = arguments.address
        raise SystemExit(f"feeder: {host}:{port} takes nothing: {error.strerror}") from None


if __name__ == "__main__":
    main()
