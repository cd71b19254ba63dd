"""One running topology with a source of each kind, and what each should have taken of what was sent to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme

MAX_RECORD = 1024
WITHIN_S = 30.0
TOPOLOGY = """
from squall import Topology
from squall.connectors.files import FileSink
from squall.connectors.http import HttpSpout
from squall.connectors.tcp import Delimiter, Fixed, LengthPrefix, Lines, TcpSpout, Tls
from squall.connectors.udp import UdpSpout
from squall.connectors.unix import UnixSpout

topology = Topology("wires")
for name, framing in {
    "lines": Lines("record"), "delimiter": Delimiter(b"||"), "fixed": Fixed(8), "length1": LengthPrefix(1),
    "length2": LengthPrefix(2), "length4": LengthPrefix(4), "length8": LengthPrefix(8, big_endian=False),
}.items():
    spout = topology.spout(name, TcpSpout.listen("127.0.0.1:0", framing=framing, max_record=1024))
    topology.bolt("of-" + name, FileSink(f"{name}.out")).shuffle(spout)
tls = Tls("server.pem", "server.key")
for name, source in {
    "tls": TcpSpout.listen("127.0.0.1:0", framing=Lines("record"), tls=tls, max_record=1024),
    "udp": UdpSpout.listen("127.0.0.1:0", text=True, max_record=1024),
    "unix": UnixSpout.listen("wires.sock", framing=Lines("record"), max_record=1024),
    "http": HttpSpout.listen("127.0.0.1:0", path="/in", max_body=1024),
}.items():
    topology.bolt("of-" + name, FileSink(f"{name}.out")).shuffle(topology.spout(name, source))
"""


def until(condition: Callable[[], Any], what: str) -> Any:
    """What the condition returns once it is true."""
    deadline = time.monotonic() + WITHIN_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {WITHIN_S} s"
        time.sleep(0.005)
    return found


class Wires:
    """The topology while it runs. `expected` counts the good records that each source was sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.expected: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        (folder / "wires.py").write_text(TOPOLOGY)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        server = authority.issue_cert("127.0.0.1")
        server.private_key_pem.write_to_path(str(folder / "server.key"))
        for blob in server.cert_chain_pems:
            blob.write_to_path(str(folder / "server.pem"), append=True)
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "squall.cli", "run", "wires.py", "--json", "--drain", "10s"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=os.environ | {"SQUALL_STORM_LOCAL_DIR": str(folder / "state")},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        started = until(lambda: self._event("started"), "the start")
        until(lambda: self._event("progress"), "the first progress")
        self.worker: int = started["workers"][0]["pid"]
        self.addresses: dict[str, str] = started["listening"]

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def _event(self, kind: str) -> Any:
        lines = [line for line in self._out.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return next((event for event in map(json.loads, lines) if event["event"] == kind), None)

    def connect(self, name: str) -> socket.socket:
        """A connection to a source."""
        if name == "unix":
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.settimeout(WITHIN_S)
            client.connect(str(self.folder / "wires.sock"))
            return client
        host, _, port = self.addresses[name].rpartition(":")
        if name == "udp":
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.connect((host, int(port)))
            return client
        client = socket.create_connection((host, int(port)), timeout=WITHIN_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def secured(self) -> socket.socket:
        """A connection with TLS."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        return context.wrap_socket(self.connect("tls"), server_hostname="127.0.0.1")

    def send(self, name: str, data: bytes) -> None:
        """Sends on a connection of its own, and waits until the source has taken everything and closed."""
        with self.connect(name) as client:
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 16):
                    pass
            except OSError:  # it closed first
                pass

    def reset(self, name: str, data: bytes) -> None:
        """Sends and breaks the connection off."""
        client = self.connect(name)
        client.sendall(data)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    def records(self, name: str) -> int:
        """How many good records have come through."""
        path = self.folder / f"{name}.out"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def all_counted(self, name: str) -> None:
        """Everything good that was sent has come through, and nothing else."""
        until(lambda: self.records(name) >= self.expected[name], f"record {self.expected[name]} of {name}")
        assert self.records(name) == self.expected[name], name
        assert Path(f"/proc/{self.worker}").exists(), self.err

    def end(self) -> dict[str, Any]:
        """The summary."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(WITHIN_S) == 0, self.err
        return self._event("summary")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
