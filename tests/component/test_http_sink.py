"""`HttpSink` against a real server."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn
from squall import Topology
from squall.connectors.http import HttpSink
from squall.errors import ConfigError
from squall.testing import LocalCluster

from .conftest import free_port, wait_until

Answer = tuple[int, dict[str, str], str]
OK: Answer = (200, {}, "")


@dataclass
class Service:
    """What a server was asked, and what it answers."""

    answer: Callable[[Any], Answer] = lambda _body: OK
    bodies: list[Any] = field(default_factory=list[Any])
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list[tuple[str, str, dict[str, str]]])
    at_once: int = 0
    most_at_once: int = 0
    delay_s: float = 0.0
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/rows"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        raw, more = b"", True
        while more:
            event = await receive()
            raw, more = raw + event.get("body", b""), event.get("more_body", False)
        lines = headers["content-type"] == "application/x-ndjson"
        body = [json.loads(line) for line in raw.splitlines()] if lines else json.loads(raw)
        self.asked.append((scope["method"], scope["raw_path"].decode(), headers))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(self.delay_s)
        self.at_once -= 1
        status, more_headers, text = self.answer(body)
        if status == 200:
            self.bodies.append(body)
        raw_headers = [(name.encode(), value.encode()) for name, value in more_headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw_headers})
        await send({"type": "http.response.body", "body": text.encode()})


@contextmanager
def serving(service: Service, **options: Any) -> Iterator[Service]:
    config = uvicorn.Config(service, log_config=None, lifespan="off", access_log=False, **options)  # pyright: ignore[reportArgumentType]
    server = uvicorn.Server(config)
    with socket.create_server(("localhost", service.port)) as listener:
        service.port = listener.getsockname()[1]
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
        thread.start()
        try:
            yield service
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(Service()) as service:
        yield service


def cluster_of(sink: HttpSink, rows: list[Any]) -> LocalCluster:
    topology = Topology("sending")
    source = topology.spout("rows", lambda: iter(()), outputs=("country", "n"))
    topology.bolt("sink", sink).shuffle(source)
    return LocalCluster(topology, mock_sources={"rows": rows}, simulated_time=False)


def run_until(cluster: LocalCluster, condition: Callable[[], Any], what: str) -> None:
    def reached() -> Any:
        cluster.advance(0.01)
        return condition()

    wait_until(reached, what=what)


def send(sink: HttpSink, rows: list[Any]) -> list[str]:
    """Sends rows until each has ended; the errors of the dead letters."""
    with cluster_of(sink, rows) as cluster:
        ended = lambda: len(cluster.acked("rows")) + len(cluster.dead_letters()) == len(rows)  # noqa: E731
        run_until(cluster, ended, "the end of all rows")
        return [letter.error for letter in cluster.dead_letters()]


ROWS = [("de", n) for n in range(5)]
OBJECTS = [{"country": "de", "n": n} for n in range(5)]


def by_n(bodies: list[Any]) -> list[Any]:
    return sorted(bodies, key=lambda body: body["n"])


def test_each_row_is_an_object_by_its_fields(service: Service) -> None:
    assert send(HttpSink(service.url), ROWS) == []
    assert by_n(service.bodies) == OBJECTS
    assert {(method, path) for method, path, _ in service.asked} == {("POST", "/rows")}
    assert service.asked[0][2]["content-type"] == "application/json"


class Endless(Service):
    """A service whose answers go on until it is told to stop."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self._status, self.is_stopped = status, False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.asked.append((scope["method"], scope["path"], {}))
        await send({"type": "http.response.start", "status": self._status, "headers": []})
        while not self.is_stopped:
            await send({"type": "http.response.body", "body": b"no " * 10_000, "more_body": True})
            await asyncio.sleep(0)


@pytest.mark.parametrize(("status", "dead"), [(200, 0), (400, 1)])
def test_an_answer_without_an_end_is_read_up_to_a_bound(status: int, dead: int) -> None:
    with serving(Endless(status)) as service:
        letters = send(HttpSink(service.url), ROWS[:1])
        assert isinstance(service, Endless)
        service.is_stopped = True
    assert len(letters) == dead
    assert all(": 400 no no no" in letter and len(letter) < 500 for letter in letters)
    assert len(service.asked) == 1


def test_headers_take_the_place_of_those_by_default(service: Service) -> None:
    assert send(HttpSink(service.url, headers={"Content-Type": "application/x-rows", "x-a": "b"}), ROWS[:1]) == []
    assert service.asked[0][2]["content-type"] == "application/x-rows"
    assert service.asked[0][2]["accept-encoding"] == "identity"


@pytest.mark.parametrize("lines", [False, True])
def test_batches_are_arrays_or_lines(service: Service, lines: bool) -> None:
    assert send(HttpSink(service.url, batch=100, lines=lines, method="PUT"), ROWS) == []
    assert all(isinstance(body, list) for body in service.bodies)
    assert by_n([one for body in service.bodies for one in body]) == OBJECTS
    assert len(service.asked) < 5
    assert service.asked[0][0] == "PUT"


def test_fields_in_the_address_are_quoted_and_part_a_batch(service: Service) -> None:
    rows = [("de", 1), ("../x y?", 2), ("..", 3), ("de", 4)]
    assert send(HttpSink(f"{service.url}/{{country}}/in", batch=10), rows) == []
    assert {path for _, path, _ in service.asked} == {"/rows/de/in", "/rows/..%2Fx%20y%3F/in", "/rows/%2E%2E/in"}


