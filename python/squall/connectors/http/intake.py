"""Takes records from requests: an ASGI application with a bounded queue, to be served by anyone.

It runs in an event loop of its server's; `take` and `ended` are called by the spout's task, on its executor. The queue
is the only thing between them.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines", "text/plain")
"""Content types whose bodies are one record a line."""
MAX_RECEIVING_BYTES = 64 << 20
"""Bytes of unfinished bodies at which requests are refused."""
PART_WITHIN_S = 30.0
"""How long a client may send nothing of an unfinished body."""
RETRY_AFTER_S = 1
TOO_MANY = "too many requests are being received"


@dataclass(slots=True)
class Waiting:
    """A request that is answered when all its records have ended."""

    left: int
    answer: asyncio.Future[None]
    dead: int = 0


@dataclass(slots=True)
class Refused(Exception):
    """A request that is not taken, and the answer that says why."""

    status: int
    title: str
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """How requests become records; `decode` raises for what is none."""

    path: str
    is_lines: bool | None
    decode: Callable[[bytes], object]
    waits: bool
    max_body: int
    max_queued: int


class Intake:
    """The ASGI application of one spout's task.

    Bound: `max_queued` records wait for the topology, and one body more; a request that finds no room gets 503.
    """

    def __init__(self, rules: Rules, wake: Callable[[], object] = lambda: None) -> None:
        self._rules, self._wake = rules, wake
        self._queue: deque[tuple[object, Waiting | None]] = deque()
        self._receiving = 0
        self._is_closed = False
        self._lock = threading.Lock()

    # -- the spout's side ----------------------------------------------------------------------------------------

    def take(self, limit: int) -> list[tuple[object, Waiting | None]]:
        """At most `limit` records, each with what waits for its end."""
        return [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]

    @property
    def queued(self) -> int:
        """Records that the topology has not taken yet."""
        return len(self._queue)

    def close(self) -> None:
        """Takes no more records; all that were taken are in the queue when this returns."""
        with self._lock:
            self._is_closed = True

    def ended(self, waiting: Waiting, is_dead: bool) -> None:
        """One record of a request has ended; the last one has it answered."""
        waiting.left -= 1
        waiting.dead += is_dead
        loop = waiting.answer.get_loop()
        if not waiting.left and not loop.is_closed():
            loop.call_soon_threadsafe(_answered, waiting.answer)

    # -- the server's side ---------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        try:
            if scope["method"] in ("GET", "HEAD"):
                self._check_path(scope)
                await _send(send, 200, "text/plain; charset=utf-8", _hint(scope), head=scope["method"] == "HEAD")
            else:
                await self._post(scope, receive, send)
        except Refused as refused:
            problem = {"title": refused.title, "status": refused.status, "detail": refused.detail}
            body = json.dumps(problem, ensure_ascii=False).encode() + b"\n"
            await _send(send, refused.status, "application/problem+json", body, refused.headers)

    def _check_path(self, scope: Scope) -> None:
        if scope["path"] != scope.get("root_path", "").rstrip("/") + self._rules.path and (
            scope["path"] != self._rules.path
        ):
            raise Refused(404, "not found", f"records are taken at {self._rules.path}")

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_path(scope)
        if scope["method"] != "POST":
            raise Refused(405, "method not allowed", "use POST", (("allow", "POST, GET, HEAD"),))
        self._check_room()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if "transfer-encoding" in headers and "content-length" in headers:
            # Two servers in a row may disagree on where such a body ends: what one takes for a record is a request to
            # the other.
            why = "a body has a length or is chunked, not both"
            raise Refused(400, "ambiguous length", why, (("connection", "close"),))
        if headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "unsupported encoding", "send the body as it is, not compressed")
        body = await self._body(headers, receive)
        records = self._records(headers, body)
        waiting = Waiting(len(records), asyncio.get_running_loop().create_future()) if self._rules.waits else None
        with self._lock:
            self._check_open()
            if self._queue and len(self._queue) + len(records) > self._rules.max_queued:
                raise _busy("the topology is behind")
            self._queue.extend((record, waiting) for record in records)
        self._wake()
        answer: dict[str, int] = {"records": len(records)}
        if waiting is not None:
            await waiting.answer
            answer["dead"] = waiting.dead
        await _send(send, 202 if waiting is None else 200, "application/json", json.dumps(answer).encode() + b"\n")

    def _check_open(self) -> None:
        if self._is_closed:
            raise _busy("the topology is ending", ("connection", "close"))

    def _check_room(self) -> None:
        self._check_open()
        if len(self._queue) >= self._rules.max_queued:
            raise _busy("the topology is behind")
        if self._receiving >= MAX_RECEIVING_BYTES:
            raise _busy(TOO_MANY)

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        most = self._rules.max_body
        too_long = Refused(413, "body too long", f"a body has at most {most} bytes", (("connection", "close"),))
        if _is_over(headers.get("content-length", ""), most):
            raise too_long
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                event = await _next_part(receive)
                if event["type"] == "http.disconnect":
                    raise Refused(400, "disconnected", "the body did not end")
                part: bytes = event.get("body", b"")
                size += len(part)
                self._receiving += len(part)
                if size > most:
                    raise too_long
                if self._receiving - size >= MAX_RECEIVING_BYTES:  # of others
                    raise _busy(TOO_MANY, ("connection", "close"))
                parts.append(part)
                if not event.get("more_body"):
                    return b"".join(parts)
        finally:
            self._receiving -= size

    def _records(self, headers: dict[str, str], body: bytes) -> Sequence[object]:
        is_lines = self._rules.is_lines
        if is_lines is None:
            is_lines = headers.get("content-type", "").partition(";")[0].strip().lower() in LINES
        raw = [line for line in (one.rstrip(b"\r") for one in body.split(b"\n")) if line] if is_lines else [body]
        if not body or not raw:
            raise Refused(400, "no record", "the body is empty")
        records: list[object] = []
        for number, one in enumerate(raw, 1):
            try:
                records.append(self._rules.decode(one))
            except Exception as error:
                where = f"line {number}: " if is_lines else ""
                raise Refused(400, "not decodable", f"{where}{type(error).__name__}: {error}") from error
        return records


def _is_over(length: str, most: int) -> bool:
    """Whether a header announces more than `most` bytes; Python makes no number of very many digits."""
    digits = length.lstrip("0")
    return digits.isdecimal() and (len(digits) > len(str(most)) or int(digits) > most)


async def _next_part(receive: Receive) -> dict[str, Any]:
    """The next part of a body; a client that stopped sending holds no room for ever."""
    try:
        async with asyncio.timeout(PART_WITHIN_S):
            return await receive()
    except TimeoutError:
        why = f"nothing of the body came for {PART_WITHIN_S:g} s"
        raise Refused(408, "too slow", why, (("connection", "close"),)) from None


def _answered(answer: asyncio.Future[None]) -> None:
    if not answer.done():
        answer.set_result(None)


def _busy(why: str, *headers: tuple[str, str]) -> Refused:
    return Refused(503, "busy", f"{why}; try again later", (("retry-after", str(RETRY_AFTER_S)), *headers))


def _hint(scope: Scope) -> bytes:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "HOST:PORT")
    address = f"{scope.get('scheme', 'http')}://{host}{scope['path']}"
    return f"POST records here, for example: curl -d 'a record' {address}\n".encode()


async def _send(
    send: Send, status: int, kind: str, body: bytes, headers: tuple[tuple[str, str], ...] = (), head: bool = False
) -> None:
    all_headers = [("content-type", kind), ("content-length", str(len(body))), *headers]
    raw = [(name.encode(), value.encode("latin-1")) for name, value in all_headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if head else body})
