"""One connection of a sender, from its opening to its end: records out, receipts in."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain

from squall.connectors.sending.link import Link
from squall.connectors.sending.outbox import Outbox
from squall.connectors.sending.receipts import NoReceipt, ReceiptReader
from squall.connectors.sending.wire import Wire

WRITE_BYTES = 256 << 10
LINGER_S = 2.0
"""How long the end of a connection without receipts may take: closed at once, it could lose what is on its way."""


class Broken(Exception):
    """The connection is of no use any more; why."""


class SilentEnd(Broken):
    """The receiver was given everything, and closed without a receipt."""


class Exchange:
    """Gives a connection what is kept, and forgets what it receipts.

    Args:
        on_receipt: called with the count of what is receipted since the sender's beginning; None: the receiver sends no
            receipts, and what the system took is done.
    """

    def __init__(
        self, outbox: Outbox, link: Link, wire: Wire, *, receipts: bool, on_receipt: Callable[[int], object]
    ) -> None:
        self._outbox, self._kept, self._link, self._wire = outbox, outbox.kept, link, wire
        self._receipts, self._on_receipt = receipts, on_receipt
        self._reader = ReceiptReader()
        self._out = memoryview(b"")
        self._is_half_closed = self._is_closed = False
        self._linger_until_s = 0.0

    def run(self) -> None:
        """Comes back when everything is done and nothing more will come, or when the sender is stopped.

        Raises:
            OSError, Broken: the connection has ended before.
            NoReceipt: the receiver sends something else.
        """
        while not self._is_over():
            if not self._out:
                self._out = self._next()
            self._link.wait(bool(self._out), LINGER_S if self._is_half_closed else None)
            self._read()
            if self._out:
                self._write()

    def _next(self) -> memoryview:
        """The next bytes to write; if there are none the sender is idle, or ends its half."""
        with self._outbox.lock:
            batches = self._kept.take(WRITE_BYTES)
            self._outbox.is_idle = not batches
            is_last = not batches and self._outbox.is_ending
        may_end = self._link.reads_after_half_close or not self._receipts
        if is_last and may_end and not self._is_half_closed:
            self._is_half_closed = True
            self._linger_until_s = time.monotonic() + LINGER_S
            self._link.half_close()
        if not batches:
            return memoryview(b"")
        return memoryview(self._wire.joined(chain.from_iterable(batch.records for batch in batches)))

    def _write(self) -> None:
        self._out = self._out[self._link.write(self._out) :]
        if not self._out and not self._receipts:
            with self._outbox.lock:
                self._kept.all_given()
            self._tell()

    def _read(self) -> None:
        while not self._is_closed and (data := self._link.read()) is not None:
            if not data:
                self._is_closed = True
            elif self._receipts and (count := self._reader.newest(data)) is not None:
                self._receipt(count)
        if self._is_closed and not self._is_done():
            is_silent = self._receipts and self._is_half_closed and self._kept.receipted == 0
            raise (SilentEnd if is_silent else Broken)("the receiver closed the connection")

    def _receipt(self, count: int) -> None:
        with self._outbox.lock:
            is_possible = self._kept.receipt(count)
        if not is_possible:
            raise NoReceipt(str(count))
        self._tell()

    def _tell(self) -> None:
        with self._outbox.lock:
            self._outbox.tell()
            receipted = self._kept.receipted
        self._on_receipt(receipted)

    def _is_done(self) -> bool:
        """Whether nothing is left to do for what was added, and nothing more will be."""
        return self._outbox.is_ending and self._kept.records == 0

    def _is_over(self) -> bool:
        if self._outbox.is_stopped:
            return True
        if not self._is_done():
            return False
        if self._receipts or self._is_closed:
            return True
        return self._is_half_closed and time.monotonic() >= self._linger_until_s
