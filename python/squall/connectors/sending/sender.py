"""Sends what it keeps over one connection after another, on a thread of its own.

One thread both writes and reads, since a TLS connection takes no two; whoever adds records never waits for a socket.
What is joined into one write is what was added meanwhile: a busy program makes large writes by itself, a slow one has
each record sent at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from random import Random
from threading import Thread

from squall.connectors.sending import errors
from squall.connectors.sending.backoff import LONGEST_S, Backoff
from squall.connectors.sending.exchange import Broken, Exchange, SilentEnd
from squall.connectors.sending.link import Link, TlsLink
from squall.connectors.sending.outbox import Outbox
from squall.connectors.sending.peer import Dialer
from squall.connectors.sending.receipts import NoReceipt
from squall.connectors.sending.wire import Wire
from squall.errors import SquallError

log = logging.getLogger("squall.feed")
SILENT_ENDS = 3
"""How often in a row a receiver may take everything and close without any receipt, before it is said to have none.

One that crashed is away or resets the connection in between.
"""


class Sender:
    """The thread that sends what is in its outbox.

    Args:
        receipts: whether the receiver sends them; else what the system took is done.
        give_up_after_s: how long tries to connect may fail in a row; None: for ever.
        is_patient: whether also what will hardly pass by itself (a wrong certificate) is tried again for ever.
        on_receipt: called on the thread with the count of what is receipted by now.
    """

    def __init__(
        self,
        dialer: Dialer,
        wire: Wire,
        *,
        receipts: bool,
        give_up_after_s: float | None,
        is_patient: bool = False,
        on_receipt: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._dialer, self._wire, self._receipts = dialer, wire, receipts
        self._give_up_after_s, self._is_patient, self._on_receipt = give_up_after_s, is_patient, on_receipt
        self._backoff = Backoff(give_up_after_s, Random())
        self._silent_ends = 0
        self.outbox = Outbox()
        self._thread = Thread(target=self._run, name=f"squall-feed-{dialer.peer}", daemon=True)
        self._thread.start()

    @property
    def peer(self) -> str:
        """Address of the receiver."""
        return str(self._dialer.peer)

    def end(self) -> None:
        """Nothing more will be added: the thread ends when everything is receipted."""
        with self.outbox.lock:
            self.outbox.is_ending = True
            self.outbox.rouse()

    def stop(self) -> None:
        """The thread ends now, whatever is kept."""
        with self.outbox.lock:
            self.outbox.is_stopped = True
            self.outbox.rouse()

    def ended(self, timeout_s: float | None) -> bool:
        """Waits for the thread; whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        why: SquallError | None = None
        try:
            while self.outbox.await_work():
                self._work()
        except SquallError as error:
            why = error
        except Exception as error:
            why = errors.defect_of_ours(error)
        finally:
            self.outbox.finished(why)

    def _work(self) -> None:
        """One connection, or one try to have one.

        Raises:
            SquallError: trying again is of no use, or was not for too long.
        """
        receipted, began_s = self.outbox.kept.receipted, time.monotonic()
        try:
            self._exchange()
            return
        except (OSError, Broken, NoReceipt) as error:
            why = errors.reason(error)
            self._judge(error)
        if self.outbox.kept.receipted > receipted or time.monotonic() - began_s > LONGEST_S:
            self._backoff.succeeded()
        self._pause(why)

    def _exchange(self) -> None:
        """One connection from its opening to its end."""
        link = self._opened()
        try:
            Exchange(self.outbox, link, self._wire, receipts=self._receipts, on_receipt=self._on_receipt).run()
        finally:
            link.close()
        self.outbox.disconnected(None)

    def _opened(self) -> Link:
        sock = self._dialer.connect()
        self.outbox.connected()
        log.info("event=connected to=%s", self.peer)
        return (TlsLink if self._dialer.peer.tls is not None else Link)(sock, self.outbox.wake)

    def _judge(self, error: Exception) -> None:
        """Raises what ends the sender, if trying again is of no use."""
        self._silent_ends = self._silent_ends + 1 if isinstance(error, SilentEnd) else 0
        if self._is_patient:
            return
        if self._silent_ends >= SILENT_ENDS:
            raise errors.no_receipts(self.peer)
        if isinstance(error, NoReceipt):
            raise errors.not_a_receipt(self.peer, str(error)) from None
        if self._dialer.peer.tls is not None and errors.is_refusal(error):
            raise errors.tls_refused(self.peer, error) from error

    def _pause(self, why: str) -> None:
        """Waits before the next try.

        Raises:
            ClusterError: `tcp_unreachable`.
        """
        self.outbox.disconnected(why)
        pause_s = self._backoff.pause_s(time.monotonic())
        if pause_s is None:
            assert self._give_up_after_s is not None
            raise errors.unreachable(self.peer, why, self._give_up_after_s)
        log.warning("event=not_connected to=%s because=%r again_in_s=%.2f", self.peer, why, pause_s)
        self.outbox.rest(pause_s)
