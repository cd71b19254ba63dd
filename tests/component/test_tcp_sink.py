"""`TcpSink` and `UdpSink` of a real run, with a receiver that lags, breaks, or goes away."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from squall import Topology
from squall.connectors.tcp import TcpSink
from squall.testing import LocalCluster

from .conftest import Squall, wait_until
from .receiver import Receiver, at_random

TOPOLOGY = """
    from squall import Topology, Tuple
    from squall.connectors.tcp import TcpSink, Tls
    from squall.connectors.udp import UdpSink

    def rows():
        for n in range({count}):
            yield {row}

    def make(address: str) -> Topology:
        topology = Topology("sending")
        topology.bolt("sink", {sink}).shuffle(topology.spout("rows", rows, outputs={outputs}))
        return topology
"""


def started(squall: Squall, address: str, sink: str, count: int = 1, row: str = "n", outputs: Any = ("n",)) -> Any:
    text = TOPOLOGY.format(count=count, row=row, sink=sink, outputs=outputs)
    return squall.run(text, "-p", f"address={address}")


@pytest.mark.parametrize("receipts", [True, False])
def test_every_input_arrives_and_is_acked(squall: Squall, receipts: bool) -> None:
    with Receiver(receipts=receipts) as receiver:
        run = started(squall, receiver.address, f"TcpSink(address, receipts={receipts})", 20_000)
        assert run.end() == 0
        assert run.summary()["acked"] == 20_000
        assert receiver.records == [b"%d" % n for n in range(20_000)]


def test_breaks_and_an_outage_fail_nothing(squall: Squall) -> None:
    """What is not receipted is sent again; while the receiver is away the topology waits, and its user is told why."""
    with Receiver(breaks_after=at_random(3, 5000)) as receiver:
        receiver.stop()
        run = started(squall, receiver.address, "TcpSink(address, receipts=True, window_records=100)", 20_000)
        wait_until(
            lambda: "cannot be reached: Connection refused" in json.dumps(run.events("progress")), what="the report"
        )
        receiver.start()
        wait_until(lambda: len(receiver.records) > 1000, what="the first records")
        receiver.stop()
        receiver.start()
        assert run.end() == 0
        summary = run.summary()
        assert (summary["acked"], summary["failed"], summary["dead"]) == (20_000, 0, 0)
        assert set(receiver.records) == {b"%d" % n for n in range(20_000)}


def test_a_slow_receiver_slows_the_topology(squall: Squall) -> None:
    """No more is taken than the window; a receiver that lags for longer than the time-out fails nothing."""
    with Receiver() as receiver:
        receiver.reads.clear()
        text = TOPOLOGY.format(
            count=10_000, row="n", outputs=("n",), sink="TcpSink(address, receipts=True, window_records=50)"
        )
        run = squall.run(text, "-p", f"address={receiver.address}", "-c", "topology.message.timeout.secs=1")
        wait_until(lambda: len(run.events("progress")) >= 4, what="longer than the time-out")
        sink = run.events("progress")[-1]["components"]["sink"]
        assert sink["executed"] == 50
        receiver.reads.set()
        assert run.end() == 0
        assert run.summary()["failed"] == 0
        assert len(receiver.records) == 10_000


def test_a_run_whose_receiver_stays_away_ends_by_its_drain(squall: Squall) -> None:
    """It tells what is pending, exit code 1."""
    with Receiver() as receiver:
        receiver.stop()
        text = TOPOLOGY.format(count=10, row="n", outputs=("n",), sink="TcpSink(address)")
        run = squall.run(text, "-p", f"address={receiver.address}", "--drain", "1s")
        wait_until(lambda: run.events("progress") and run.events("progress")[-1]["pending"] == 10, what="all inputs")
        run.interrupt()
        assert run.end() == 1
        assert run.summary()["pending"] == 10
        receiver.start()


ENCODED: list[tuple[str, str, Any, bytes]] = [
    ("TcpSink(address)", "(n, 'tea', None)", ("n", "word", "more"), b"0\ttea\tNone"),
    ('TcpSink(address, encoder="json")', "(n, 'a\\nb')", ("n", "word"), b'{"n":0,"word":"a\\nb"}'),
    ('TcpSink(address, encoder="raw")', "(b'raw',)", ("data",), b"raw"),
    ('TcpSink(address, encoder=lambda tup: tup["word"].upper())', "(n, 'tea')", ("n", "word"), b"TEA"),
]


@pytest.mark.parametrize(("sink", "row", "outputs", "record"), ENCODED, ids=["text", "json", "raw", "function"])
def test_encoders(squall: Squall, sink: str, row: str, outputs: Any, record: bytes) -> None:
    with Receiver(receipts=False) as receiver:
        run = started(squall, receiver.address, sink, 1, row, outputs)
        assert run.end() == 0
        wait_until(lambda: receiver.records, what="the record")
        assert receiver.records == [record]


def test_what_cannot_be_a_record_is_a_dead_letter(squall: Squall) -> None:
    """At once, and alone: another try would send the same."""
    with Receiver(receipts=False) as receiver:
        run = started(squall, receiver.address, "TcpSink(address)", 2, "'two\\nlines' if n else 'one'")
        assert run.end() == 0
        summary = run.summary()
        assert (summary["acked"], summary["dead"]) == (1, 1)
        assert "line feed in its middle" in squall.done("dead", "list", "sending").out
        wait_until(lambda: receiver.records == [b"one"], what="the other record")


def test_tls_and_a_unix_socket(squall: Squall) -> None:
    authority, ca = trustme.CA(), squall.folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    sinks = {"tls": f"TcpSink(address, receipts=True, tls=Tls(ca={str(ca)!r}))", "unix": "TcpSink(address)"}
    for kind, options in (("tls", {"tls": context}), ("unix", {"path": squall.folder / "sock", "receipts": False})):
        with Receiver(**options) as receiver:
            assert started(squall, receiver.address, sinks[kind], 1000).end() == 0
            wait_until(lambda receiver=receiver: len(receiver.records) == 1000, what="the records")


def test_each_task_has_a_connection_of_its_own(squall: Squall) -> None:
    with Receiver() as receiver:
        text = TOPOLOGY.format(count=1000, row="n", outputs=("n",), sink="TcpSink(address, receipts=True)")
        text = text.replace(").shuffle(", ", parallelism=3).shuffle(")
        assert squall.run(text, "-p", f"address={receiver.address}").end() == 0
        assert receiver.connections == 3
        assert len(receiver.records) == 1000


def test_a_sink_in_simulated_time() -> None:
    """Its receiver is real; a test waits for it outside of the cluster's time."""
    with Receiver() as receiver:
        topology = Topology("simulated")
        numbers = topology.spout("numbers", lambda: iter(()), outputs=("n",))
        topology.bolt("sink", TcpSink(receiver.address, receipts=True)).shuffle(numbers)
        with LocalCluster(topology, mock_sources={"numbers": range(100)}) as cluster:

            def acked() -> bool:
                cluster.run_until_idle()
                return len(cluster.acked("numbers")) == 100

            wait_until(acked, what="the acks")


