"""Receipts as they come over a connection: decimal numbers, each with a line feed (semantics 32). Pure."""

from __future__ import annotations

MOST_DIGITS = 20


class NoReceipt(Exception):
    """The receiver sent something else; its text."""


class ReceiptReader:
    """Finds the newest receipt in what comes, however it was cut."""

    def __init__(self) -> None:
        self._rest = b""

    def newest(self, data: bytes) -> int | None:
        """The last receipt that is whole by now; None if none ended in `data`.

        Raises:
            NoReceipt: it is no number.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for text in [*lines, self._rest] if self._rest else lines:
            if not text.isdigit() or len(text) > MOST_DIGITS:
                raise NoReceipt(text[:60].decode("ascii", "backslashreplace"))
        return int(lines[-1]) if lines else None
