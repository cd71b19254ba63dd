"""Garbage on every wire of one running topology: the worker lives, good records are counted exactly, faults told."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .wires import MAX_RECORD, WITHIN_S, Wires, until

HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(range(32))
"""How a client of TLS begins."""


@pytest.fixture(scope="module")
def wires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    wires = Wires(tmp_path_factory.mktemp("wires"))
    yield wires
    wires.close()


# -- what each framing makes of bytes -------------------------------------------------------------------------------


def lines(data: bytes) -> tuple[int, int]:
    """Good records, and those that are no text."""
    *ended, rest = data.split(b"\n")
    found = [one.removesuffix(b"\r") for one in ended] + ([rest] if rest else [])
    kept = [one for one in found if len(one) <= MAX_RECORD]
    good = sum(_is_text(one) for one in kept)
    return good, len(kept) - good


def _is_text(record: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        return record.decode("utf-8") is not None
    return False


def delimited(data: bytes) -> tuple[int, int]:
    *ended, rest = data.split(b"||")
    return sum(len(one) <= MAX_RECORD for one in [*ended, *([rest] if rest else [])]), 0


def fixed(data: bytes) -> tuple[int, int]:
    return len(data) // 8, 0


def prefixed(width: int, order: str) -> Callable[[bytes], tuple[int, int]]:
    """Up to a length that is too long for this source, records are counted; such a one is skipped to its end."""

    def count(data: bytes) -> tuple[int, int]:
        found = 0
        while len(data) >= width:
            length = int.from_bytes(data[:width], order)  # type: ignore[arg-type]
            data = data[width:]
            found += length <= min(len(data), MAX_RECORD)
            data = data[length:]
        return found, 0

    return count


MODELS: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "lines": lines,
    "unix": lines,
    "delimiter": delimited,
    "fixed": fixed,
    "length1": prefixed(1, "big"),
    "length2": prefixed(2, "big"),
    "length4": prefixed(4, "big"),
    "length8": prefixed(8, "little"),
}
SENT: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"x",
    "line feeds": b"\n" * 50,
    "carriage returns": b"\r" * 50,
    "mixed ends": b"a\r\nb\nc\r\r\n\n\r\n",
    "half a line": b"whole\nhalf",
    "no end at all": b"x" * 300_000,
    "no end, then one": b"x" * 300_000 + b"\nshort\n",
    "longest": b"x" * MAX_RECORD + b"\n",
    "one too long": b"x" * (MAX_RECORD + 1) + b"\nshort\n",
    "nul": b"a\0b\n\0\n",
    "every byte": bytes(range(256)) * 8,
    "no utf-8": b"\xff\xfe\n\xc3\n\xed\xa0\x80\nfine\n",
    "escape": b"\x1b[31mred\x1b]0;title\x07\n",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "tls": HELLO,
    "ssh": b"SSH-2.0-OpenSSH_9.7\r\n",
    "delimiters": b"a||b|||c||||d|",
    "half a delimiter": b"a|",
    "partly filled": b"12345678abcdefgh1234",
    "length 0": bytes(8),
    "length 1": b"\1x\0\1x\0\0\0\1x",
    "length 2^31": (1 << 31).to_bytes(4, "big") + b"x" * 100,
    "length 2^64-1": b"\xff" * 8 + b"x" * 100,
    "length of half": b"\0\0\0\x10half",
    "length cut": b"\0\0\0",
    **{f"random {seed}": random.Random(seed).randbytes(3000) for seed in range(8)},
    **{f"random text {seed}": bytes(random.Random(seed).choices(b"ab|\n\r\0\1\2", k=3000)) for seed in range(4)},
}
STREAMS = {f"{name}: {what}": (name, data) for name in MODELS for what, data in SENT.items()}


def expect(wires: Wires, name: str, data: bytes) -> None:
    good, no_text = MODELS[name](data)
    wires.expected[name] += good
    wires.refused[name] += no_text


@pytest.mark.parametrize(("name", "data"), STREAMS.values(), ids=STREAMS)
def test_bytes_are_cut_as_the_model_says(wires: Wires, name: str, data: bytes) -> None:
    expect(wires, name, data)
    wires.send(name, data)
    wires.all_counted(name)


# -- how connections behave -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_one_byte_at_a_time_is_the_same(wires: Wires, name: str) -> None:
    data = b"\0\0\0\1a\nb||c\r\n"
    expect(wires, name, data)
    with wires.connect(name) as client:
        for byte in data:
            client.sendall(bytes([byte]))
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    wires.all_counted(name)


@pytest.mark.parametrize("name", [*MODELS, "tls", "http"])
def test_connections_that_say_nothing_or_break_off_cost_nothing(wires: Wires, name: str) -> None:
    for _ in range(20):
        wires.connect(name).close()
        if name != "unix":
            wires.reset(name, b"")
    wires.all_counted(name)


@pytest.mark.parametrize("name", ["lines", "fixed", "length4"])
def test_record_that_is_broken_off_is_none(wires: Wires, name: str) -> None:
    """After a reset nobody knows what had come, so what was not ended is not made a record."""
    for _ in range(20):
        wires.reset(name, b"\0\0\0")
    wires.all_counted(name)


def test_a_thousand_clients_at_once(wires: Wires) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(wires.connect("lines")) for _ in range(1000)]
        for number, client in enumerate(clients):
            client.sendall(b"from %d\n" % number)
        wires.expected["lines"] += len(clients)
        wires.all_counted("lines")


# -- datagrams ------------------------------------------------------------------------------------------------------

DATAGRAMS = {
    "nothing": (b"", 1),
    "text": (b"good", 1),
    "two lines": (b"a\nb", 2),
    "nul": (b"a\0b", 1),
    "no utf-8": (b"\xff\xfe", 0),
    "longest": (b"x" * MAX_RECORD, 1),
    "one too long": (b"x" * (MAX_RECORD + 1), 0),
    "as long as can be": (b"x" * 65_000, 0),
    "tls": (HELLO, 0),
}


@pytest.mark.parametrize(("data", "out"), DATAGRAMS.values(), ids=DATAGRAMS)
def test_datagram_is_one_record_or_none(wires: Wires, data: bytes, out: int) -> None:
    """`out`: lines that come out of a record."""
    wires.expected["udp"] += out + 1
    with wires.connect("udp") as client:
        client.send(data)
        client.send(b"and a good one")
    wires.all_counted("udp")


# -- TLS ------------------------------------------------------------------------------------------------------------

HANDSHAKES = {
    "plain text": b"hello\n" * 3,
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "half a hello": HELLO[:9],
    "hello of nothing": HELLO,
    "length beyond all": b"\x16\x03\x01\xff\xff" + b"x" * 1000,
    "old ssl": b"\x80\x2e\x01\x00\x02" + b"x" * 40,
    "alert": b"\x15\x03\x01\x00\x02\x02\x00",
    "application data": b"\x17\x03\x03\x00\x05hello",
    "zeros": bytes(1000),
    "random": random.Random(1).randbytes(2000),
}


@pytest.mark.parametrize("data", HANDSHAKES.values(), ids=HANDSHAKES)
def test_what_is_no_hand_shake_is_turned_away(wires: Wires, data: bytes) -> None:
    wires.send("tls", data)
    with wires.secured() as client:
        client.sendall(b"a good one\n")
        wires.expected["tls"] += 1
        wires.all_counted("tls")


def test_client_that_trusts_nobody_is_told_so(wires: Wires) -> None:
    with wires.connect("tls") as plain, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")
    wires.all_counted("tls")


# -- HTTP -----------------------------------------------------------------------------------------------------------


def request(
    body: bytes = b"", *headers: str, method: str = "POST", path: str = "/in", version: str = "HTTP/1.1"
) -> bytes:
    head = [f"{method} {path} {version}", "Host: here", "Connection: close", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def sized(body: bytes, *headers: str, **other: str) -> bytes:
    return request(body, f"Content-Length: {len(body)}", *headers, **other)


CHUNKED = "Transfer-Encoding: chunked"
REQUESTS: dict[str, tuple[bytes, set[int]]] = {
    "no body": (sized(b""), {400}),
    "other method": (sized(b"x", method="DELETE"), {405}),
    "no method": (sized(b"x", method="FETCH"), {405, 400}),
    "long method": (sized(b"x", method="X" * 5000), {400, 405}),
    "other path": (sized(b"x", path="/out"), {404}),
    "path upwards": (sized(b"x", path="/in/../../etc"), {404}),
    "encoded path": (sized(b"x", path="/%69%6e%00"), {404}),
    "long path": (sized(b"x", path="/" + "x" * 100_000), {400, 404, 414, 431}),
    "no path": (sized(b"x", path=""), {400, 404}),
    "no utf-8": (sized(b"\xff\xfe"), {400}),
    "too long": (sized(b"x" * 1025), {413}),
    "length beyond all": (request(b"x", "Content-Length: 99999999999999999999999"), {400, 413}),
    "negative length": (request(b"x", "Content-Length: -1"), {400}),
    "no number": (request(b"x", "Content-Length: one"), {400}),
    "two lengths": (request(b"x", "Content-Length: 1", "Content-Length: 2"), {400}),
    "length with a sign": (request(b"x", "Content-Length: +1"), {400}),
    "smuggling": (request(b"0\r\n\r\nPOST /in HTTP/1.1\r\n\r\n", "Content-Length: 4", CHUNKED), {400}),
    "smuggling turned": (request(b"1\r\nx\r\n0\r\n\r\n", CHUNKED, "Content-Length: 1"), {400}),
    "unknown coding": (request(b"x", "Transfer-Encoding: gzip, chunked, what"), {400, 501}),
    "bad chunk": (request(b"zz\r\nx\r\n0\r\n\r\n", CHUNKED), {400}),
    "chunk beyond all": (request(b"fffffffffffffffffff\r\nx", CHUNKED), {400, 413}),
    "many chunks": (request(b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n", CHUNKED), {413}),
    "compressed": (sized(b"\x1f\x8b", "Content-Encoding: gzip"), {415}),
    "long header": (sized(b"x", "X: " + "x" * 200_000), {400, 431}),
    "header without a colon": (sized(b"x", "nonsense"), {400}),
    "header of two lines": (sized(b"x", "X: a\r\n b"), {400, 202}),
    "space before the colon": (sized(b"x", "X : a"), {400}),
    "nul in a header": (sized(b"x", "X: \0"), {400}),
    "no version": (sized(b"x", version=""), {400}),
    "version 9": (sized(b"x", version="HTTP/9.9"), {202, 400, 505}),
    "upgrade": (
        request(b"", "Upgrade: websocket", "Connection: Upgrade", method="GET"),
        {200, 400, 405, 426, 403, 404},
    ),
    "connect": (request(b"", method="CONNECT", path="evil:80"), {400, 404, 405}),
    "tls": (HELLO, {400}),
    "garbage": (b"\0\1\2\r\n\r\n", {400}),
    "line feeds": (b"\n" * 1000 + b"\r\n\r\n", {400}),
}


def status(wires: Wires, data: bytes) -> int | None:
    """What the server answers; None if it only closes."""
    with wires.connect("http") as client:
        answer = b""
        with contextlib.suppress(OSError):
            client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(1 << 16):
                answer += part
    assert b"Traceback" not in answer
    return int(answer.split()[1]) if answer.startswith(b"HTTP/") else None


@pytest.mark.parametrize(("data", "answers"), REQUESTS.values(), ids=REQUESTS)
def test_request_is_refused_and_nothing_of_it_taken(wires: Wires, data: bytes, answers: set[int]) -> None:
    found = status(wires, data)
    wires.expected["http"] += found == 202
    assert found is None or found in answers
    assert status(wires, sized(b"a good one")) == 202
    wires.expected["http"] += 1
    wires.all_counted("http")


def test_clients_that_never_end_their_requests_hold_up_nobody(wires: Wires) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            slow = stack.enter_context(wires.connect("http"))
            slow.sendall(b"POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"[: random.randint(1, 55)])
        began_s = time.monotonic()
        assert status(wires, sized(b"a good one")) == 202
        wires.expected["http"] += 1
        assert time.monotonic() - began_s < WITHIN_S
    wires.all_counted("http")


# -- the end --------------------------------------------------------------------------------------------------------


def test_at_the_end_all_counts_are_exact_and_faults_were_told(wires: Wires) -> None:
    """Each source emitted what was good and what was no text, which is in the dead letters; all is told in the log."""
    for name in wires.expected:
        wires.all_counted(name)

    def is_told() -> bool:
        """Whatever other tests had sent to this process's topology: reports of one component are throttled."""
        with wires.connect("lines") as connection:
            connection.sendall(b"x" * (MAX_RECORD + 1) + b"\n")
        return "code: record_refused" in wires.err

    until(is_told, "a report")
    summary = wires.end()
    assert summary["pending"] == 0
    for name in MODELS:
        figures = summary["components"][name]
        assert figures["emitted"] - figures["dead"] == wires.expected[name], name
        assert figures["dead"] == wires.refused[name], name
    assert "Traceback" not in wires.err
    assert not Path(wires.folder / "wires.sock").exists()


CASES = [
    *STREAMS,
    *(f"{name}: one byte at a time" for name in MODELS),
    *(f"{name}: broken off" for name in [*MODELS, "tls", "http"]),
    "a thousand clients",
    *(f"udp: {name}" for name in DATAGRAMS),
    *(f"tls: {name}" for name in HANDSHAKES),
    *(f"http: {name}" for name in REQUESTS),
    "http: slow clients",
]
