"""The thread that serves HTTP: how long it keeps connections on which nothing is asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from squall.connectors.http import server

SOON_S = 0.1


@contextmanager
def serving(app: Any) -> Iterator[Callable[[], socket.socket]]:
    """How one connects to a server of `app`."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    thread = server.ServerThread(app, listener, 10)
    try:
        yield lambda: socket.create_connection(address, timeout=20)
    finally:
        thread.close()


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("said", [b"", b"POST / HTTP/1.1\r\nHost: a\r\n"], ids=["nothing", "half a head"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_connection_on_which_no_request_comes_is_closed(
    monkeypatch: pytest.MonkeyPatch, said: bytes, is_first: bool
) -> None:
    monkeypatch.setattr(server, "REQUEST_WITHIN_S", SOON_S)
    monkeypatch.setattr(server, "KEEP_ALIVE_S", SOON_S)
    with serving(answer) as connect, connect() as client:
        if not is_first:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 204")
        client.sendall(said)
        assert client.recv(1000) == b""


def test_a_request_that_is_being_answered_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_WITHIN_S", SOON_S)
    others_closed = Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        while not others_closed.is_set():
            await asyncio.sleep(0.001)
        await answer(scope, receive, send)

    with serving(patient) as connect, connect() as asking:
        asking.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        with connect() as silent:
            assert silent.recv(1000) == b""
        others_closed.set()
        assert asking.recv(1000).startswith(b"HTTP/1.1 204")
