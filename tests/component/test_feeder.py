"""`TcpFeeder` on real sockets, with a receiver that lags, breaks, is silent, or goes away."""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from squall.connectors.sending.cutting import cutter_of
from squall.connectors.tcp import Delimiter, Fixed, LengthPrefix, TcpFeeder, Tls
from squall.errors import ClusterError, TopologyError

from .conftest import WITHIN_S, free_port, wait_until
from .receiver import Receiver, at_random


def numbered(count: int) -> list[bytes]:
    return [b"%d" % n for n in range(count)]


def test_what_is_sent_arrives_once_and_in_order() -> None:
    with Receiver() as receiver:
        with TcpFeeder(receiver.address) as feeder:
            for n in range(1000):
                feeder.send(f"{n}\n")
            feeder.send_many(f"{n}" for n in range(1000, 20_000))
            feeder.flush(WITHIN_S)
            assert feeder.receipted == 20_000
            feeder.send(b"20000")
        assert feeder.receipted == 20_001
        assert receiver.records == numbered(20_001)
        assert receiver.connections == 1


@pytest.mark.parametrize("most", [50, 20_000])
def test_a_break_loses_nothing(most: int) -> None:
    """The receiver resets connections after a random number of records, the last of which it does not receipt."""
    with Receiver(breaks_after=at_random(most, most)) as receiver:
        feeder = TcpFeeder(receiver.address, window_records=most // 2)
        feeder.send_many(numbered(most * 3))
        feeder.close(WITHIN_S)
        assert receiver.connections == 5
        assert feeder.receipted == most * 3
        assert set(receiver.records) == set(numbered(most * 3))
        assert len(receiver.records) - most * 3 <= feeder.sending.resent
        assert feeder.sending.breaks == 4


def test_a_receiver_that_is_away_is_waited_for() -> None:
    """Before the first connection, and after it."""
    with Receiver() as receiver, TcpFeeder(receiver.address) as feeder:
        receiver.stop()
        feeder.send("early")
        wait_until(lambda: feeder.sending.trouble == "Connection refused", what="the trouble")
        receiver.start()
        feeder.flush(WITHIN_S)
        receiver.stop()
        feeder.send("late")
        wait_until(lambda: not feeder.sending.connected, what="the break")
        receiver.start()
        feeder.flush(WITHIN_S)
        assert receiver.records == [b"early", b"late"]


@pytest.mark.parametrize("window", [{"window_records": 10}, {"window_bytes": 100}], ids=["records", "bytes"])
def test_a_full_window_makes_the_program_wait(window: Any) -> None:
    """Who waits goes on as soon as something is receipted."""
    with Receiver() as receiver:
        receiver.reads.clear()
        feeder = TcpFeeder(receiver.address, **window)
        feeder.send_many([b"x" * 10] * 10)
        with pytest.raises(ClusterError) as caught:
            feeder.send(b"x", timeout=0.05)
        assert caught.value.code == "tcp_unreceipted"
        assert (feeder.sending.added, feeder.sending.kept_bytes) == (10, 100)
        waiting = threading.Thread(target=feeder.send, args=(b"last",))
        waiting.start()
        receiver.reads.set()
        waiting.join(WITHIN_S)
        feeder.close(WITHIN_S)
        assert receiver.records == [b"x" * 10] * 10 + [b"last"]


def test_a_record_larger_than_the_window_is_taken_alone() -> None:
    with Receiver() as receiver:
        with TcpFeeder(receiver.address, window_bytes=1000) as feeder:
            feeder.send_many([b"a", b"b" * 1_000_000, b"c"])
        assert [len(record) for record in receiver.records] == [1, 1_000_000, 1]


def test_a_slow_receiver_is_not_overrun() -> None:
    """What does not fit into the socket waits in the window."""
    with Receiver() as receiver:
        receiver.reads.clear()
        feeder = TcpFeeder(receiver.address)
        feeder.send_many([b"x" * 100_000] * 200)
        assert feeder.receipted == 0
        receiver.reads.set()
        feeder.close(WITHIN_S)
        assert len(receiver.records) == 200


FRAMED: list[tuple[Any, list[bytes]]] = [
    (Delimiter(b"\0"), [b"a\n", b"", b"c"]),
    (Fixed(2), [b"ab", b"cd"]),
    (LengthPrefix(2), [b"x" * 300, b""]),
]


@pytest.mark.parametrize(("framing", "records"), FRAMED, ids=["delimiter", "fixed", "length prefix"])
def test_framings(framing: Any, records: list[bytes]) -> None:
    cutter = cutter_of(framing)
    with Receiver(cut=lambda data: (cutter.cut(data), b"")) as receiver:
        with TcpFeeder(receiver.address, framing=framing) as feeder:
            feeder.send_many(records)
        assert receiver.records == records


def test_a_unix_socket(tmp_path: Path) -> None:
    with Receiver(path=tmp_path / "feed.sock") as receiver:
        with TcpFeeder(receiver.address) as feeder:
            feeder.send("local")
        assert receiver.records == [b"local"]


def test_threads_share_a_feeder() -> None:
    with Receiver() as receiver:
        with TcpFeeder(receiver.address, window_records=100) as feeder:
            threads = [
                threading.Thread(target=lambda n=n: [feeder.send(f"{n}-{m}") for m in range(500)]) for n in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(receiver.records) == sorted(b"%d-%d" % (n, m) for n in range(8) for m in range(500))


class Certificates:
    """A certificate authority, a receiver's certificate, and a sender's."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.folder = trustme.CA(), folder
        self.ca = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)
        self.cert, self.key = str(folder / "cert.pem"), str(folder / "key.pem")
        own = self.authority.issue_cert("sender")
        own.private_key_pem.write_to_path(self.key)
        own.cert_chain_pems[0].write_to_path(self.cert)

    def server(self, name: str = "127.0.0.1", *, wants_certificate: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(name).configure_cert(context)
        if wants_certificate:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def test_tls_with_certificates_on_both_sides(certificates: Certificates) -> None:
    """Large writes and receipts at the same time, over one TLS connection."""
    tls = Tls(ca=certificates.ca, certificate=certificates.cert, key=certificates.key)
    with Receiver(tls=certificates.server(wants_certificate=True)) as receiver:
        with TcpFeeder(receiver.address, tls=tls) as feeder:
            feeder.send_many(numbered(100_000))
        assert receiver.records == numbered(100_000)


def test_tls_for_another_name(certificates: Certificates) -> None:
    tls = Tls(ca=certificates.ca, server_name="feeds.example.org")
    with Receiver(tls=certificates.server("feeds.example.org")) as receiver:
        with TcpFeeder(receiver.address, tls=tls) as feeder:
            feeder.send("named")
        assert receiver.records == [b"named"]


@pytest.mark.parametrize("trust", [False, True], ids=["unknown authority", "no certificate of its own"])
def test_tls_that_is_refused_ends_the_feeder(certificates: Certificates, trust: bool) -> None:
    tls = Tls(ca=certificates.ca) if trust else True
    with Receiver(tls=certificates.server(wants_certificate=trust)) as receiver:
        feeder = TcpFeeder(receiver.address, tls=tls)
        feeder.send("secret")
        with pytest.raises(ClusterError) as caught:
            feeder.flush(WITHIN_S)
        assert caught.value.code == "tls_refused"
        assert receiver.records == []


def test_without_receipts_sent_is_what_the_system_took() -> None:
    """Whatever the receiver says meanwhile is read and left aside, and the end loses nothing that is on its way."""
    with Receiver(receipts=False) as receiver:
        receiver.garbage = b"welcome\n"
        with TcpFeeder(receiver.address, receipts=False) as feeder:
            feeder.send_many(numbered(100_000))
            feeder.flush(WITHIN_S)
            assert feeder.receipted == 100_000
        wait_until(lambda: len(receiver.records) == 100_000, what="the records")


def test_without_receipts_a_new_connection_is_made_after_a_break() -> None:
    with Receiver(receipts=False) as receiver, TcpFeeder(receiver.address, receipts=False) as feeder:
        feeder.send("one")
        wait_until(lambda: receiver.records, what="the record")
        receiver.stop()
        wait_until(lambda: not feeder.sending.connected, what="the break")
        receiver.start()
        feeder.send("two")
        wait_until(lambda: receiver.records == [b"one", b"two"], what="the other record")


def test_a_receiver_that_sends_no_receipts_is_told_at_the_end() -> None:
    """Without this the feeder would send everything again for ever."""
    with Receiver(receipts=False) as receiver:
        feeder = TcpFeeder(receiver.address)
        feeder.send("one")
        with pytest.raises(ClusterError) as caught:
            feeder.close(WITHIN_S)
        assert caught.value.code == "tcp_no_receipts"


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n", b"7\n"], ids=["text", "more than was sent"])
def test_what_is_no_receipt_ends_the_feeder(garbage: bytes) -> None:
    with Receiver(receipts=False) as receiver:
        receiver.garbage = garbage
        feeder = TcpFeeder(receiver.address)
        feeder.send("one")
        with pytest.raises(ClusterError) as caught:
            feeder.flush(WITHIN_S)
        assert caught.value.code == "receipt_invalid"
        with pytest.raises(ClusterError, match="receipt_invalid"):
            feeder.send("two")


def test_it_gives_up_when_it_was_told_to() -> None:
    feeder = TcpFeeder(f"127.0.0.1:{free_port()}", give_up_after=0.3)
    feeder.send("one")
    with pytest.raises(ClusterError, match="Connection refused") as caught:
        feeder.flush(WITHIN_S)
    assert caught.value.code == "tcp_unreachable"
    assert caught.value.retryable


def test_flush_and_close_wait_no_longer_than_they_are_told() -> None:
    with Receiver() as receiver:
        receiver.reads.clear()
        feeder = TcpFeeder(receiver.address)
        feeder.send("one")
        for end in (feeder.flush, feeder.close):
            with pytest.raises(ClusterError, match="1 records") as caught:
                end(0.05)
            assert caught.value.code == "tcp_unreceipted"
        with pytest.raises(TopologyError, match="tcp_feeder_closed"):
            feeder.send("two")


def test_an_exception_in_the_block_is_not_held_up() -> None:
    with Receiver() as receiver:
        receiver.reads.clear()
        with suppress(KeyError), TcpFeeder(receiver.address) as feeder:
            feeder.send("one")
            raise KeyError
        assert receiver.records == []


def test_an_unused_feeder_makes_no_connection() -> None:
    with Receiver() as receiver:
        with TcpFeeder(receiver.address):
            pass
        assert receiver.connections == 0


def test_a_closed_feeder_leaves_no_thread_and_no_descriptor() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with Receiver() as receiver:
        before, threads = open_files(), threading.active_count()
        for _ in range(20):
            with TcpFeeder(receiver.address) as feeder:
                feeder.send("one")
        wait_until(lambda: open_files() <= before and threading.active_count() <= threads, what="the end of all")
