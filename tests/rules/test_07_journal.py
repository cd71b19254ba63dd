"""Semantics 33: what is on disk when, against real sockets and files, over the lives of a spout."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from squall import Bolt, Topology, Tuple
from squall.connectors.tcp import Json
from squall.connectors.unix import UnixSpout
from squall.errors import ClusterError
from squall.testing import LocalCluster

WITHIN_S = 20.0


class Hold(Bolt):
    """Keeps its inputs until it is told to let them go."""

    manual_ack = True

    def open(self, context: object) -> None:
        self.held: dict[Any, Tuple] = {}

    def process(self, tup: Tuple) -> None:
        self.held[tup[0]] = tup


class Serving:
    """One life of a spout with a journal."""

    def __init__(self, cluster: LocalCluster, path: Path) -> None:
        self.cluster, self.path = cluster, path

    @property
    def held(self) -> list[Any]:
        return list(self.cluster.task("hold", Hold).held)

    def ack(self, *values: Any) -> None:
        hold = self.cluster.task("hold", Hold)
        for value in values:
            hold.ack(hold.held.pop(value))

    def until(self, condition: Callable[[], Any]) -> Any:
        worker, deadline = self.cluster.worker, time.monotonic() + WITHIN_S
        while not (found := condition()):
            assert time.monotonic() < deadline
            worker.run(deadline=worker.monotonic() + 0.01)
        return found

    def send(self, data: bytes) -> bytes:
        """What a sender is told that sends this and reads until it has told its last record."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            client.setblocking(False)
            told: list[bytes] = []

            def is_over() -> bool:
                try:
                    told.append(client.recv(1 << 16))
                except BlockingIOError:
                    return False
                return not told[-1]

            self.until(is_over)
            return b"".join(told).split()[-1]


@contextmanager
def serving(folder: Path, receipts: Any = "stored", **options: Any) -> Generator[Serving]:
    spout = UnixSpout.listen(folder / "socket", journal=folder / "journal", receipts=receipts, **options)
    topology = Topology("kept", settings={"topology.retries": 0})
    topology.bolt("hold", Hold).shuffle(topology.spout("lines", spout))
    with LocalCluster(topology, simulated_time=False) as cluster:
        cluster.open()
        yield Serving(cluster, folder / "socket")


def nothing(record: bytes) -> list[str]:
    return []


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal/0/*.journal"))


def test_33_a_receipt_of_what_is_stored_does_not_wait_for_its_end(tmp_path: Path) -> None:
    """One that was skipped as too long is counted, and is not there again."""
    with serving(tmp_path, max_record=9) as server:
        assert server.send(b"a\ntoo long for it\nb\n") == b"3"
        server.until(lambda: server.held == ["a", "b"])
    with serving(tmp_path) as server:
        server.until(lambda: server.held == ["a", "b"])


def test_33_what_had_not_ended_comes_before_new_records_and_in_its_order(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.send(b"a\nb\nc\nd\n") == b"4"
        server.until(lambda: len(server.held) == 4)
        server.ack("a", "c")
    with serving(tmp_path) as server:
        assert server.send(b"e\n") == b"1"
        server.until(lambda: len(server.held) == 4)
        assert server.held == ["b", "c", "d", "e"]
        server.ack("b", "c", "d", "e")
    assert segments(tmp_path) == []
    with serving(tmp_path) as server:
        assert server.send(b"f\n") == b"1"
        server.until(lambda: server.held == ["f"])


def test_33_receipts_of_what_is_processed_go_with_a_journal(tmp_path: Path) -> None:
    """A sender of the life before is not confused with one of this."""
    with serving(tmp_path, "processed") as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.path))
        client.sendall(b"a\nb\n")
        server.until(lambda: server.held == ["a", "b"])
    with serving(tmp_path, "processed") as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.path))
        client.sendall(b"c\n")
        server.until(lambda: server.held == ["a", "b", "c"])
        server.ack("c")
        client.settimeout(0)
        told: list[bytes] = []

        def receipt() -> bool:
            try:
                told.append(client.recv(100))
            except BlockingIOError:
                return False
            return True

        server.until(receipt)
        assert told == [b"1\n"]
        server.ack("a", "b")
    assert segments(tmp_path) == []


def test_33_what_is_a_dead_letter_has_ended(tmp_path: Path) -> None:
    """No text, refused by a decoder, without outputs: none of it comes again."""
    with serving(tmp_path) as server:
        assert server.send(b"\xff\n") == b"1"
        server.until(lambda: len(server.cluster.dead_letters()) == 1)
    assert segments(tmp_path) == []
    with serving(tmp_path, decoder=Json(outputs=("n",))) as server:
        assert server.send(b'{"n": 1}\nno json\n{"n": 2}\n') == b"3"
        server.until(lambda: server.held == [1, 2] and len(server.cluster.dead_letters()) == 1)
        server.ack(1, 2)
    assert segments(tmp_path) == []
    with serving(tmp_path, "processed", decoder=nothing, outputs=("n",)) as server:
        assert server.send(b"a\nb\n") == b"2"
    assert segments(tmp_path) == []


def test_33_a_record_of_several_outputs_ends_with_the_last(tmp_path: Path) -> None:
    def words(record: bytes) -> list[str]:
        return record.decode().split()

    with serving(tmp_path, decoder=words, outputs=("word",)) as server:
        assert server.send(b"a b\nc d\n") == b"2"
        server.until(lambda: len(server.held) == 4)
        server.ack("a", "c", "b")
    with serving(tmp_path, decoder=words, outputs=("word",)) as server:
        server.until(lambda: server.held == ["c", "d"])


def test_33_one_process_has_a_journal(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/journal").symlink_to(tmp_path / "journal")
    with serving(tmp_path), pytest.raises(ClusterError, match="journal_in_use"), serving(tmp_path / "other"):
        pass
