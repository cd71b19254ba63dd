"""The listening TCP spout against real clients, good and bad."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import struct
from pathlib import Path

import pytest

from .conftest import Running, Squall, free_port, wait_until

TOPOLOGY = """
    from squall import Bolt, Topology
    from squall.connectors.files import FileSink
    from squall.connectors.tcp import Delimiter, Fixed, LengthPrefix, Lines, TcpSpout

    def show(record):
        return repr(record)

    def make(port: int) -> Topology:
        topology = Topology("tcp")
        spout = TcpSpout.listen(f"127.0.0.1:{{port}}", framing={framing}, {options})
        records = topology.spout("records", spout)
        shown = topology.bolt("show", show, outputs=("text",)).shuffle(records)
        topology.bolt("file", FileSink({path!r})).shuffle(shown)
        return topology
"""


class Listening:
    """A topology that listens, and the file that its records go to."""

    def __init__(self, squall: Squall, framing: str = 'Lines("record")', options: str = "", *arguments: object) -> None:
        self.port = free_port()
        self.path = squall.folder / "records"
        text = TOPOLOGY.format(framing=framing, options=options, path=str(self.path))
        self.run: Running = squall.run(text, "-p", f"port={self.port}", *arguments)
        self.run.event("started")

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def send(self, data: bytes) -> None:
        """Sends everything on a connection of its own and waits until the server has taken it and closed."""
        with self.connect() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""

    def records(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def wait_for(self, count: int) -> list[str]:
        wait_until(lambda: len(self.records()) >= count, what=f"record {count}")
        return self.records()

    def end(self) -> dict[str, object]:
        self.run.interrupt()
        assert self.run.end() == 0, self.run.err
        return self.run.summary()


def test_half_closed_connection_is_taken_whole_and_then_closed(squall: Squall) -> None:
    """On a half-close the server takes every record that was sent, the unended last one too, and then closes."""
    listening = Listening(squall)
    listening.send(b"".join(b"line %d\n" % n for n in range(20_000)) + b"the last")
    records = listening.wait_for(20_001)
    assert records[0] == "'line 0'"
    assert records[-1] == "'the last'"
    assert listening.end()["emitted"] == 20_001


def test_drain_takes_what_the_sockets_hold(squall: Squall) -> None:
    """Semantics 35. Lines that were sent before the interrupt are counted, although the connection stays open."""
    listening = Listening(squall)
    with listening.connect() as client:
        client.sendall(b"one\ntwo\nthree\n")
        summary = listening.end()
    assert summary["emitted"] == summary["acked"] == 3
    assert listening.records() == ["'one'", "'two'", "'three'"]


def test_bytes_one_at_a_time_and_garbage(squall: Squall) -> None:
    """Records come whole however their bytes come; what is no UTF-8 goes to the dead letters as bytes."""
    listening = Listening(squall)
    with listening.connect() as client:
        for byte in b"slowly\r\n\n\xff\xfe\x00garbage\nafter\n":
            client.send(bytes([byte]))
    assert listening.wait_for(3) == ["'slowly'", "''", "'after'"]
    summary = listening.end()
    assert (summary["emitted"], summary["acked"], summary["dead"]) == (4, 3, 1)
    letters = squall.done("dead", "show", "tcp", "1")
    assert r"\xff\xfe\x00garbage" in letters.out
    assert "UnicodeDecodeError" in letters.out


@pytest.mark.parametrize(
    ("framing", "data", "records"),
    [
        ('Delimiter(b"||", "record")', b"a||b\nc||||d", ["b'a'", "b'b\\nc'", "b''", "b'd'"]),
        ('Fixed(3, "record")', b"abcdefgh", ["b'abc'", "b'def'"]),
        (
            'LengthPrefix(2, field="record")',
            struct.pack(">H3sH0sH9s", 3, b"abc", 0, b"", 9, b"half"[:4])[:13],
            ["b'abc'", "b''"],
        ),
        ('LengthPrefix(4, False, "record")', struct.pack("<I2s", 2, b"xy"), ["b'xy'"]),
    ],
    ids=["delimiter", "fixed", "length prefix", "little endian"],
)
def test_framings(squall: Squall, framing: str, data: bytes, records: list[str]) -> None:
    """Each framing; half a record of a known length at the close is reported, not emitted."""
    listening = Listening(squall, framing)
    listening.send(data)
    assert listening.wait_for(len(records)) == records
    assert listening.end()["emitted"] == len(records)


def test_line_without_end_costs_no_memory(squall: Squall) -> None:
    """A record that is longer than allowed is skipped and reported; the next one is taken, and memory stays flat."""
    listening = Listening(squall, options="max_record=65536")
    worker = listening.run.worker_pid()
    listening.run.event("progress")
    before_mb = _resident_mb(worker)
    with listening.connect() as client:
        block = b"x" * (1 << 20)
        for _ in range(256):
            client.sendall(block)
        client.sendall(b"\nshort\n")
    assert listening.wait_for(1) == ["'short'"]
    assert _resident_mb(worker) - before_mb < 60
    listening.end()
    assert "records" in listening.run.err
    assert "65536" in listening.run.err or "65,536" in listening.run.err


def test_unfinished_records_of_all_connections_are_bounded(squall: Squall) -> None:
    """Anyone may connect: the longest unfinished records are given up and reported, and everyone else goes on."""
    listening = Listening(squall)
    worker = listening.run.worker_pid()
    listening.run.event("progress")
    before_mb = _resident_mb(worker)
    with contextlib.ExitStack() as others, listening.connect() as patient:
        patient.sendall(b"to be ")
        for _ in range(300):
            with contextlib.suppress(OSError):
                others.enter_context(listening.connect()).sendall(b"x" * 1_000_000)
        wait_until(lambda: "more than 67108864 bytes" in listening.run.err, what="the report")
        patient.sendall(b"continued\n")
        assert listening.wait_for(1) == ["'to be continued'"]
        assert _resident_mb(worker) - before_mb < 150
    listening.end()
    assert "code: record_refused" in listening.run.err


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def test_a_thousand_connections_and_resets(squall: Squall) -> None:
    """Many clients at once, some of which vanish in the middle of a record."""
    listening = Listening(squall)
    clients = [listening.connect() for _ in range(1000)]
    for number, client in enumerate(clients):
        client.sendall(b"from %d\n" % number)
    records = listening.wait_for(1000)
    assert set(records) == {f"'from {number}'" for number in range(1000)}
    for client in clients[::2]:
        client.sendall(b"half a li")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # a reset
    for client in clients[1::2]:
        client.sendall(b"again\n")
    listening.wait_for(1500)
    for client in clients[1::2]:
        client.close()
    assert listening.end()["pending"] == 0
    assert listening.records().count("'again'") == 500


def test_slow_sink_makes_the_sender_wait(squall: Squall) -> None:
    """When a bolt cannot keep up, sockets are not read: the sender feels it, memory stays flat, nothing is lost."""
    port = free_port()
    run = squall.run(
        """
        import time
        from squall import Bolt, Topology
        from squall.connectors.tcp import TcpSpout

        class Slow(Bolt):
            def process(self, line: str):
                time.sleep(0.0005)

        def make(port: int) -> Topology:
            topology = Topology("slow")
            topology.bolt("slow", Slow).shuffle(topology.spout("lines", TcpSpout.listen(f"127.0.0.1:{port}")))
            return topology
        """,
        "-p", f"port={port}",
    )  # fmt: skip
    worker = run.worker_pid()
    run.event("progress")
    before_mb = _resident_mb(worker)
    with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        block, sent = b"word " * 199 + b"\n" * 5, 0
        with contextlib.suppress(TimeoutError):
            while sent < 100 << 20:
                sent += client.send(block * 100)
        assert sent < 100 << 20
        assert _resident_mb(worker) - before_mb < 100
    run.process.kill()


def test_64_senders_of_fixed_records_wait_for_a_slow_bolt_and_lose_nothing(squall: Squall) -> None:
    """Telemetry of 883 bytes a record: the senders are made to wait, memory stays flat, and every record is counted."""
    senders, each, size = 64, 1000, 883
    port = free_port()
    run = squall.run(
        """
        import os, time
        from squall import Bolt, Topology
        from squall.connectors.tcp import Fixed, TcpSpout

        class Slow(Bolt):
            def process(self, record: bytes):
                if not os.path.exists("hurry"):
                    time.sleep(0.001)

        def make(port: int) -> Topology:
            topology = Topology("telemetry")
            spout = TcpSpout.listen(f"127.0.0.1:{port}", framing=Fixed(883))
            topology.bolt("slow", Slow).shuffle(topology.spout("records", spout))
            return topology
        """,
        "-p", f"port={port}",
    )  # fmt: skip
    worker = run.worker_pid()
    run.event("progress")
    before_mb = _resident_mb(worker)
    with selectors.DefaultSelector() as selector:
        for _ in range(senders):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 << 10)
            client.connect(("127.0.0.1", port))
            client.setblocking(False)
            selector.register(client, selectors.EVENT_WRITE, memoryview(b"x" * size * each))
        while ready := selector.select(timeout=1):
            _send_on(selector, ready)
        assert len(selector.get_map()) == senders, "nobody had to wait"
        assert _resident_mb(worker) - before_mb < 60
        (squall.folder / "hurry").touch()
        while selector.get_map():
            _send_on(selector, selector.select(timeout=30))
    wait_until(lambda: run.events("progress")[-1]["acked"] == senders * each, what="the last record")
    assert _resident_mb(worker) - before_mb < 60
    run.interrupt()
    assert run.end() == 0, run.err
    summary = run.summary()
    assert (summary["emitted"], summary["failed"], summary["pending"]) == (senders * each, 0, 0)


def _send_on(selector: selectors.BaseSelector, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
    assert ready, "nobody reads"
    for key, _ in ready:
        client: socket.socket = key.fileobj  # pyright: ignore[reportAssignmentType]
        left = key.data[client.send(key.data) :]
        if left:
            selector.modify(client, selectors.EVENT_WRITE, left)
        else:
            selector.unregister(client)
            client.close()


def test_port_that_the_system_chose_is_told(squall: Squall) -> None:
    """With port 0 whoever started the run learns where to connect: from the first event, or the first line."""
    path = squall.folder / "records"
    text = TOPOLOGY.format(framing='Lines("record")', options="", path=str(path))
    run = squall.run(text, "-p", "port=0")
    address = run.event("started")["listening"]["records"]
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"there\n")
        wait_until(lambda: path.exists() and path.read_text() == "'there'\n", what="the record")
    run.interrupt()
    assert run.end() == 0
    plain = squall.done("run", squall.file(text), "-p", "port=0", "--for", "10ms")
    assert re.search(r'"records" listens on 127\.0\.0\.1:[1-9]\d*; log', plain.out)


def test_port_that_is_taken(squall: Squall) -> None:
    """The port is named in one short error, exit code 1; nothing is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = TOPOLOGY.format(framing='Lines("record")', options="", path="records")
        run = squall.done("run", squall.file(text), "-p", f"port={port}", "--json")
    assert run.process.returncode == 1
    assert f"127.0.0.1:{port}" in run.err
    assert "port_taken" in run.err
    assert len(run.err.splitlines()) <= 25
    assert run.out == ""


@pytest.mark.parametrize(
    ("address", "code", "exit_code"),
    [("8.8.8.8:7007", "address_unusable", 1), ("nowhere", "tcp_address", 2), ("127.0.0.1:99999", "tcp_address", 2)],
)
def test_addresses_that_cannot_be(squall: Squall, address: str, code: str, exit_code: int) -> None:
    text = TOPOLOGY.format(framing='Lines("record")', options="", path="x").replace("127.0.0.1:{port}", address)
    run = squall.done("run", squall.file(text), "-p", "port=1")
    assert run.process.returncode == exit_code
    assert code in run.err
    assert address in run.err


def test_port_is_free_at_once_after_the_parent_was_killed(squall: Squall) -> None:
    """`kill -9` of the parent ends the worker, and the port can be bound again within a second."""
    listening = Listening(squall)
    listening.run.event("progress")
    with listening.connect() as client:
        client.sendall(b"one\n")
        listening.wait_for(1)
        listening.run.process.kill()

        def bound() -> bool:
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind(("127.0.0.1", listening.port))
                except OSError:
                    return False
                return True

        wait_until(bound, 1, "the port")
