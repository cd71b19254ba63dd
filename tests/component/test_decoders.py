"""Decoders of records: JSON, MessagePack and functions, from socket to bolt."""

from __future__ import annotations

import dataclasses
import logging
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import pytest
from squall import DropTuple, Emit, Topology, Tuple
from squall.connectors.tcp import Json, LengthPrefix, Lines, MessagePack, TcpSpout
from squall.connectors.udp import UdpSpout
from squall.errors import TopologyError
from squall.testing import LocalCluster

from .conftest import Squall, free_port, wait_until


class Click(NamedTuple):
    user: str
    url: str
    at: datetime | None = None


class Point(msgspec.Struct):
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Pair:
    left: int
    right: str


class Running:
    """A cluster whose spout "s" has a decoder."""

    def __init__(self, cluster: LocalCluster, spout: TcpSpout, port: int) -> None:
        self.cluster, self.spout, self.port = cluster, spout, port

    def send(self, data: bytes, outputs: int, dead: int = 0) -> list[tuple[Any, ...]]:
        """The rows that the records became, when all of them are there, and as many dead letters."""
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(data)
        deadline = time.monotonic() + 20
        worker = self.cluster.worker
        while (len(self.rows()), len(self.cluster.dead_letters())) != (outputs, dead):
            assert time.monotonic() < deadline, (self.rows(), self.cluster.dead_letters())
            worker.run(deadline=worker.monotonic() + 0.01)
        return self.rows()

    def rows(self) -> list[tuple[Any, ...]]:
        return self.cluster.emitted("s")


@contextmanager
def decoding(decoder: Any, *, framing: Any = None, outputs: Any = None, **options: Any) -> Iterator[Running]:
    topology, port = Topology("decoding"), free_port()
    spout = TcpSpout.listen(f"127.0.0.1:{port}", framing=framing, decoder=decoder, outputs=outputs)

    def take(tup: Tuple) -> None: ...

    topology.bolt("take", take).shuffle(topology.spout("s", spout, **options))
    with LocalCluster(topology, simulated_time=False) as cluster:
        cluster.open()
        yield Running(cluster, spout, port)


@pytest.mark.parametrize(
    ("decoder", "fields", "line", "row"),
    [
        (Json(outputs=("user", "url")), ("user", "url"), b'{"url": "/", "more": [1], "user": "ann"}', ("ann", "/")),
        (
            Json(outputs={"user": str, "user-id": int}),
            ("user", "user-id"),
            b'{"user": "ann", "user-id": 7}',
            ("ann", 7),
        ),
        (Json(Click), Click._fields, b'{"user": "ann", "url": "/"}', ("ann", "/", None)),
        (
            Json(Click),
            Click._fields,
            b'{"user": "ann", "url": "/", "at": "2026-01-02T03:04:05Z"}',
            ("ann", "/", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ),
        (Json(Point), ("x", "y"), b'{"x": 1.5}', (1.5, 0.0)),
        (Json(Pair), ("left", "right"), b'{"left": 1, "right": "a"}', (1, "a")),
        (Json(), ("value",), b'{"user": "ann"}', ({"user": "ann"},)),
        (Json(), ("value",), b"[1, [2]]", ([1, [2]],)),
        (Json(field="document"), ("document",), b"null", (None,)),
        (Json(list[int], field="numbers"), ("numbers",), b"[1, 2]", ([1, 2],)),
    ],
    ids=str,
)
def test_json_becomes_fields(decoder: Json, fields: tuple[str, ...], line: bytes, row: tuple[Any, ...]) -> None:
    with decoding(decoder) as running:
        assert [one.streams["default"].fields for one in running.cluster.components if one.name == "s"] == [fields]
        assert running.send(line + b"\n", 1) == [row]


def test_declared_types_are_those_of_the_stream() -> None:
    """So that a bolt whose annotations disagree is refused when the topology is built."""

    def wants(user: int) -> None: ...

    topology = Topology("t")
    clicks = topology.spout("clicks", TcpSpout.listen("127.0.0.1:9999", decoder=Json(Click)))
    topology.bolt("wants", wants).shuffle(clicks)
    with pytest.raises(TopologyError, match="parameter_type"):
        LocalCluster(topology, mock_sources={"clicks": []})


def test_message_pack_becomes_fields() -> None:
    def packed(value: Any) -> bytes:
        data = msgspec.msgpack.encode(value)
        return struct.pack(">H", len(data)) + data

    with decoding(MessagePack(outputs=("user", "n")), framing=LengthPrefix(2)) as running:
        data = packed({"n": 1, "user": "ann"}) + packed({"user": b"\n\x00", "n": [2]})
        assert running.send(data, 2) == [("ann", 1), (b"\n\x00", [2])]


def test_records_that_do_not_fit_go_to_the_dead_letters_which_say_why() -> None:
    with decoding(Json(outputs={"user": str, "n": int})) as running:
        good = b'{"user": "ann", "n": 1}\n'
        bad = b'{"user": "ann"}\n{"user": 7, "n": 1}\nno JSON\n'
        assert running.send(good + bad + good, 2, dead=3) == [("ann", 1)] * 2
        letters = running.cluster.dead_letters()
    assert [letter.values for letter in letters] == [(line,) for line in bad.splitlines()]
    assert letters[0].fields == ("record",)
    assert "missing required field `n`" in letters[0].error
    assert "Expected `str`, got `int` - at `$.user`" in letters[1].error
    assert "malformed" in letters[2].error


def test_a_function_gives_outputs_by_the_rules_of_an_output() -> None:
    def parse(record: bytes) -> Any:
        match record.decode().split(" "):
            case [""]:
                return None
            case ["pair", left, right]:
                return left, right
            case ["both", *items]:
                return [(item, "x") for item in items]
            case ["emit", item]:
                return Emit(item, "y")
            case ["later", *items]:
                return ((item, "z") for item in items)
            case ["drop"]:
                raise DropTuple("not wanted")
        raise ValueError(f"what is {record!r}?")

    with decoding(parse, outputs=("left", "right")) as running:
        data = b"pair a b\n\nboth c d\nemit e\ndrop\nlater f g\nwhat\npair h i\n"
        rows = [("a", "b"), ("c", "x"), ("d", "x"), ("e", "y"), ("f", "z"), ("g", "z"), ("h", "i")]
        assert running.send(data, 7, dead=1) == rows
        letter = running.cluster.dead_letters()[0]
        assert letter.values == (b"what",)
        assert "in parse" in letter.traceback
        running.cluster.run_until_idle()
        spout = running.cluster.metrics()["s"]
        assert (spout["emitted"], spout["dropped"], spout["dead"]) == (8, 1, 1)


def test_what_does_not_fit_the_fields_goes_to_the_dead_letters(caplog: pytest.LogCaptureFixture) -> None:
    with decoding(lambda record: record.decode(), outputs=("left", "right")) as running, caplog.at_level(logging.ERROR):
        running.send(b"one\n", 0, dead=1)
        assert "emit_arity" in running.cluster.dead_letters()[0].error + caplog.text


def test_a_decoder_may_end_the_worker() -> None:
    def parse(record: bytes) -> str:
        raise ValueError("never")

    with decoding(parse, outputs=("x",), on_error="die") as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"one\ntwo\n")
        deadline = time.monotonic() + 20
        while running.cluster.worker.run(deadline=running.cluster.worker.monotonic() + 0.05) != "died":
            assert time.monotonic() < deadline


