"""Sends each input to a TCP receiver."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

from squall._core import Tuple
from squall.api.components import Bolt
from squall.connectors.contract import Delivery
from squall.connectors.framing import Framing, Lines
from squall.connectors.record_encoders import Encoder, encoder_of
from squall.connectors.sending import errors
from squall.connectors.sending.peer import Dialer, peer_of
from squall.connectors.sending.sender import Sender
from squall.connectors.sending.wire import wire_of
from squall.connectors.sockets import check_limit
from squall.connectors.tls import Tls
from squall.errors import ClusterError, DeadLetter, Defect, TopologyError

FOR_EVER_S = 1e9
SILENT_S = 10.0
WINDOW_RECORDS, WINDOW_BYTES = 10_000, 16 << 20


class TcpSink(Bolt):
    """Connects to a receiver and sends each input as one record; each task has a connection of its own.

    In: any stream.
    Delivery: with `receipts=True` at least once: an input is acked when the receiver's receipt covers it, and what is
        not receipted is sent again after a break, so it may arrive twice. Without receipts an input is acked when the
        operating system took the bytes: what was on its way when the connection broke is lost. While the receiver is
        away nothing fails: the topology slows down, and everything goes through when it is back. What the framing or
        the encoder cannot take is a dead letter.
    Bound: `window_records` and `window_bytes` are sent and not acked yet; beyond either the task takes nothing.
    Threading: on the loop; a thread of its own does what concerns the connection, and tries again after 0.1 s, doubled
        up to 5 s, when it breaks or cannot be had.
    Args:
        address: `HOST:PORT`, or `unix:PATH`.
        framing: how the receiver tells records apart; lines if not given.
        encoder: how a tuple becomes a record: "text", "json", "raw", or a function.
        receipts: whether the receiver sends receipts, as a `TcpSpout` with `receipts` does.
        tls: `Tls(ca=…)`, or True for the certificates that the system trusts.

    Raises:
        TopologyError: `tcp_address`, `tcp_framing`, `tcp_limit`, `tls_invalid` or `encoder_unknown`.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "with `receipts=True` at least once; else what was on its way when the connection broke is lost",
        "as given; after a break with `receipts` from the oldest record that was not receipted",
        "repeats records that were not acked",
        "`TcpSpout`, and receivers of Python; with and without TLS; Unix sockets",
    )
    manual_ack = True
    hold_max = FOR_EVER_S  # an outage of the receiver slows and does not fail (semantics 16)
    tick_every = 1.0

    def __init__(
        self,
        address: str,
        /,
        *,
        framing: Framing | None = None,
        encoder: Encoder = "text",
        receipts: bool = False,
        tls: Tls | bool | None = None,
        window_records: int = WINDOW_RECORDS,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        for name, value in (("window_records", window_records), ("window_bytes", window_bytes)):
            check_limit("TcpSink", name, value)
        self._peer, self._receipts = peer_of("TcpSink", address, tls), receipts
        self._wire = wire_of(Lines() if framing is None else framing)
        self._encode = encoder_of(encoder, "TcpSink")
        self._window_records, self._window_bytes = window_records, window_bytes

    def open(self, context: Any) -> None:
        """Starts the sending thread; it connects with the first input."""
        self._held: deque[Tuple] = deque()
        self._acked = 0
        self._is_paused = self._is_settling = False
        self._told: str | None = None
        self._heard_s = context.monotonic()
        self._is_warned = False
        self._sender = Sender(
            Dialer(self._peer),
            self._wire,
            receipts=self._receipts,
            give_up_after_s=None,
            is_patient=True,
            on_receipt=self._receipted,
        )
        self._outbox, self._kept = self._sender.outbox, self._sender.outbox.kept

    def process(self, tup: Tuple) -> None:
        """Hands one record to the sending thread."""
        try:
            data = self._wire.kept(self._encode(tup))
        except TopologyError as error:
            raise DeadLetter(f"the tuple cannot be a record: {error.defects[0].message}") from error
        self._held.append(tup)
        with self._outbox.lock:
            self._outbox.add(data)
            is_full = not self._has_room()
        if is_full:
            self._is_paused = True
            self.context.pause(FOR_EVER_S)

    def tick(self) -> None:
        """Tells, once, why what waits cannot be sent."""
        if self._outbox.error is not None:
            raise self._outbox.error
        trouble = self._outbox.sending().trouble if self._held else None
        if trouble is not None and trouble != self._told:
            facts = (("waiting", f"{len(self._held)} tuples"),)
            fix = "start the receiver, or check its address; what waits is sent when it is there"
            message = f"{self._sender.peer} cannot be reached: {trouble}"  # its first line is what views show
            error = Defect("tcp_unreachable", message, facts, fix)
            self.context.report_error(ClusterError(error, retryable=True))
        self._told = trouble
        self._look_for_receipts()

    def _look_for_receipts(self) -> None:
        """Tells, once, that the receiver takes records and sends no receipts: then the topology would wait for ever."""
        now_s = self.context.monotonic()
        is_silent = self._receipts and not self._acked and self._held and self._outbox.sending().connected
        if not is_silent or self._is_warned:
            self._heard_s = now_s
        elif now_s - self._heard_s > SILENT_S:
            self._is_warned = True
            self.context.report_error(errors.no_receipts(self._sender.peer))

    def close(self) -> None:
        """Ends the connection."""
        self._sender.end()
        self._sender.ended(1.0)
        self._sender.stop()

    def _has_room(self) -> bool:
        return self._kept.records < self._window_records and self._kept.bytes < self._window_bytes

    def _receipted(self, _: int) -> None:
        """On the sending thread: has the loop ack."""
        if not self._is_settling:
            self._is_settling = True
            self.context.after(0.0, self._settle)

    def _settle(self) -> None:
        self._is_settling = False
        with self._outbox.lock:
            count = self._kept.receipted - self._acked
            has_room = self._has_room()
        self._acked += count
        self.ack(*[self._held.popleft() for _ in range(count)])
        if has_room and self._is_paused:
            self._is_paused = False
            self.context.pause(0.0)
