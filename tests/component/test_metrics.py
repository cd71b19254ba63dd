"""Metrics of real runs: scraped, pushed, printed; the same values everywhere, also while user code hangs."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from .conftest import Running, Squall, wait_until

ORDERS = 1500
SHOP = f"""
    from squall import Bolt, DropTuple, Topology

    class Count(Bolt):
        def open(self, context):
            self.orders = context.counter("orders")
            self.sizes = context.histogram("size (bytes)", buckets=(10, 100, 1000))
            context.gauge("open-carts", lambda: 7.5)

        def process(self, n: int):
            self.orders.add()
            self.sizes.record(n)
            if n % 100 == 0:
                raise DropTuple

    def numbers():
        yield from range({ORDERS})
        while True:
            yield None

    topology = Topology("shop")
    topology.bolt("count", Count, parallelism=2).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
"""
TCP = """
    from squall import Bolt, Topology
    from squall.connectors.tcp import TcpSpout

    class Take(Bolt):
        def process(self, line: str):
            pass

    topology = Topology("lines")
    lines = topology.spout("lines", TcpSpout.listen("127.0.0.1:0", max_record=20))
    topology.bolt("take", Take).shuffle(lines)
"""
HANGING = """
    import time
    from squall import Bolt, Topology

    class Hang(Bolt):
        def process(self, n: int):
            if n == 10:
                time.sleep(600)

    def numbers():
        n = 0
        while True:
            yield n
            yield from [None] * 200
            n += n < 9 or self_is_old()

    from time import monotonic
    began = monotonic()
    self_is_old = lambda: monotonic() > began + 2.5

    topology = Topology("hanging", settings={"topology.stuck.secs": 0.5})
    topology.bolt("hang", Hang).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
"""


def fetched(url: str, accept: str = "text/plain") -> tuple[str, str]:
    """Content type and text of an answer."""
    request = urllib.request.Request(url, headers={"Accept": accept, "Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body = answer.read()
        if answer.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        return answer.headers["Content-Type"], body.decode()


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(text: str, parse: Any = parsed) -> Series:
    """Every sample by its name and labels."""
    found = {(s.name, frozenset(s.labels.items())): s.value for family in parse(text) for s in family.samples}
    assert len(found) == sum(len(family.samples) for family in parse(text))
    return found


def of(found: Series, name: str, **labels: str) -> list[float]:
    return [value for (one, own), value in found.items() if one == name and labels.items() <= dict(own).items()]


def url_of(run: Running) -> str:
    return run.event("started")["metrics"]["prometheus"]


def scraped(run: Running, **accepted: str) -> Series:
    return series(fetched(url_of(run))[1])


def all_acked(run: Running) -> Series | None:
    found = scraped(run)
    return found if of(found, "squall_component_acked_total", component="numbers") == [ORDERS] else None


def lasting(found: Series) -> set[Any]:
    """The series that do not come and go: who was held up by whom is told of the last seconds."""
    return {key for key in found if key[0] != "squall_component_blocked_ratio"}


def test_what_is_scraped_at_the_end_is_what_the_summary_says(squall: Squall) -> None:
    run = squall.run(SHOP, "--metrics", "0")
    found = wait_until(lambda: all_acked(run))
    kind, text = fetched(url_of(run), "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert lasting(series(text, open_metrics)) == lasting(found)
    printed = squall.done("metrics", "shop", "--prometheus")
    assert lasting(series(printed.out)) == lasting(found)
    lines = squall.done("metrics").out.splitlines()
    assert f"squall_component_acked_total{{component=numbers,kind=spout}}  {ORDERS}" in lines
    progress = json.loads(squall.done("metrics", "shop", "--json").out)
    assert progress["components"]["count"]["own"]["counters"] == {"orders": ORDERS}
    run.interrupt()
    assert run.end() == 0
    summary = run.summary()
    for name, now in summary["components"].items():
        for key in ("acked", "failed", "dropped", "errors", "transferred"):
            assert of(found, f"squall_component_{key}_total", component=name) == [now[key]], key
        for stream, count in now["streams"].items():
            assert of(found, "squall_component_emitted_total", component=name, stream=stream) == [count]
        for source, count in now["inputs"].items():
            assert of(found, "squall_component_executed_total", component=name, input=source) == [count]
    assert summary["components"]["count"]["dropped"] == ORDERS // 100
    assert of(found, "squall_up", topology="shop") == [1]


def test_a_users_own_figures_are_metrics_of_their_kind(squall: Squall) -> None:
    run = squall.run(SHOP, "--metrics", "0")
    found = wait_until(lambda: all_acked(run))
    assert of(found, "squall_user_orders_total", component="count") == [ORDERS]
    assert len(of(found, "squall_user_open_carts", component="count")) == 2
    buckets = {bound: of(found, "squall_user_size_bytes_bucket", le=bound) for bound in ("10.0", "100.0", "1000.0")}
    assert buckets == {"10.0": [11], "100.0": [101], "1000.0": [1001]}
    assert of(found, "squall_user_size_bytes_bucket", le="+Inf") == [ORDERS]
    assert of(found, "squall_user_size_bytes_count") == [ORDERS]
    assert of(found, "squall_user_size_bytes_sum") == [ORDERS * (ORDERS - 1) / 2]


def test_the_endpoint_answers_while_user_code_hangs(squall: Squall) -> None:
    """From the last report; that it is old, and who holds the loop up, is told too."""
    run = squall.run(HANGING, "--metrics", "0")
    stuck = wait_until(lambda: of(scraped(run), "squall_stuck_seconds", component="hang"))
    assert stuck[0] >= 0.5
    wait_until(lambda: of(scraped(run), "squall_report_age_seconds") > [2.5])
    assert of(scraped(run), "squall_component_acked_total", component="numbers")[0] > 0
    printed = squall.done("metrics", "hanging")
    assert "squall_component_acked_total{component=numbers,kind=spout}" in printed.out


def test_what_a_tcp_source_has_read_is_counted(squall: Squall) -> None:
    run = squall.run(TCP, "--metrics", "0")
    host, _, port = run.event("started")["listening"]["lines"].rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"one\ntwo\n" + b"x" * 50 + b"\n")
        wait_until(lambda: of(scraped(run), "squall_source_events_total", component="lines", event="oversize") == [1])
        found = scraped(run)
        assert of(found, "squall_source_records_total", component="lines") == [2]
        assert of(found, "squall_source_connections", component="lines") == [1]
        assert of(found, "squall_source_read_bytes_total", component="lines") == [59]


def test_a_port_that_is_taken_is_told_before_anything_runs(squall: Squall) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = squall.run(SHOP, "--metrics-port", taken.getsockname()[1])
        assert run.end() == 1
    assert "code: metrics_unserved" in run.err
    assert run.events() == []


def test_a_bare_port_is_for_this_machine_only_and_the_screen_tells_it(squall: Squall) -> None:
    run = squall.start("run", squall.file(SHOP), "-c", "metrics.prometheus.address=0", "--for", "100ms")
    assert run.end() == 0
    assert "; metrics on http://127.0.0.1:" in run.out


def test_without_the_option_nothing_listens_and_no_library_is_loaded(squall: Squall) -> None:
    run = squall.run(SHOP)
    started = run.event("started")
    assert started["metrics"] == {}
    with open(f"/proc/{run.process.pid}/maps") as maps:
        assert "opentelemetry" not in maps.read()
    assert not any("prometheus" in line for line in squall.done("metrics", "shop", "--json").out.splitlines())


class Receiver(BaseHTTPRequestHandler):
    """Takes OTLP as a collector does."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportMetricsServiceRequest.FromString(body)
        self.server.taken.append((self.path, self.headers, request))  # pyright: ignore[reportAttributeAccessIssue]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def receiver() -> Iterator[tuple[str, list[Any]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    taken: list[Any] = []
    server.taken = taken  # pyright: ignore[reportAttributeAccessIssue]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def points(request: ExportMetricsServiceRequest, name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each point of a metric."""
    return [
        (
            {one.key: one.value.string_value for one in point.attributes},
            point.as_double if point.HasField("as_double") else point.as_int,
        )
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in (metric.sum if metric.HasField("sum") else metric.gauge).data_points
    ]


