"""Semantics 32: receipts on each connection, against real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from squall import Bolt, Topology, Tuple
from squall.connectors.tcp import Json, TcpSpout
from squall.testing import LocalCluster

WITHIN_S = 20.0


class Hold(Bolt):
    """Keeps its inputs until it is told to let one go."""

    manual_ack = True

    def open(self, context: object) -> None:
        self.held: dict[str, Tuple] = {}
        self.tries = 0

    def process(self, line: str, tup: Tuple) -> None:
        self.tries += 1
        self.held[line] = tup


class Serving:
    """A topology that listens and sends receipts, run by the test itself."""

    def __init__(self, cluster: LocalCluster, port: int) -> None:
        self.cluster, self.port = cluster, port
        self.clients = ExitStack()

    def connect(self) -> Client:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=WITHIN_S)
        return Client(self, self.clients.enter_context(connection))

    def until(self, condition: Callable[[], Any]) -> Any:
        worker, deadline = self.cluster.worker, time.monotonic() + WITHIN_S
        while not (found := condition()):
            assert time.monotonic() < deadline
            worker.run(deadline=worker.monotonic() + 0.01)
        return found

    @property
    def hold(self) -> Hold:
        return self.cluster.task("bolt", Hold)


class Client:
    """One connection of a sender."""

    def __init__(self, serving: Serving, connection: socket.socket) -> None:
        self.serving, self.connection, self.got = serving, connection, b""
        connection.setblocking(False)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def send_and_hold(self, *lines: str) -> None:
        self.send("".join(f"{line}\n" for line in lines).encode())
        self.serving.until(lambda: set(lines) <= set(self.serving.hold.held))

    def receive(self) -> bool:
        """Takes what came; whether the other side has closed."""
        try:
            data = self.connection.recv(1 << 16)
        except BlockingIOError:
            return False
        self.got += data
        return not data

    def receipt(self) -> int:
        """The newest number."""
        self.receive()
        numbers = [int(line) for line in self.got.split(b"\n")[:-1]]
        assert numbers == sorted(set(numbers))
        return numbers[-1] if numbers else 0

    def told(self, number: int) -> None:
        self.serving.until(lambda: self.receipt() == number)

    def end(self) -> None:
        self.connection.shutdown(socket.SHUT_WR)

    def closed(self) -> None:
        self.serving.until(self.receive)


@contextmanager
def serving(
    bolt: Any, *, settings: dict[str, Any] | None = None, on_error: Any = None, **options: Any
) -> Iterator[Serving]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    topology = Topology("receipts", settings=settings or {})
    spout = TcpSpout.listen(f"127.0.0.1:{port}", receipts="processed", **options)
    lines = topology.spout("lines", spout, on_error=on_error)
    if bolt is not None:
        topology.bolt("bolt", bolt).shuffle(lines)
    with LocalCluster(topology, simulated_time=False) as cluster:
        cluster.open()
        server = Serving(cluster, port)
        with server.clients:
            yield server


def test_32_two_connections_are_each_told_their_own_ended_prefix() -> None:
    """Ends out of order, of interleaved connections."""
    with serving(Hold) as server:
        one, two = server.connect(), server.connect()
        one.send_and_hold("a1", "a2")
        two.send_and_hold("b1")
        one.send_and_hold("a3")
        two.send_and_hold("b2")
        hold = server.hold
        for line in ("a3", "b1", "a2"):
            hold.ack(hold.held[line])
        two.told(1)
        assert one.receipt() == 0
        hold.ack(hold.held["a1"])
        one.told(3)
        hold.ack(hold.held["b2"])
        two.told(2)


def test_32_a_failed_record_keeps_its_place_until_a_later_try_has_ended() -> None:
    with serving(Hold) as server:
        client = server.connect()
        client.send_and_hold("a", "b", "c")
        hold = server.hold
        hold.fail(hold.held.pop("b"))
        hold.ack(hold.held["a"])
        hold.ack(hold.held["c"])
        client.told(1)
        server.until(lambda: "b" in hold.held)
        assert hold.tries == 4
        hold.ack(hold.held["b"])
        client.told(3)


def test_32_a_dead_letter_has_ended() -> None:
    """Of a record that a bolt gave up, and of one that is no text at all."""

    def refuse(line: str) -> None:
        if line == "bad":
            raise ValueError(line)

    with serving(refuse, settings={"topology.retries": 0}) as server:
        client = server.connect()
        client.send(b"good\nbad\n\xff\xfe\ngood\n")
        client.told(4)
        assert len(server.cluster.dead_letters()) == 2


def test_32_a_record_that_was_skipped_as_too_long_has_ended() -> None:
    with serving(Hold, max_record=10) as server:
        client = server.connect()
        client.send(b"first\n" + b"x" * 100 + b"\nsecond\n" + b"y" * 100 + b"\n")
        hold = server.hold
        server.until(lambda: len(hold.held) == 2)
        hold.ack(hold.held["second"])
        hold.ack(hold.held["first"])
        client.told(4)


def test_32_a_half_closed_connection_is_closed_after_its_last_receipt() -> None:
    with serving(Hold) as server:
        client, other = server.connect(), server.connect()
        client.send_and_hold("a", "b")
        client.end()
        other.send_and_hold("c")  # and what is open stays open
        hold = server.hold
        hold.ack(hold.held["b"])
        hold.ack(hold.held["a"])
        client.closed()
        assert client.got.split(b"\n")[-2:] == [b"2", b""]
        hold.ack(hold.held["c"])
        other.told(1)


def test_32_a_connection_that_sent_nothing_is_closed_without_a_receipt() -> None:
    with serving(Hold) as server:
        client = server.connect()
        client.end()
        client.closed()
        assert client.got == b""


def test_32_a_record_with_several_outputs_has_ended_when_all_of_them_have() -> None:
    """And one without outputs at once; one whose decoder raises when its dead letter is there."""

    def words(record: bytes) -> list[str]:
        if record == b"?":
            raise ValueError("not this one")
        return record.decode().split()

    with serving(Hold, decoder=words, outputs=("line",)) as server:
        client = server.connect()
        client.send(b"\na b\n?\nc\n")
        hold = server.hold
        server.until(lambda: len(hold.held) == 3)
        client.told(1)
        hold.ack(hold.held["a"])
        hold.ack(hold.held["c"])
        server.until(lambda: len(server.cluster.dead_letters()) == 1)
        assert client.receipt() == 1
        hold.ack(hold.held["b"])
        client.told(4)


def test_32_a_record_that_the_decoder_drops_has_ended() -> None:
    with serving(lambda value: None, decoder=Json(), on_error="drop") as server:
        client = server.connect()
        client.send(b"1\nno JSON\n2\n")
        client.told(3)


def test_32_without_acking_what_was_sent_on_has_ended() -> None:
    with serving(lambda line: None, settings={"topology.acker.executors": 0}) as server:
        client = server.connect()
        client.send(b"a\nb\n")
        client.told(2)


def test_32_a_record_that_no_bolt_takes_has_ended() -> None:
    with serving(None) as server:
        client = server.connect()
        client.send(b"a\nb\n")
        client.told(2)


def test_32_many_senders_learn_of_every_record() -> None:
    """Small receipts of many connections, while their records stream."""
    with serving(lambda line: None) as server:
        clients = [server.connect() for _ in range(50)]
        for number in range(20):
            for client in clients:
                client.send(b"line\n" * (number + 1))
        for client in clients:
            client.told(210)


@pytest.mark.parametrize("ended", [True, False])
def test_32_when_the_spout_closes_the_last_receipts_are_sent_first(ended: bool) -> None:
    with serving(Hold) as server:
        client = server.connect()
        client.send_and_hold("a", "b")
        hold = server.hold
        hold.ack(hold.held["a"])
        if ended:
            hold.ack(hold.held["b"])
        server.cluster.close()
        client.connection.settimeout(WITHIN_S)
        while data := client.connection.recv(100):
            client.got += data
        assert client.got.split(b"\n")[-2] == (b"2" if ended else b"1")