def test_each_task_has_its_decoder_and_datagrams_have_one_too() -> None:
    topology, ports = Topology("t"), [free_port(), free_port()]
    two = TcpSpout.listen(f"127.0.0.1:{ports[0]}", decoder=Json(outputs=("n",)))
    one = UdpSpout.listen(f"127.0.0.1:{ports[1]}", decoder=Json(outputs=("n",)))
    streams = topology.spout("tcp", two, parallelism=2), topology.spout("udp", one)
    taken: list[int] = []
    topology.bolt("take", lambda n: taken.append(n)).shuffle(streams[0]).shuffle(streams[1])
    with LocalCluster(topology, simulated_time=False) as cluster, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        cluster.open()
        for n in range(10):
            with socket.create_connection(("127.0.0.1", ports[0])) as client:
                client.sendall(b'{"n": %d}\n' % n)
        datagrams.sendto(b'{"n": 10}', ("127.0.0.1", ports[1]))
        deadline = time.monotonic() + 20
        while len(taken) < 11:
            assert time.monotonic() < deadline
            cluster.worker.run(deadline=cluster.worker.monotonic() + 0.01)
    assert sorted(taken) == list(range(11))


def parse(record: bytes) -> None: ...


async def parse_slowly(record: bytes) -> None: ...


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"decoder": Json(Click, outputs=("user",))}, "keep one of them"),
        ({"decoder": Json(), "outputs": ("user",)}, r"Json\(outputs=…\)"),
        ({"decoder": MessagePack()}, "LengthPrefix"),
        ({"decoder": Json(outputs=7)}, "names"),
        ({"decoder": Json(dict[str, int] | Point)}, "cannot be decoded"),
        ({"decoder": parse}, "outputs="),
        ({"decoder": parse_slowly, "outputs": ("x",)}, "async"),
        ({"decoder": 7, "outputs": ("x",)}, "cannot be called"),
        ({"outputs": ("x",)}, "decoder=parse"),
    ],
)
def test_decoders_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(TopologyError, match=says) as caught:
        TcpSpout.listen("127.0.0.1:9999", framing=Lines(), **options)
    assert caught.value.code == "decoder_invalid"


def test_a_record_that_could_not_be_decoded_is_not_replayed(squall: Squall) -> None:
    """Its bytes are no value that a bolt could take."""
    port = free_port()
    text = """
        from squall import Topology
        from squall.connectors.tcp import Json, TcpSpout

        def make(port: int) -> Topology:
            topology = Topology("decoding")
            spout = TcpSpout.listen(f"127.0.0.1:{port}", decoder=Json())
            topology.bolt("take", lambda value: None).shuffle(topology.spout("s", spout))
            return topology
    """
    run = squall.run(text, "-p", f"port={port}")
    run.event("started")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"no JSON\n")
    wait_until(lambda: any(event["dead"] for event in run.events("progress")), what="the letter")
    replay = squall.done("dead", "replay", "decoding", "1")
    assert "could not be decoded" in replay.out + replay.err
    run.interrupt()
    assert run.end() == 0, run.err
    assert "no JSON" in squall.done("dead", "show", "decoding", "1").out