def test_opentelemetry_gets_the_figures_each_interval_and_at_the_end(
    squall: Squall, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as (url, taken):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "300")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        run = squall.run(SHOP, "--otel")
        wait_until(lambda: taken and [one for one in points(taken[-1][2], "squall_user_orders") if one[1] == ORDERS])
        run.interrupt()
        assert run.end() == 0, run.err
        path, headers, last = taken[-1]
    assert (path, headers["api-key"]) == ("/v1/metrics", "secret")
    resource = {one.key: one.value.string_value for one in last.resource_metrics[0].resource.attributes}
    assert resource["service.name"] == "shop"
    assert resource["deployment.environment"] == "test"
    acked = {labels["component"]: value for labels, value in points(last, "squall_component_acked")}
    assert acked == {name: now["acked"] for name, now in run.summary()["components"].items()}
    assert [value for _, value in points(last, "squall_user_orders")] == [ORDERS]
    bounds = {labels["le"]: value for labels, value in points(last, "squall_user_size_bytes_bucket")}
    assert bounds["10.0"] == 11
    assert {labels["quantile"] for labels, _ in points(last, "squall_component_complete_seconds")} >= {"0.5", "1"}
    units = {metric.name: metric.unit for metric in last.resource_metrics[0].scope_metrics[0].metrics}
    assert units["squall_component_complete_seconds"] == "s"
    assert units["squall_worker_resident_memory_bytes"] == "By"


def test_a_collector_that_is_not_there_is_told_and_holds_the_end_up_for_seconds_only(
    squall: Squall, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unheard:
        port = unheard.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
    run = squall.run(SHOP, "--otel", "--for", "1s")
    assert run.end() == 0
    assert run.err.count("OpenTelemetry: ") == 1, run.err
    assert run.summary()["acked"] == ORDERS
