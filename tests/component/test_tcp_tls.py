"""Encrypted TCP sources: certificates right and wrong, and clients who never finish a hand-shake."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from .conftest import Squall, free_port, wait_until

TOPOLOGY = """
    from squall import Topology
    from squall.connectors.files import FileSink
    from squall.connectors.tcp import TcpSpout, Tls

    def make(port: int) -> Topology:
        topology = Topology("tls")
        spout = TcpSpout.{spout}
        topology.bolt("file", FileSink("records")).shuffle(topology.spout("lines", spout))
        return topology
"""
LISTEN = 'listen(f"127.0.0.1:{port}", receipts="processed", tls=Tls("server.pem", "server.key"))'
MUTUAL = 'listen(f"127.0.0.1:{port}", tls=Tls("server.pem", "server.key", client_ca="ca.pem"))'
CONNECT = 'connect(f"localhost:{port}", tls=Tls(ca="ca.pem"))'


@dataclass
class Certificates:
    """An authority whose files are in the folder of the run."""

    authority: trustme.CA
    folder: Path

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificates(authority: trustme.CA, squall: Squall) -> Certificates:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(squall.folder / "ca.pem"))
    issued.private_key_pem.write_to_path(str(squall.folder / "server.key"))
    for certificate in issued.cert_chain_pems:
        certificate.write_to_path(str(squall.folder / "server.pem"), append=True)
    return Certificates(authority, squall.folder)


class Run:
    """An encrypted topology, started."""

    def __init__(self, squall: Squall, spout: str) -> None:
        self.port = free_port()
        self.path = squall.folder / "records"
        self.run = squall.run(TOPOLOGY.format(spout=spout), "-p", f"port={self.port}")
        self.run.event("started")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: self.path.exists() and self.path.read_text() == text, what=f"{text[:50]!r}")

    def end(self) -> None:
        self.run.interrupt()
        assert self.run.end() == 0, self.run.err


def test_encrypted_lines_come_and_receipts_go(squall: Squall, certificates: Certificates) -> None:
    """More than any buffer holds, in both TLS versions, at once with clients who never say a word."""
    server = Run(squall, LISTEN)
    silent = [server.connect() for _ in range(20)]
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        context = certificates.client()
        context.minimum_version = context.maximum_version = version
        with context.wrap_socket(server.connect(), server_hostname="localhost") as client:
            client.sendall(b"a line of some length\n" * 20_000)
            data = b""
            while not data.endswith(b"20000\n"):
                data += client.recv(1 << 16)
    server.wait_for("a line of some length\n" * 40_000)
    for client in silent:
        client.close()
    server.end()


def test_end_of_a_session_is_the_end_of_the_records(squall: Squall, certificates: Certificates) -> None:
    """close_notify is a half-close: all records are taken, the unended line too. A bare end is none: half is lost."""
    server = Run(squall, LISTEN.replace(' receipts="processed",', ""))
    with certificates.client().wrap_socket(server.connect(), server_hostname="localhost") as client:
        client.sendall(b"one\nlast")
        client.unwrap()
    server.wait_for("one\nlast\n")
    with certificates.client().wrap_socket(server.connect(), server_hostname="localhost") as client:
        client.sendall(b"two\nhal")
        client.shutdown(socket.SHUT_WR)
        while client.recv(1 << 16):  # what the server says at the start of a session, then the end
            pass
    server.wait_for("one\nlast\ntwo\n")
    server.end()


def test_bad_hand_shakes_are_reported_and_closed(squall: Squall, certificates: Certificates) -> None:
    """A client that speaks no TLS, and one that does not trust the server, harm nobody."""
    server = Run(squall, LISTEN)
    with server.connect() as plain:
        plain.sendall(b"no TLS at all, but a line\n")
        while plain.recv(100):  # an alert, then the end
            pass
    with pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(server.connect(), server_hostname="localhost")
    with certificates.client().wrap_socket(server.connect(), server_hostname="localhost") as client:
        client.sendall(b"good\n")
        server.wait_for("good\n")
    wait_until(lambda: server.run.err.count("code: tls_handshake") >= 2, what="both reports")
    server.end()
    metrics = server.run.summary()["components"]["lines"]["metrics"]
    assert metrics["handshakes"] == 2


def is_refused(client: ssl.SSLSocket) -> bool:
    try:
        client.sendall(b"from nobody\n")
        client.recv(1)
    except (ssl.SSLError, ConnectionError):
        return True
    return False


def test_only_clients_with_a_certificate(squall: Squall, certificates: Certificates) -> None:
    server = Run(squall, MUTUAL)
    with certificates.client().wrap_socket(server.connect(), server_hostname="localhost") as nobody:
        wait_until(lambda: is_refused(nobody), what="the refusal")
    context = certificates.client()
    certificates.authority.issue_cert("client").configure_cert(context)
    with context.wrap_socket(server.connect(), server_hostname="localhost") as client:
        client.sendall(b"from a friend\n")
        server.wait_for("from a friend\n")
    server.end()


def test_encrypted_servers_are_read(squall: Squall, certificates: Certificates) -> None:
    """A spout that connects trusts only whom it is told to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.authority.issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        text = TOPOLOGY.format(spout=CONNECT)
        run = squall.run(text, "-p", f"port={listener.getsockname()[1]}")
        stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost").configure_cert(stranger)
        with pytest.raises(ssl.SSLError):
            stranger.wrap_socket(listener.accept()[0], server_side=True).recv(1)
        with context.wrap_socket(listener.accept()[0], server_side=True) as server:
            server.sendall(b"welcome\n")
            path = squall.folder / "records"
            wait_until(lambda: path.exists() and path.read_text() == "welcome\n", what="the record")
    wait_until(lambda: "event=unreachable" in run.err, what="the line of the log")
    assert "hand-shake" in run.err
    run.interrupt()
    assert run.end() == 0, run.err


@pytest.mark.parametrize(
    ("spout", "named"),
    [
        (LISTEN.replace("server.pem", "missing.pem"), "missing.pem"),
        (LISTEN.replace("server.key", "server.pem"), "server.pem"),
        (LISTEN.replace("server.key", "other.key"), "other.key"),
        (MUTUAL.replace("ca.pem", "empty.pem"), "empty.pem"),
        (CONNECT.replace("ca.pem", "missing.pem"), "missing.pem"),
    ],
    ids=["no file", "no key", "another key", "no certificate", "a client's"],
)
def test_wrong_files_are_named(squall: Squall, certificates: Certificates, spout: str, named: str) -> None:
    (squall.folder / "empty.pem").write_text("nothing\n")
    other = certificates.authority.issue_cert("other").private_key_pem
    other.write_to_path(str(squall.folder / "other.key"))
    run = squall.done("run", squall.file(TOPOLOGY.format(spout=spout)), "-p", f"port={free_port()}")
    assert run.process.returncode == 1
    assert "code: tls_unusable" in run.err
    assert f"{named}: " in run.err