def test_datagrams(squall: Squall) -> None:
    """One each; what is too long for one is a dead letter."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(30)
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        run = started(squall, address, "UdpSink(address)", 2, "'x' * 70_000 if n else 'short'")
        assert listening.recv(1 << 16) == b"short"
        assert run.end() == 0
        assert run.summary()["dead"] == 1


def test_datagrams_that_nobody_takes_are_lost(squall: Squall) -> None:
    """At most once: nothing tells, and nothing fails."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    run = started(squall, address, "UdpSink(address)", 1000)
    assert run.end() == 0
    assert run.summary()["acked"] == 1000


def test_a_file_for_tls_that_is_not_there_fails_the_run(squall: Squall, tmp_path: Path) -> None:
    run = started(squall, "127.0.0.1:1", 'TcpSink(address, tls=Tls(ca="nowhere.pem"))')
    assert run.end() == 1
    assert "tls_unusable" in run.err


def test_a_receiver_that_never_sends_receipts_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squall.connectors.tcp_sink.SILENT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        topology = Topology("silent")
        sink = TcpSink(f"127.0.0.1:{receiver.getsockname()[1]}", receipts=True)
        topology.bolt("sink", sink).shuffle(topology.spout("s", lambda: iter(()), outputs=("x",)))
        with LocalCluster(topology, mock_sources={"s": ["a"]}, simulated_time=False) as cluster:

            def told() -> bool:
                cluster.advance(0.2)
                return any("sent no receipt" in report.error for report in cluster.errors())

            wait_until(told)
            assert len(cluster.errors()) == 1
            cluster.advance(1.5)
            assert len(cluster.errors()) == 1
