"""A client for any program that feeds a topology: records out, receipts in, nothing lost by a break."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from types import TracebackType

from squall.connectors.framing import Framing, Lines
from squall.connectors.sending import errors
from squall.connectors.sending.outbox import Sending
from squall.connectors.sending.peer import Dialer, peer_of
from squall.connectors.sending.sender import Sender
from squall.connectors.sending.wire import Record, wire_of
from squall.connectors.sockets import check_limit
from squall.connectors.tls import Tls
from squall.errors import Defect, SquallError, TopologyError, repr_of
from squall.model.durations import Seconds, seconds, seconds_or_none

WINDOW_RECORDS, WINDOW_BYTES = 200_000, 32 << 20
SLICE = 4096
"""Records that `send_many` adds at a time."""


class TcpFeeder:
    """Sends records to a `TcpSpout`, and keeps each until the receiver says that it has ended.

        with TcpFeeder("127.0.0.1:9999") as feeder:
            for order in orders:
                feeder.send(order)

    Delivery: at least once. A record is kept until it is receipted, and what is not is sent again after a break, on a
        new connection: it may arrive twice, it is never lost while this process lives. `receipted` counts from the
        first record in order, so a program that stores it knows where to go on. With `receipts=False`, for receivers
        that send none, a record is done when the operating system took it: what was on its way when the connection
        broke or the receiver was killed is lost.
    Bound: `window_records` and `window_bytes` are kept; beyond either `send` waits, so the receiver's pace is felt.
    Threading: any thread may send. One thread of its own does what concerns the connection; it is made at the first
        record, and again after 0.1 s, doubled up to 5 s, when it breaks or cannot be had; the logger `squall.feed`
        tells.
    Args:
        address: `HOST:PORT`, or `unix:PATH`.
        framing: how the receiver tells records apart; lines if not given.
        receipts: whether the receiver sends receipts (`TcpSpout.listen(…, receipts="processed")`).
        tls: `Tls(ca=…)`, or True for the certificates that the system trusts.
        give_up_after: how long there may be no connection; None: it is tried for ever.

    Raises:
        TopologyError: `tcp_address`, `tcp_framing`, `tcp_limit` or `tls_invalid`.
        ClusterError: `tls_unusable`.
    """

    def __init__(
        self,
        address: str,
        /,
        *,
        framing: Framing | None = None,
        receipts: bool = True,
        tls: Tls | bool | None = None,
        window_records: int = WINDOW_RECORDS,
        window_bytes: int = WINDOW_BYTES,
        give_up_after: Seconds | None = None,
    ) -> None:
        for name, value in (("window_records", window_records), ("window_bytes", window_bytes)):
            check_limit("TcpFeeder", name, value)
        self._window_records, self._window_bytes = window_records, window_bytes
        self._wire = wire_of(Lines() if framing is None else framing)
        give_up_after_s = seconds_or_none(give_up_after)
        if give_up_after is not None and (give_up_after_s is None or give_up_after_s <= 0):
            message = f"TcpFeeder has give_up_after={repr_of(give_up_after)}"
            fix = "give seconds, or a timedelta, above 0"
            raise TopologyError(Defect("tcp_limit", message, (), fix))
        dialer = Dialer(peer_of("TcpFeeder", address, tls))
        self._sender = Sender(dialer, self._wire, receipts=receipts, give_up_after_s=give_up_after_s)
        self._outbox = self._sender.outbox
        self._lock, self._kept = self._outbox.lock, self._outbox.kept

    @property
    def receipted(self) -> int:
        """How many records, from the first one on, are receipted (without receipts: handed to the system)."""
        return self._kept.receipted

    @property
    def sending(self) -> Sending:
        """How it stands: counts, whether there is a connection, why not."""
        return self._outbox.sending()

    def send(self, record: Record, *, timeout: Seconds | None = None) -> None:
        """Sends a record: bytes, or text as UTF-8. Waits while the window is full.

        Raises:
            TopologyError: `tcp_record`, if the framing could not cut it out again; `tcp_feeder_closed`.
            ClusterError: `tcp_unreceipted` if there was no room within `timeout`; why the feeder gave up.
        """
        data = self._wire.kept(record)
        with self._lock:
            if is_taken := self._takes(1, len(data)):
                self._outbox.add(data)
        if not is_taken:
            self._add_later([data], len(data), timeout)

    def send_many(self, records: Iterable[Record], *, timeout: Seconds | None = None) -> None:
        """Sends records, faster than one by one.

        Raises:
            TopologyError, ClusterError: as of `send`; those before the record in question are sent. `timeout` is for
                each few thousand of them.
        """
        remaining, most = iter(records), min(SLICE, self._window_records)
        while some := list(islice(remaining, most)):
            kept = self._wire.all_kept(some)
            size = sum(map(len, kept))
            if size > self._window_bytes and len(kept) > 1:
                for record in some:
                    self.send(record, timeout=timeout)
                continue
            with self._lock:
                if is_taken := self._takes(len(kept), size):
                    self._outbox.extend(kept)
            if not is_taken:
                self._add_later(kept, size, timeout)

    def flush(self, timeout: Seconds | None = None) -> None:
        """Waits until everything that was sent before is receipted.

        Raises:
            ClusterError: `tcp_unreceipted` if that took longer than `timeout`; why the feeder gave up.
        """
        with self._lock:
            wanted = self._kept.added
            self._outbox.rouse()  # a `send` that was interrupted may not have come to it
        if not self._wait(lambda: self._kept.receipted >= wanted, timeout):
            raise self._told(errors.unreceipted, timeout)

    def close(self, timeout: Seconds | None = None) -> None:
        """Waits until everything is receipted and ends the connection; after `timeout` it ends it all the same.

        Raises:
            ClusterError: as of `flush`.
        """
        self._sender.end()
        try:
            if not self._sender.ended(None if timeout is None else seconds(timeout)):
                raise self._told(errors.unreceipted, timeout)
            if self._outbox.error is not None and self._kept.records:
                raise self._outbox.error
        finally:
            self._sender.stop()

    def abort(self) -> None:
        """Ends the connection now; what is not receipted is given up."""
        self._sender.stop()

    def __enter__(self) -> TcpFeeder:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Closes; an exception in the block is not held up by records that are not receipted."""
        if kind is None:
            self.close()
        else:
            self.abort()

    def _takes(self, records: int, size: int) -> bool:
        """Whether records may be added now; what is larger than the window is taken alone."""
        kept = self._kept
        if self._outbox.is_ending or self._outbox.is_stopped or self._outbox.error is not None:
            return False
        room = kept.records + records <= self._window_records and kept.bytes + size <= self._window_bytes
        return room or kept.records == 0

    def _add_later(self, records: list[bytes], size: int, timeout: Seconds | None) -> None:
        """Adds records as soon as there is room."""

        def added() -> bool:
            if is_taken := self._takes(len(records), size):
                self._outbox.extend(records)
            return is_taken

        if not self._wait(added, timeout, is_adding=True):
            raise self._told(errors.no_room, timeout)

    def _wait(self, is_so: Callable[[], bool], timeout: Seconds | None, *, is_adding: bool = False) -> bool:
        """Waits until something is so, which is asked with the lock. Whether it was in time."""

        def is_so_or_never() -> bool:
            if is_so():
                return True
            if self._outbox.error is not None:
                raise self._outbox.error
            if self._outbox.is_stopped or (is_adding and self._outbox.is_ending):
                raise errors.closed(self._sender.peer)
            return False

        return self._outbox.wait_until(is_so_or_never, None if timeout is None else seconds(timeout))

    def _told(
        self, error: Callable[[str, int, float, str | None], SquallError], timeout: Seconds | None
    ) -> SquallError:
        timeout_s = 0.0 if timeout is None else seconds(timeout)
        return error(self._sender.peer, self._kept.records, timeout_s, self._outbox.trouble)
