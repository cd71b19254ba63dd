"""Spouts of Unix sockets."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest
from squall.connectors.unix import UnixSpout
from squall.errors import ClusterError

from .conftest import Running, Squall, wait_until

TOPOLOGY = """
    from squall import Topology
    from squall.connectors.files import FileSink
    from squall.connectors.unix import UnixSpout

    def make(path: str) -> Topology:
        topology = Topology("unix")
        spout = UnixSpout.listen(path, receipts="processed")
        topology.bolt("file", FileSink("records")).shuffle(topology.spout("lines", spout))
        return topology
"""


def start(squall: Squall, path: Path) -> Running:
    return squall.run(TOPOLOGY, "-p", f"path={path}")


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(path))
    return client


def test_records_come_receipts_go_and_the_socket_is_removed(squall: Squall) -> None:
    path = squall.folder / "intake"
    run = start(squall, path)
    assert run.event("started")["listening"] == {"lines": str(path)}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with connect(path) as client:
        client.sendall(b"one\ntwo")
        client.shutdown(socket.SHUT_WR)
        data = b""
        while piece := client.recv(100):
            data += piece
        assert data.endswith(b"2\n")
    run.interrupt()
    assert run.end() == 0, run.err
    assert (squall.folder / "records").read_text() == "one\ntwo\n"
    assert not path.exists()


def test_a_path_longer_than_a_socket_address(squall: Squall) -> None:
    folder = squall.folder / ("long" * 40)
    folder.mkdir()
    run = start(squall, folder / "intake")
    run.event("started")
    descriptor = os.open(folder, os.O_RDONLY)
    with connect(Path(f"/proc/self/fd/{descriptor}/intake")) as client:
        client.sendall(b"one\n")
        wait_until(lambda: (squall.folder / "records").exists(), what="the record")
    os.close(descriptor)
    run.interrupt()
    assert run.end() == 0, run.err


def test_a_left_over_socket_is_replaced_and_one_in_use_is_not(squall: Squall) -> None:
    path = squall.folder / "intake"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    run = start(squall, path)
    run.event("started")
    second = squall.done("run", squall.file(TOPOLOGY), "-p", f"path={path}", "-c", "storm.local.dir=elsewhere")
    assert second.process.returncode == 1
    assert "code: port_taken" in second.err
    with connect(path) as client:
        client.sendall(b"one\n")
        wait_until(lambda: (squall.folder / "records").exists(), what="the record")
    run.interrupt()
    assert run.end() == 0, run.err


def test_a_listener_whose_queue_is_full_is_somebody_too(tmp_path: Path) -> None:
    """A connection to it would wait until it takes one, which it may never do."""
    path = tmp_path / "intake"
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        is_full = False
        while not is_full:
            client = opened.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            is_full = client.connect_ex(str(path)) != 0
        with pytest.raises(ClusterError) as caught:
            UnixSpout.listen(path).bind()
        assert caught.value.code == "port_taken"
        assert path.exists()


def test_a_file_that_is_no_socket_is_kept(squall: Squall) -> None:
    path = squall.folder / "intake"
    path.write_text("precious")
    run = squall.done("run", squall.file(TOPOLOGY), "-p", f"path={path}")
    assert run.process.returncode == 1
    assert "code: address_unusable" in run.err
    assert path.read_text() == "precious"


def test_datagrams_come_and_their_senders_wait_for_a_slow_bolt(squall: Squall) -> None:
    """Unlike UDP, nothing is lost."""
    path = squall.folder / "intake"
    run = squall.run(
        """
        import time
        from squall import Topology
        from squall.connectors.unix import UnixSpout

        def make(path: str) -> Topology:
            topology = Topology("unix")
            spout = UnixSpout.datagrams(path, text=True)
            topology.bolt("slow", lambda record: time.sleep(0.0005)).shuffle(topology.spout("records", spout))
            return topology
        """,
        "-p", f"path={path}",
    )  # fmt: skip
    run.event("started")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(str(path))
        for number in range(3000):
            client.send(b"record %d" % number)
    run.interrupt()
    assert run.end() == 0, run.err
    assert run.summary()["acked"] == 3000
    assert not path.exists()
