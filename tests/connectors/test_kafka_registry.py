"""A schema registry that is away or lets nobody in: it is told as that, by its address, and Kafka is not blamed."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from component.conftest import Running, Squall, squall, wait_until
from servers import KafkaAddress, Registry, fresh

from .kafka_places import Noted, ended, feed, metrics, read

__all__ = ["squall"]

ORDER = '{"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}'


@contextmanager
def answering(status: int) -> Generator[str]:
    """A registry that answers every request with a status; its URL."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"error_code": status, "message": "who are you"}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def logged(squall: Squall, run: Running) -> str:
    """All that a run has printed, and its log."""
    logs = [path.read_text() for path in squall.folder.rglob("*.log")]
    return "\n".join([run.out, run.err, *logs])


def told(run: Running, component: str) -> dict[str, Any]:
    """The errors of a component: their `count` and the `last`; nothing before the first."""
    events = run.events("progress")
    return events[-1].get("errors", {}).get(component, {}) if events else {}


@pytest.mark.parametrize("status", [401, 403])
def test_registry_that_lets_nobody_in_ends_the_run(squall: Squall, kafka: KafkaAddress, status: int) -> None:
    topic = kafka.topic("refused")
    with answering(status) as url:
        given = f"servers=SERVERS, group={topic!r}, value=Avro({url!r}), fields='value'"
        reading = Noted(squall, kafka).run(f"KafkaSpout({topic!r}, {given})")
        assert reading.end() == 1
        run = writing(squall, kafka, topic, url)
        assert run.end() == 1
    for one in (reading, run):
        said = one.out + one.err
        assert "kafka_registry_refused" in said
        assert f"the schema registry at {url} lets nobody in" in said
        assert f"{topic}-value: who are you" in said


def writing(squall: Squall, kafka: KafkaAddress, topic: str, url: str) -> Running:
    """A run that writes one order by a schema."""
    text = f"""
from squall import Topology
from squall.connectors.kafka import Avro, KafkaSink

def orders():
    yield {{"n": 7}},

topology = Topology("writing")
source = topology.spout("orders", orders, outputs=("order",))
kafka = KafkaSink({topic!r}, servers={kafka.address!r}, value=Avro({url!r}, {ORDER!r}))
topology.bolt("sink", kafka).shuffle(source)
"""
    return squall.start("run", squall.file(text, f"{fresh('writing')}.py"), "--json")


def test_sink_blames_the_registry_that_is_away_and_goes_on_when_it_is_back(
    squall: Squall, kafka: KafkaAddress, own_registry: Registry
) -> None:
    topic = kafka.topic("away")
    own_registry.kill()
    run = writing(squall, kafka, topic, own_registry.url)
    wait_until(lambda: metrics(run, "sink").get("waiting_s", 0) > 1, what="the outage")
    found = told(run, "sink")
    assert found["count"] == 1
    assert f"the schema registry at {own_registry.url} is not available" in found["last"]
    assert "Kafka" not in found["last"]
    own_registry.start()
    wait_until(lambda: len(read(kafka, topic)) == 1, 60, "the record")
    assert run.end() == 0
    assert run.summary()["dead"] == 0
    assert "code: sink_unavailable" in logged(squall, run)


def test_spout_tells_once_of_a_registry_that_is_away(
    squall: Squall, kafka: KafkaAddress, own_registry: Registry
) -> None:
    noted, topic = Noted(squall, kafka), kafka.topic("unread")
    own_registry.kill()
    feed(kafka, topic, [b"\0\0\0\0\1\2"])
    given = f"servers=SERVERS, group={topic!r}, value=Avro({own_registry.url!r}), fields='value'"
    run = noted.run(f"KafkaSpout({topic!r}, {given})")
    wait_until(lambda: metrics(run).get("waiting_s", 0) > 2, what="the outage")
    found = told(run, "source")
    assert found["count"] == 1
    assert f"the schema registry at {own_registry.url} is not available" in found["last"]
    own_registry.start()
    wait_until(lambda: metrics(run).get("undecodable") == 1, 60, "the record whose schema the registry has forgotten")
    wait_until(lambda: metrics(run)["waiting_s"] == 0, what="the end of the outage")
    ended(run)
    assert "code: source_unavailable" in logged(squall, run)
    assert "Traceback" not in logged(squall, run)
