"""TCP spouts that connect to servers, which come and go."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from .conftest import Running, Squall, free_port, wait_until

TOPOLOGY = """
    from squall import Topology
    from squall.connectors.files import FileSink
    from squall.connectors.tcp import TcpSpout

    def make(ports: list[int]) -> Topology:
        topology = Topology("connect")
        addresses = [f"127.0.0.1:{{port}}" for port in ports]
        spout = TcpSpout.connect(*addresses, {options})
        lines = topology.spout("lines", spout, parallelism={parallelism})
        topology.bolt("file", FileSink("records")).shuffle(lines)
        return topology
"""


class Server:
    """One that the spout connects to."""

    def __init__(self, port: int = 0) -> None:
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.settimeout(30)
        self.port: int = self.listener.getsockname()[1]

    @contextlib.contextmanager
    def taken(self) -> Iterator[socket.socket]:
        connection, _ = self.listener.accept()
        connection.settimeout(30)
        with connection:
            yield connection


def connecting(squall: Squall, *ports: int, options: str = "", parallelism: int = 1) -> tuple[Running, Path]:
    text = TOPOLOGY.format(options=options, parallelism=parallelism)
    return squall.run(text, "-p", f"ports={list(ports)}"), squall.folder / "records"


def wait_for(path: Path, *lines: str) -> None:
    wait_until(lambda: path.exists() and sorted(path.read_text().splitlines()) == sorted(lines), what=f"{lines}")


def end(run: Running) -> None:
    run.interrupt()
    assert run.end() == 0, run.err


def test_several_servers_are_shared_out_among_the_tasks(squall: Squall) -> None:
    """Each server is connected to once, whichever task reads it."""
    servers = [Server() for _ in range(3)]
    run, path = connecting(squall, *(server.port for server in servers), parallelism=2)
    with contextlib.ExitStack() as connections:
        for number, server in enumerate(servers):
            connections.enter_context(server.taken()).sendall(b"from %d\n" % number)
        wait_for(path, "from 0", "from 1", "from 2")
        for server in servers:
            server.listener.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                server.listener.accept()
                raise AssertionError("a second connection")
        end(run)


def test_server_that_goes_and_comes_back(squall: Squall) -> None:
    """Each change is one line in the log, however many calls it took; the figures show how it stands."""
    port = free_port()
    run, path = connecting(squall, port, options="backoff=0.01, backoff_max=0.05")
    wait_until(lambda: run.err.count("event=unreachable") == 1, what="the first line")
    figures = lambda: (run.events("progress") or [{}])[-1].get("components", {}).get("lines", {}).get("metrics", {})  # noqa: E731
    wait_until(lambda: figures().get("unreachable", 0) > 5, what="some calls")
    server = Server(port)
    with server.taken() as connection:
        connection.sendall(b"one\nunended")
        wait_for(path, "one")
        wait_until(lambda: figures().get("connections") == 1, what="the figure")
    with server.taken() as connection:
        connection.sendall(b"two\n")
        wait_for(path, "one", "unended", "two")
    server.listener.close()
    wait_until(lambda: run.err.count("event=unreachable") == 2, what="the second line")
    assert run.err.count("event=disconnected") == 2
    end(run)


def test_without_reconnecting_the_run_ends_with_its_servers(squall: Squall) -> None:
    servers = [Server(), Server()]
    run, path = connecting(squall, *(server.port for server in servers), options="reconnect=False")
    for server in servers:
        with server.taken() as connection:
            connection.sendall(b"all there is\n")
    assert run.end() == 0, run.err
    assert path.read_text() == "all there is\n" * 2


def test_servers_get_receipts(squall: Squall) -> None:
    server = Server()
    run, path = connecting(squall, server.port, options='receipts="processed"')
    with server.taken() as connection:
        connection.sendall(b"one\ntwo\n")
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while piece := connection.recv(100):
            data += piece
    assert data.endswith(b"2\n")
    wait_for(path, "one", "two")
    end(run)


def test_drain_takes_what_the_sockets_hold(squall: Squall) -> None:
    """Semantics 35."""
    server = Server()
    run, path = connecting(squall, server.port)
    with server.taken() as connection:
        connection.sendall(b"one\ntwo\n")
        end(run)
    assert path.read_text() == "one\ntwo\n"
