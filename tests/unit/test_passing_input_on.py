"""Standard input as the parent keeps it and passes it on."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from squall.engines.embedded import standard_input
from squall.engines.embedded.standard_input import StandardInput
from squall.runtime.standard_input import Place

PIECES = 20_000


@contextmanager
def writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What is sent here is standard input, each packet read by itself. At the end its reader has ended as well, else it
    might read what another test gets under the same number."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        monkeypatch.setattr(standard_input, "STDIN", theirs.fileno())
        with ours:
            yield ours
        for thread in threading.enumerate():
            if thread.name == "squall-stdin":
                thread.join()


def read(connection: socket.socket, size: int) -> bytes:
    """So many bytes; fewer at the end."""
    out = b""
    with connection:
        while len(out) < size and (data := connection.recv(1 << 16)):
            out += data
    return out


def test_small_pieces_take_no_more_memory_than_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = StandardInput()
    sent = b"".join(f"{n % 10}\n".encode() for n in range(PIECES))
    tracemalloc.start()
    try:
        with writer(monkeypatch) as ours:
            before, _ = tracemalloc.get_traced_memory()
            stdin.start()
            for at in range(0, len(sent), 2):
                ours.send(sent[at : at + 2])
            assert read(stdin.connect(), len(sent)) == sent
            after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 5 * len(sent)


def test_a_new_connection_goes_on_where_all_had_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a piece, and at each of its ends."""
    monkeypatch.setattr(standard_input, "PIECE_BYTES", 4)
    text = bytes(range(100))
    stdin = StandardInput()
    with writer(monkeypatch) as ours:
        stdin.start()
        for at in range(0, len(text), 3):
            ours.send(text[at : at + 3])
        assert read(stdin.connect(), len(text)) == text
        for offset in (1, 4, 5, 50, 97, 99):
            stdin.ended(Place(offset=offset).encode())
            assert read(stdin.connect(), len(text) - offset) == text[offset:]
        stdin.ended(Place(offset=100).encode())
        connection = stdin.connect()
        ours.send(b"more")
        assert read(connection, 4) == b"more"


def test_no_thread_left_is_an_error_like_no_descriptor_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", start)
    with pytest.raises(OSError, match="can't start new thread"):
        StandardInput().connect()