def test_a_row_that_cannot_be_sent_is_dead_alone(service: Service) -> None:
    (error,) = send(HttpSink(service.url, batch=10), [*ROWS, ("x", object())])
    assert "the row cannot be sent: TypeError" in error
    assert by_n([one for body in service.bodies for one in body]) == OBJECTS


def test_a_refusal_is_a_dead_letter_with_the_answers_text(service: Service) -> None:
    service.answer = lambda body: (422, {}, "n must not be 3") if body["n"] == 3 else OK
    (error,) = send(HttpSink(f"{service.url}?key=secret"), ROWS)
    assert error == f"DeadLetter: POST {service.url}: 422 n must not be 3"
    assert by_n(service.bodies) == [one for one in OBJECTS if one["n"] != 3]
    assert len(service.asked) == 5


def test_rule_10_a_batch_that_is_refused_is_sent_again_row_by_row(service: Service) -> None:
    def refuses_three(body: Any) -> Answer:
        return (400, {}, "bad") if any(one["n"] == 3 for one in body) else OK

    service.answer = refuses_three
    (error,) = send(HttpSink(service.url, batch=100), ROWS)
    assert "400 bad" in error
    assert by_n([one for body in service.bodies for one in body]) == [one for one in OBJECTS if one["n"] != 3]


def test_a_busy_server_slows_the_topology_for_as_long_as_it_says_and_counts_nothing(service: Service) -> None:
    """More refusals than there are retries, and no dead letter."""
    left = [6]

    def busy(_body: Any) -> Answer:
        left[0] -= 1
        return OK if left[0] < 0 else (429, {"retry-after": "0"}, "slow down")

    service.answer = busy
    assert send(HttpSink(service.url, max_in_flight=1), ROWS) == []
    assert by_n(service.bodies) == OBJECTS
    left[0] = 1
    service.answer = lambda body: busy(body) if left[0] < 1 else (busy(body)[0], {"retry-after": "1"}, "")
    began = time.monotonic()
    assert send(HttpSink(service.url), ROWS[:1]) == []
    assert time.monotonic() - began >= 1


def test_a_failing_server_counts_and_ends_in_the_dead_letters(service: Service) -> None:
    service.answer = lambda _body: (500, {}, "oh\n dear")
    (error,) = send(HttpSink(service.url), ROWS[:1])
    assert error.endswith("500 oh dear")
    assert len(service.asked) == 4


def test_a_server_that_is_down_slows_and_gets_everything_when_it_is_back() -> None:
    service = Service(port=free_port())
    with cluster_of(HttpSink(service.url), ROWS) as cluster:
        run_until(cluster, lambda: len(cluster.failed("rows")) >= 2 * len(ROWS), "two tries of each row")
        with serving(service):
            run_until(cluster, lambda: len(cluster.acked("rows")) == 5, "all rows")
        assert cluster.dead_letters() == []
    assert by_n(service.bodies) == OBJECTS


def test_no_answer_in_time_is_a_failure(service: Service) -> None:
    service.delay_s = 0.3
    topology_sink = HttpSink(service.url, timeout=0.05)
    topology_sink.on_error = "dead"  # pyright: ignore[reportAttributeAccessIssue]
    (error,) = send(topology_sink, ROWS[:1])
    assert "no answer: TimeoutError" in error


def test_requests_are_sent_at_the_same_time_up_to_a_bound(service: Service) -> None:
    service.delay_s = 0.01
    assert send(HttpSink(service.url, max_in_flight=4), [("de", n) for n in range(60)]) == []
    assert service.most_at_once == 4


def test_secrets_come_from_the_environment_and_are_shown_nowhere(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ORDERS_TOKEN", "very-secret")
    service.answer = lambda _body: (403, {}, "no")
    sink = HttpSink(service.url, headers={"Authorization": "Bearer env:ORDERS_TOKEN", "X-Plain": "as it is"})
    errors = send(sink, ROWS[:1])
    headers = service.asked[0][2]
    assert (headers["authorization"], headers["x-plain"]) == ("Bearer very-secret", "as it is")
    assert "very-secret" not in f"{errors} {vars(sink)} {caplog.text}"
    monkeypatch.delenv("ORDERS_TOKEN")
    with pytest.raises(ConfigError, match="ORDERS_TOKEN") as missing, cluster_of(sink, []):
        pass
    assert missing.value.code == "secret_missing"


def test_a_secret_from_a_file_may_end_with_a_line_feed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_TOKEN", "very-secret\n")
    assert send(HttpSink(service.url, headers={"Authorization": "Bearer env:ORDERS_TOKEN"}), ROWS[:1]) == []
    assert service.asked[0][2]["authorization"] == "Bearer very-secret"


@pytest.mark.parametrize("secret", ["very\nsecret", "sécret"])
def test_a_secret_that_no_header_can_have_is_told_without_it(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_TOKEN", secret)
    sink = HttpSink("http://localhost:1/", headers={"Authorization": "Bearer env:ORDERS_TOKEN"})
    with pytest.raises(ConfigError, match="ORDERS_TOKEN") as caught, cluster_of(sink, []):
        pass
    assert caught.value.code == "secret_unusable"
    assert secret not in str(caught.value)


def test_certificates_are_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made = authority.issue_cert("localhost")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files = {"ssl_keyfile": str(tmp_path / "key.pem"), "ssl_certfile": str(tmp_path / "cert.pem")}
    with serving(Service(scheme="https"), **files) as service:
        with cluster_of(HttpSink(service.url), ROWS[:1]) as cluster:
            run_until(cluster, lambda: cluster.failed("rows"), "a failed try")
            assert service.asked == []
        assert send(HttpSink(service.url, verify=str(tmp_path / "ca.pem")), ROWS) == []
        assert by_n(service.bodies) == OBJECTS
