"""UDP spouts: what comes, what is too long, what is lost."""

from __future__ import annotations

import socket

from .conftest import Running, Squall, wait_until

TOPOLOGY = """
    import time
    from squall import Topology
    from squall.connectors.files import FileSink
    from squall.connectors.udp import UdpSpout

    def slow(line: str) -> str:
        time.sleep({sleep})
        return line

    def make() -> Topology:
        topology = Topology("udp")
        spout = UdpSpout.listen("127.0.0.1:0", field="line", text=True, {options})
        lines = topology.bolt("slow", slow, outputs=("line",)).shuffle(topology.spout("lines", spout))
        topology.bolt("file", FileSink("records")).shuffle(lines)
        return topology
"""


def receiving(squall: Squall, sleep: float = 0, options: str = "") -> tuple[Running, socket.socket]:
    run = squall.run(TOPOLOGY.format(sleep=sleep, options=options))
    host, _, port = run.event("started")["listening"]["lines"].rpartition(":")
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect((host, int(port)))
    return run, client


def metrics(run: Running) -> dict[str, float]:
    events = run.events("progress")
    return events[-1]["components"]["lines"]["metrics"] if events else {}


def test_each_datagram_is_a_record(squall: Squall) -> None:
    """What is too long, or no text, is reported and harms nothing else."""
    run, client = receiving(squall, options="max_record=100")
    with client:
        for datagram in (b"one", b"x" * 101, b"\xff\xfe", b"", b"last"):
            client.send(datagram)
    path = squall.folder / "records"
    wait_until(lambda: path.exists() and path.read_text() == "one\n\nlast\n", what="the records")
    run.interrupt()
    assert run.end() == 0, run.err
    summary = run.summary()
    assert (summary["acked"], summary["dead"]) == (3, 1)
    assert summary["components"]["lines"]["metrics"]["oversize"] == 1
    assert "longer than 100 bytes" in run.err


def test_what_the_kernel_drops_is_counted_and_reported(squall: Squall) -> None:
    """Nobody can make a sender of UDP wait; that datagrams are lost is at least no secret."""
    run, client = receiving(squall, sleep=0.001, options="receive_buffer=4096")
    with client:

        def lost() -> float:
            for _ in range(1000):
                client.send(b"x" * 1000)
            return metrics(run).get("dropped", 0)

        wait_until(lost, what="a loss")
    wait_until(lambda: "code: datagrams_lost" in run.err, what="the report")
    run.process.kill()


def test_drain_takes_what_the_socket_holds(squall: Squall) -> None:
    """Semantics 35."""
    run, client = receiving(squall)
    with client:
        for _ in range(100):
            client.send(b"line")
        run.interrupt()
    assert run.end() == 0, run.err
    assert run.summary()["acked"] == 100
