"""The decisions of a sender: what it keeps, how records become bytes and are found again, when it tries again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, count
from random import Random
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squall.cli.feeding.source import framing_of
from squall.connectors.framing import Delimiter, Fixed, Framing, LengthPrefix, Lines
from squall.connectors.sending.backoff import Backoff
from squall.connectors.sending.cutting import HalfRecord, cutter_of
from squall.connectors.sending.kept import BATCH_RECORDS, Kept
from squall.connectors.sending.peer import peer_of
from squall.connectors.sending.receipts import NoReceipt, ReceiptReader
from squall.connectors.sending.wire import wire_of
from squall.connectors.tcp import TcpFeeder, TcpSink
from squall.connectors.udp import UdpSink
from squall.errors import ClusterError, ConfigError, TopologyError

FRAMINGS: list[tuple[Framing, st.SearchStrategy[bytes]]] = [
    (Lines(), st.binary(max_size=9).map(lambda data: data.replace(b"\n", b"."))),
    (Delimiter(b"\0"), st.binary(max_size=9).map(lambda data: data.replace(b"\0", b"."))),
    (Delimiter(b"--"), st.binary(max_size=9).map(lambda data: data.replace(b"-", b"."))),
    (Fixed(3), st.binary(min_size=3, max_size=3)),
    (LengthPrefix(1), st.binary(max_size=255)),
    (LengthPrefix(4, big_endian=False), st.binary(max_size=9)),
]


def taken(kept: Kept, about_bytes: int) -> list[bytes]:
    return list(chain.from_iterable(batch.records for batch in kept.take(about_bytes)))


@settings(deadline=None)
@given(st.data())
def test_after_every_break_exactly_what_is_not_receipted_is_given_again(data: st.DataObject) -> None:
    """Whatever the order of additions, writes, receipts and breaks: each connection is given the rest, in order."""
    kept, added, connection, receipted = Kept(), list[bytes](), list[bytes](), 0
    for _ in range(data.draw(st.integers(1, 40))):
        match data.draw(st.sampled_from(["add", "extend", "take", "receipt", "break"])):
            case "add":
                added.append(b"%d" % len(added))
                kept.add(added[-1])
            case "extend":
                more = [b"%d" % (len(added) + n) for n in range(data.draw(st.integers(0, 5)))]
                added += more
                kept.extend(more)
            case "take":
                connection += taken(kept, data.draw(st.integers(1, 6)))
            case "receipt":
                opened_at = kept.given - len(connection)
                most = len(connection)
                receipted = opened_at + data.draw(st.integers(receipted - opened_at, most))
                assert kept.receipt(receipted - opened_at)
            case _:
                kept.opened()
                connection = []
        begin = kept.given - len(connection)
        assert connection == added[begin : kept.given]
        assert kept.receipted == receipted
        assert kept.records == len(added) - receipted
        assert kept.bytes >= sum(map(len, added[receipted:]))
        assert kept.waiting == (kept.given < len(added))


def test_a_receipt_never_shrinks_nor_exceeds_what_was_given() -> None:
    kept = Kept()
    kept.extend([b"a", b"b", b"c"])
    assert not kept.receipt(1)
    kept.take(1)
    assert kept.receipt(2)
    assert not kept.receipt(1)
    assert not kept.receipt(4)
    kept.opened()
    assert taken(kept, 1) == [b"c"]
    assert not kept.receipt(2)
    assert kept.receipt(1)
    assert (kept.records, kept.bytes, kept.receipted, kept.resent) == (0, 0, 3, 1)


@settings(deadline=None)
@given(st.data())
def test_a_receiver_finds_the_same_records_however_the_bytes_are_cut(data: st.DataObject) -> None:
    framing, record = data.draw(st.sampled_from(FRAMINGS))
    records = data.draw(st.lists(record, min_size=1, max_size=20))
    wire, cutter, found = wire_of(framing), cutter_of(framing), list[bytes]()
    stream = wire.joined(wire.all_kept(records))
    assert stream == wire.joined([wire.kept(one) for one in records])
    while stream:
        length = data.draw(st.integers(1, len(stream)))
        found += cutter.cut(stream[:length])
        stream = stream[length:]
    assert found + cutter.end() == records


@pytest.mark.parametrize(
    ("framing", "record", "because"),
    [
        (Lines(), "two\nlines", "line feed in its middle"),
        (Lines(), b"three\n\n", "line feed in its middle"),
        (Lines(), "\ud800", "cannot be UTF-8"),
        (Lines(), 5, "of type int"),
        (Delimiter(b"|"), b"a|b", "holds the delimiter"),
        (Delimiter(b"|"), b"a|", "holds the delimiter"),
        (Delimiter(b"--"), b"a-", "or begins it"),
        (Fixed(3), b"four", "has 4 bytes"),
        (LengthPrefix(1), b"x" * 256, "has 256 bytes"),
    ],
)
def test_a_record_that_would_arrive_as_another_is_refused(framing: Framing, record: Any, because: str) -> None:
    wire = wire_of(framing)
    for send in (lambda: wire.kept(record), lambda: wire.all_kept([b"", record] if framing == Lines() else [record])):
        with pytest.raises(TopologyError, match=because) as caught:
            send()
        assert caught.value.code == "tcp_record"


def test_a_line_may_bring_its_end_along() -> None:
    """`for line in file: feeder.send(line)` sends the lines."""
    wire = wire_of(Lines())
    assert wire.joined(wire.all_kept(["one\n", "two", b"three\n"])) == b"one\ntwo\nthree\n"
    assert wire.joined(wire.all_kept([b"one\n", b"", bytearray(b"two")])) == b"one\n\ntwo\n"


@pytest.mark.parametrize("framing", [Fixed(4), LengthPrefix(2)], ids=repr)
def test_a_file_that_ends_inside_a_record_is_told(framing: Framing) -> None:
    cutter = cutter_of(framing)
    assert cutter.cut(b"\0\2ab\0\3a")[:1] in ([b"ab"], [b"\0\2ab"])
    with pytest.raises(HalfRecord):
        cutter.end()


def test_receipts_are_read_however_they_were_cut() -> None:
    reader = ReceiptReader()
    assert [reader.newest(data) for data in (b"1\n2", b"0", b"\n30\n", b"3")] == [1, None, 30, None]
    assert reader.newest(b"1\n") == 31
    for garbage in (b"HTTP/1.1 400 Bad Request\r\n", b"\n", b"-1\n", b"1" * 21):
        with pytest.raises(NoReceipt):
            ReceiptReader().newest(garbage)


def test_pauses_double_to_five_seconds_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(None, Random(1))
    pauses = [backoff.pause_s(now_s) or 0.0 for now_s in range(9)]
    for pause_s, most_s in zip(pauses, (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0), strict=True):
        assert 0.8 * most_s <= pause_s <= most_s
    backoff.succeeded()
    assert (backoff.pause_s(9.0) or 0.0) <= 0.1


def test_it_gives_up_after_so_long_without_success() -> None:
    backoff = Backoff(3.0, Random(1))
    assert backoff.pause_s(10.0) is not None
    assert backoff.pause_s(12.95) == pytest.approx(0.05)
    assert backoff.pause_s(13.0) is None
    backoff.succeeded()
    assert backoff.pause_s(20.0) is not None


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:99999", ":5", "unix:", "unix:" + "x" * 108, "unix:a\0b"])
def test_addresses_that_nobody_can_be_reached_at(address: str) -> None:
    for make in (TcpFeeder, TcpSink):
        with pytest.raises(TopologyError) as caught:
            make(address)
        assert caught.value.code == "tcp_address"


def test_addresses_are_shown_as_they_were_given() -> None:
    for address in ("127.0.0.1:5", "[::1]:5", "unix:/run/feed.sock"):
        assert str(peer_of("TcpFeeder", address, None)) == address


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: TcpSink("127.0.0.1:5", window_records=0), "tcp_limit"),
        (lambda: TcpFeeder("127.0.0.1:5", window_bytes=1.5), "tcp_limit"),  # type: ignore[arg-type]
        (lambda: TcpSink("127.0.0.1:5", encoder="xml"), "encoder_unknown"),  # type: ignore[arg-type]
        (lambda: UdpSink("127.0.0.1:5", encoder=[]), "encoder_unknown"),  # type: ignore[arg-type]
        (lambda: UdpSink("unix:/run/feed.sock"), "tcp_address"),
        (lambda: TcpFeeder("127.0.0.1:5", framing=Fixed(0)), "tcp_framing"),
    ],
)
def test_what_could_not_run_is_refused_when_it_is_declared(make: Any, code: str) -> None:
    with pytest.raises(TopologyError) as caught:
        make()
    assert caught.value.code == code


def test_framings_of_the_command_line() -> None:
    assert framing_of("lines") == Lines()
    assert framing_of("delimiter:0d0a") == Delimiter(b"\r\n")
    assert framing_of("fixed:883") == Fixed(883)
    assert framing_of("length:4") == LengthPrefix(4)
    assert framing_of("length:2:little") == LengthPrefix(2, big_endian=False)


@pytest.mark.parametrize(
    "text", ["", "line", "lines:2", "delimiter", "delimiter:zz", "fixed:0", "length:3", "length:4:x"]
)
def test_framings_that_the_command_line_does_not_know(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        framing_of(text)
    assert caught.value.code == "feed_framing"


# -- interrupts -----------------------------------------------------------------------------------------------------


def interrupted(call: Callable[[], object], at: int) -> bool:
    """Calls; at its `at`-th moment in which Python looks for signals comes an interrupt. Whether it had so many.

    Python looks when a function of its own begins and when one in C has returned.
    """
    seen = count()

    def interrupt(_frame: Any, event: str, _argument: Any) -> None:
        if event in ("call", "c_return") and next(seen) == at:
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    try:
        call()
    except KeyboardInterrupt:
        return True
    except ClusterError:  # it did what it is there for
        return False
    finally:
        sys.setprofile(None)
    return False


@pytest.mark.parametrize(
    ("call", "before"),
    [
        (lambda feeder: feeder.send("x"), 0),
        (lambda feeder: feeder.send("x"), BATCH_RECORDS),
        (lambda feeder: feeder.send_many(["x", "y"]), 1),
        (lambda feeder: feeder.send("x", timeout=0.001), 2000),
        (lambda feeder: feeder.flush(0.001), 1),
        (lambda feeder: feeder.sending, 1),
    ],
    ids=["send", "a new batch", "send_many", "no room", "flush", "sending"],
)
def test_an_interrupt_at_any_moment_leaves_a_feeder_that_works(
    call: Callable[[TcpFeeder], object], before: int
) -> None:
    for at in count():
        feeder = TcpFeeder("127.0.0.1:1", window_records=2000)
        feeder.send_many(["b"] * before)
        was_interrupted = interrupted(lambda feeder=feeder: call(feeder), at)
        other = Thread(target=lambda feeder=feeder: feeder.sending, daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive(), f"the lock is held after an interrupt at moment {at}"
        with suppress(ClusterError):
            feeder.send("last", timeout=0)
        outbox = feeder._outbox  # pyright: ignore[reportPrivateUsage]
        assert sum(len(batch.records) for batch in outbox.kept._batches) == outbox.kept.records  # pyright: ignore[reportPrivateUsage]
        assert not outbox.is_idle, f"nobody sends after an interrupt at moment {at}"
        feeder.abort()
        if not was_interrupted:
            break
    assert at > 5
