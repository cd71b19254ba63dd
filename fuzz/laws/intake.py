"""What holds of requests to an HTTP source: all of a body is taken, or nothing of it, and the answer says which.

However a body is cut on its way, its records are those of the whole; what was held for it is let go.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from laws.script import Script
from squall.connectors.http.intake import LINES, Intake, Rules
from squall.connectors.http.spout import DECODERS

LOOP = asyncio.new_event_loop()
MAX_BODY, MAX_QUEUED = 300, 8
TYPES = (*LINES, "application/json", "text/plain; charset=latin-1", "TEXT/PLAIN", "")
LENGTHS = (b"0", b"7", b"-1", b"999", b"1e9", b"9" * 5000, b"\xb2", b"+5", b" 5 ", b"")
STATUSES = {200, 202, 400, 404, 405, 413, 415, 503}


def check(data: bytes) -> None:
    """The bytes are requests, of which one may follow another."""
    script = Script(data)
    decode = script.one_of(sorted(DECODERS))
    is_lines = script.one_of((None, True, False))
    intake = Intake(Rules("/in", is_lines, DECODERS[decode], False, MAX_BODY, MAX_QUEUED))
    expected: list[object] = []
    for _ in range(4):
        status, body, kind = _request(intake, script)
        assert status in STATUSES, status
        assert intake._receiving == 0, "nothing is held for it"
        if status == 202:
            expected += _records(body, kind, is_lines, decode)
        assert intake.queued == len(expected), "all of it is taken, or nothing"
        if not script:
            break
    assert [record for record, _ in intake.take(len(expected))] == expected


def _request(intake: Intake, script: Script) -> tuple[int, bytes, str]:
    """One request, and the status it is answered with."""
    kind = script.one_of(TYPES)
    headers = [(b"Content-Type", kind.encode())] if kind else []
    if script.byte() % 4 == 0:
        headers.append((b"content-length", script.one_of(LENGTHS)))
    if script.byte() % 4 == 0:
        headers.append((script.one_of((b"transfer-encoding", b"content-encoding", b"HOST")), script.bytes(6)))
    path = script.one_of(("/in", "/in", "/in", "/in/", "/"))
    scope = {
        "type": "http",
        "method": script.one_of(("POST", "POST", "POST", "GET", "PUT")),
        "path": path,
        "headers": headers,
    }
    parts = [script.bytes(script.below(400)) for _ in range(1 + script.below(3))]
    is_cut = script.byte() % 16 == 1
    events: list[dict[str, Any]] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    events.append({"type": "http.disconnect"} if is_cut else {"type": "http.request"})
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return events.pop(0)

    async def send(event: dict[str, Any]) -> None:
        said.append(event)

    LOOP.run_until_complete(intake(scope, receive, send))
    begin, end = said
    status: int = begin["status"]
    told = dict(begin["headers"])
    assert int(told[b"content-length"]) == len(end["body"]) or scope["method"] == "HEAD"
    if told[b"content-type"] == b"application/problem+json":
        problem = json.loads(end["body"])
        assert problem["status"] == status
        assert problem["title"]
        assert problem["detail"]
    return status, b"".join(parts), kind


def _records(body: bytes, kind: str, is_lines: bool | None, decode: str) -> list[object]:
    """The records of a body that was taken, found one after the other."""
    if is_lines is None:
        is_lines = kind.split(";")[0].strip().lower() in LINES
    raw: list[bytes] = [body]
    if is_lines:
        lines = bytes(body).split(b"\n")
        raw = [line.rstrip(b"\r") for line in lines if line.rstrip(b"\r")]
    return [DECODERS[decode](one) for one in raw]
