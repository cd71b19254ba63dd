"""Receipts as a sender outside sees them: of a whole run, with letters on disk, through its drain."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from pathlib import Path
from threading import Thread
from typing import Any

from .conftest import NO_SECOND_LIFE, Running, Squall, free_port, wait_until

TOPOLOGY = """
    import time
    from squall import Topology
    from squall.connectors.tcp import TcpSpout

    def work(line: str):
        if line == "bad":
            raise ValueError(line)
        time.sleep(0.0002)

    def make(port: int) -> Topology:
        topology = Topology("receipts", settings={"topology.retries": 0})
        spout = TcpSpout.listen(f"127.0.0.1:{port}", receipts="processed")
        topology.bolt("work", work).shuffle(topology.spout("lines", spout))
        return topology
"""


DELIVERED = """
    from squall import Topology
    from squall.connectors.files import FileSink
    from squall.connectors.tcp import TcpSpout

    def make(port: int) -> Topology:
        topology = Topology("delivered")
        spout = TcpSpout.listen(f"127.0.0.1:{port}", receipts="processed")
        topology.bolt("file", FileSink("records")).shuffle(topology.spout("lines", spout))
        return topology
"""
REFERENCE = Path(__file__).parents[2] / "docs/reference/connectors.md"


def connect(squall: Squall) -> tuple[Running, socket.socket]:
    port = free_port()
    run = squall.run(TOPOLOGY, "-p", f"port={port}")
    run.event("started")
    return run, socket.create_connection(("127.0.0.1", port), timeout=30)


def received(client: socket.socket) -> list[int]:
    """Every receipt up to the end of the connection."""
    data = b""
    while piece := client.recv(1 << 16):
        data += piece
    assert data.endswith(b"\n")
    return [int(line) for line in data.split()]


def test_sender_that_half_closes_learns_that_all_is_done(squall: Squall) -> None:
    """The last receipt counts every record, the dead letters too; receipts only grow, a few for many records."""
    run, client = connect(squall)
    with client:
        client.sendall(b"good\n" * 2000 + b"bad\n" * 3 + b"good\n" * 2000)
        client.shutdown(socket.SHUT_WR)
        receipts = received(client)
    assert receipts[-1] == 4003
    assert receipts == sorted(set(receipts))
    assert len(receipts) < 1000
    run.interrupt()
    assert run.end() == 0, run.err
    assert run.summary()["dead"] == 3


def test_receipts_come_while_the_topology_cannot_keep_up(squall: Squall) -> None:
    """Receipts do not wait for room: they grow while the sender is made to wait."""
    run, client = connect(squall)
    with client:
        client.setblocking(False)
        sent, held, seen, data = 0, False, set[int](), b""
        deadline = time.monotonic() + 60
        while len(seen) < 5:
            assert time.monotonic() < deadline, (sent, held, data)
            readable, writable, _ = select.select([client], [client], [], 1)
            if writable:
                sent += client.send(b"x" * 999 + b"\n")
            held = held or not writable
            if readable:
                data = data.rpartition(b"\n")[2] + client.recv(1 << 16)
                seen.update(map(int, data.split(b"\n")[:-1]) if held else ())
        assert sent // 1000 > max(seen)
    run.process.kill()


def test_drain_sends_the_last_receipts_before_it_closes(squall: Squall) -> None:
    """What was receipted is exactly what the run has done, although the sender goes on to the end."""
    run, client = connect(squall)
    with client:
        client.sendall(b"line\n" * 3000)
        run.event("progress")
        run.interrupt()
        receipts = received(client)
    assert run.end() == 0, run.err
    summary = run.summary()
    assert receipts[-1] == summary["acked"] == summary["emitted"]


def test_sender_of_the_reference_loses_nothing_when_the_run_is_killed(squall: Squall) -> None:
    """What is shown to people works: all lines are there at the end, those that were under way perhaps twice."""
    names: dict[str, Any] = {}
    exec(REFERENCE.read_text().partition("```python\n")[2].partition("```")[0], names)
    port, path = free_port(), squall.folder / "records"
    lines = [f"line {number}" for number in range(30_000)]
    sender = Thread(target=names["deliver"], args=(lines, "127.0.0.1", port), daemon=True)
    run = squall.run(DELIVERED, "-p", f"port={port}", *NO_SECOND_LIFE)
    worker = run.worker_pid()
    sender.start()
    wait_until(lambda: path.exists() and path.stat().st_size, what="the first lines")
    os.kill(worker, signal.SIGKILL)
    run.end()
    run = squall.run(DELIVERED, "-p", f"port={port}")
    sender.join(60)
    assert not sender.is_alive()
    assert set(path.read_text().split("\n")) - {""} >= set(lines)
    run.interrupt()
    assert run.end() == 0, run.err
