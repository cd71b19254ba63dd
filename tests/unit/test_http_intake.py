"""What a request to an `HttpSpout` is answered, and when; against the ASGI application itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from squall.connectors.http import HttpSpout
from squall.connectors.http import intake as intake_module
from squall.connectors.http.intake import Intake, Waiting
from squall.errors import TopologyError

Client = httpx.AsyncClient


def intake(**options: Any) -> Intake:
    return Intake(HttpSpout.listen("127.0.0.1:0", **options).rules)


def ask(app: Intake, talk: Callable[[Client], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with Client(transport=httpx.ASGITransport(app), base_url="http://squall") as client:  # pyright: ignore[reportArgumentType]
            return await talk(client)

    return asyncio.run(run())


def post(app: Intake, content: Any, kind: str | None = None, url: str = "/") -> httpx.Response:
    headers = {"content-type": kind} if kind else {}
    return ask(app, lambda client: client.post(url, content=content, headers=headers))


def records(app: Intake) -> list[object]:
    return [record for record, _ in app.take(1000)]


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.text.count("\n") == 1
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["detail"]


def test_a_body_is_a_record() -> None:
    app = intake()
    answer = post(app, "x=1\ny", "application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json()) == (202, {"records": 1})
    assert records(app) == ["x=1\ny"]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/plain; charset=utf-8", "Application/JSONL"])
def test_a_line_is_a_record_where_the_content_type_says_so(kind: str) -> None:
    app = intake()
    assert post(app, b"one\r\ntwo\n\nthree", kind).json() == {"records": 3}
    assert records(app) == ["one", "two", "three"]


def test_the_parameter_wins_over_the_content_type() -> None:
    lines, body = intake(records="lines"), intake(records="body")
    assert post(lines, b"1\n2").json() == {"records": 2}
    assert post(body, b"1\n2", "text/plain").json() == {"records": 1}


def test_records_are_text_json_bytes_or_what_a_function_makes_of_them() -> None:
    class Click(msgspec.Struct):
        user: str

    for decode, expected in [
        ("text", '{"user":"ü"}'),
        ("bytes", '{"user":"ü"}'.encode()),
        ("json", {"user": "ü"}),
        (msgspec.json.Decoder(Click).decode, Click("ü")),
    ]:
        app = intake(decode=decode)
        assert post(app, '{"user":"ü"}').status_code == 202
        assert records(app) == [expected]


def test_what_cannot_be_decoded_is_refused_with_the_line_and_nothing_of_it_is_taken() -> None:
    app = intake(decode="json")
    status, detail = problem(post(app, b'{"a": 1}\n{"a":\n', "application/x-ndjson"))
    assert status == 400
    assert detail.startswith("line 2: DecodeError: ")
    assert problem(post(intake(), b"\xff"))[0] == 400
    assert problem(post(app, b""))[1] == "the body is empty"
    assert problem(post(app, b"\n\n", "text/plain"))[1] == "the body is empty"
    assert records(app) == []


def test_other_paths_methods_and_encodings_are_refused() -> None:
    app = intake(path="/in")
    assert problem(post(app, b"x")) == (404, "records are taken at /in")
    answer = ask(app, lambda client: client.put("/in", content=b"x"))
    assert (problem(answer)[0], answer.headers["allow"]) == (405, "POST, GET, HEAD")
    assert problem(ask(app, lambda client: client.delete("/other")))[0] == 404
    zipped = ask(app, lambda client: client.post("/in", content=b"x", headers={"content-encoding": "gzip"}))
    assert problem(zipped)[0] == 415
    assert records(app) == []


def test_a_look_at_the_path_tells_how_to_send() -> None:
    answer = ask(intake(path="/in"), lambda client: client.get("/in"))
    assert (answer.status_code, answer.text.strip()) == (
        200,
        "POST records here, for example: curl -d 'a record' http://squall/in",
    )
    assert ask(intake(), lambda client: client.head("/")).text == ""


def test_a_long_body_is_refused_whether_it_tells_its_length_or_not() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x"

    app = intake(max_body=10)
    assert problem(post(app, b"x" * 11))[0] == 413
    assert problem(ask(app, lambda client: client.post("/", content=parts())))[0] == 413
    assert post(app, b"x" * 10).status_code == 202


def test_a_full_queue_is_answered_busy_until_there_is_room() -> None:
    app = intake(max_queued=3)
    assert post(app, b"1\n2", "text/plain").status_code == 202
    answer = post(app, b"3\n4", "text/plain")
    assert problem(answer) == (503, "the topology is behind; try again later")
    assert answer.headers["retry-after"] == "1"
    assert post(app, b"3").status_code == 202
    assert post(app, b"4").status_code == 503
    assert records(app) == ["1", "2", "3"]
    assert post(app, b"1\n2\n3\n4\n5", "text/plain").status_code == 202  # alone, a long body is not refused for ever
    app.take(5)
    app.close()
    assert problem(post(app, b"6")) == (503, "the topology is ending; try again later")


def test_bodies_that_are_being_received_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "MAX_RECEIVING_BYTES", 4)
    app = intake()

    async def talk(client: Client) -> tuple[int, int]:
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"12345"
            inside.set()
            await go_on.wait()
            yield b"6"

        first = asyncio.ensure_future(client.post("/", content=slow()))
        await inside.wait()
        second = await client.post("/", content=b"x")
        go_on.set()
        return (await first).status_code, second.status_code

    assert ask(app, talk) == (202, 503)
    assert post(app, b"x").status_code == 202


def test_bodies_that_began_when_there_was_room_are_bounded_together_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "MAX_RECEIVING_BYTES", 4)
    app = intake()

    async def talk(client: Client) -> list[int]:
        go_on = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"12"
            await go_on.wait()
            yield b"3"

        requests = [asyncio.ensure_future(client.post("/", content=slow())) for _ in range(10)]
        await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        assert app._receiving <= 6
        go_on.set()
        return [(await one).status_code for one in requests]

    answers = ask(app, talk)
    assert set(answers) == {202, 503}
    assert len(records(app)) == answers.count(202)


def test_a_client_that_stops_within_a_body_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "PART_WITHIN_S", 0.02)

    async def stopped() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    app = intake()
    assert problem(ask(app, lambda client: client.post("/", content=stopped())))[0] == 408
    assert post(app, b"x").status_code == 202


def test_a_request_with_processed_receipts_is_answered_when_all_its_records_have_ended() -> None:
    app = intake(receipts="processed")

    async def talk(client: Client) -> httpx.Response:
        answer = asyncio.ensure_future(client.post("/", content=b"1\n2\n3", headers={"content-type": "text/plain"}))
        while not app.queued:
            await asyncio.sleep(0)
        taken = app.take(10)
        for number, (_, waiting) in enumerate(taken):
            assert not answer.done()
            assert isinstance(waiting, Waiting)
            app.ended(waiting, is_dead=number == 1)
            await asyncio.sleep(0)
        return await answer

    answer = ask(app, talk)
    assert (answer.status_code, answer.json()) == (200, {"records": 3, "dead": 1})


def test_it_can_be_mounted_below_another_path() -> None:
    app = intake(path="/in")
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x"}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {"type": "http", "method": "POST", "path": "/mount/in", "root_path": "/mount", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert json.loads(sent[1]["body"]) == {"records": 1}


@pytest.mark.parametrize(
    "options",
    [
        {"path": "in"},
        {"records": "words"},
        {"decode": "xml"},
        {"receipts": "never"},
        {"max_body": 0},
        {"max_queued": True},
        {"max_connections": "7"},
    ],
)
def test_options_of_no_use_are_refused_when_the_topology_is_built(options: dict[str, Any]) -> None:
    with pytest.raises(TopologyError, match="http_option"):
        HttpSpout.listen("127.0.0.1:0", **options)


@pytest.mark.parametrize(
    ("length", "status"),
    [("9" * 5000, 413), ("0" * 5000 + "3", 202), ("11", 413), ("010", 202), ("\xb2", 202), ("-5", 202), ("", 202)],
)
def test_any_length_that_a_header_announces_is_answered(length: str, status: int) -> None:
    """Not every server in front looks at it first; Python refuses to make a number of 5,000 digits."""
    said: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        said.append(event)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"abc"}

    headers = [(b"content-length", length.encode("latin-1"))]
    asyncio.run(intake(max_body=10)({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send))
    assert said[0]["status"] == status
