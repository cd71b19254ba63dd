"""From events to metrics: names, kinds, labels; what users' names become."""

from __future__ import annotations

import re
import select
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from squall.engines.metrics.collect import families
from squall.engines.metrics.families import Family, Kind
from squall.engines.metrics.otel import Push
from squall.engines.metrics.prometheus import AT_ONCE, Endpoint, registry_of, text
from squall.engines.metrics.reading import Newest, Reading
from squall.engines.metrics.table import METRICS
from squall.errors import ClusterError, ConfigError
from squall.model.addresses import split_address
from squall.runtime import stats

NAMES = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["orders", "orders_total", "a-b", "a.b", "x", "x_count", "x_bucket", "x_sum", "_total", "x_total", "x_created"]
)
FIGURES = st.floats(-1e12, 1e12) | st.integers(0, 10**12)
OWN = st.fixed_dictionaries(
    {
        "counters": st.dictionaries(NAMES, FIGURES, max_size=4),
        "gauges": st.dictionaries(NAMES, st.dictionaries(st.sampled_from(["1", "2"]), FIGURES), max_size=4),
        "histograms": st.dictionaries(
            NAMES, st.just({"count": 3, "sum": 4.5, "buckets": [[1.0, 1], [2.5, 2]]}), max_size=4
        ),
    }
)


def event(components: dict[str, Any], **fields: Any) -> dict[str, Any]:
    zeros = {name: {**stats.empty("bolt", 1), **figures} for name, figures in components.items()}
    return {"event": "progress", "phase": "running", "at_epoch_ms": 0, "components": zeros, **fields}


def of(components: dict[str, Any], **fields: Any) -> Reading:
    return Reading({"topology": "shop", "version": "1", "python": "3"}, event(components, **fields), "running")


def own(**figures: Any) -> dict[str, Any]:
    return {"own": {"counters": {}, "gauges": {}, "histograms": {}, **figures}}


def samples(found: list[Family]) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    for family in found:
        for sample in family.samples:
            yield family.name + sample.suffix, tuple(sorted(sample.labels.items()))


def value(found: list[Family], metric: str, /, **labels: str) -> float:
    (only,) = (
        sample.value
        for family in found
        for sample in family.samples
        if family.name + sample.suffix == metric and labels.items() <= sample.labels.items()
    )
    return only


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5), OWN, max_size=3))
def test_whatever_users_call_their_figures_both_formats_are_read_and_no_series_is_there_twice(
    components: dict[str, Any],
) -> None:
    found = families(of({name: {"own": figures} for name, figures in components.items()}))
    names = list(samples(found))
    assert len(names) == len(set(names))
    assert len({family.name for family in found}) == len(found)
    assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) for name, _ in names)
    read = [sample for family in parsed(text(found)) for sample in family.samples]
    assert sorted((one.name, tuple(sorted(one.labels.items()))) for one in read) == sorted(names)


@settings(deadline=None)
@given(OWN.filter(lambda figures: all(value >= 0 for value in figures["counters"].values())))
def test_open_metrics_is_read_too(figures: dict[str, Any]) -> None:
    found = families(of({"count": {"own": figures, "streams": {"default": 3}}}))
    read = list(open_metrics(generate_latest(registry_of(lambda: found)).decode()))
    assert len([sample for family in read for sample in family.samples]) == len(list(samples(found)))


def test_two_names_that_become_one_are_told_apart_by_the_label_name() -> None:
    found = families(of({"b": own(counters={"a-b": 1, "a.b": 2, "orders": 3, "orders_total": 4})}))
    assert value(found, "squall_user_a_b_total", name="a-b") == 1
    assert value(found, "squall_user_a_b_total", name="a.b") == 2
    assert value(found, "squall_user_orders_total", name="orders_total") == 4
    (plain,) = (one for family in found for one in family.samples if one.value == 3)
    assert "name" not in plain.labels


def test_a_counter_and_a_gauge_of_one_name_are_two_metrics() -> None:
    found = families(of({"b": own(counters={"size": 1}, gauges={"size": {"2": 5.0}, "size_total": {"2": 6.0}})}))
    assert value(found, "squall_user_size_total", component="b") == 1
    assert value(found, "squall_user_size_gauge", task="2") == 5
    assert value(found, "squall_user_size_total_gauge", task="2") == 6


def test_times_are_in_seconds_and_a_summary_has_quantiles_sum_and_count() -> None:
    latency = {"p50": 2.0, "p99": 30.0, "p999": 31.0, "max": 32.0, "mean": 3.0, "count": 10, "sum": 30.0}
    found = families(of({"b": {"execute_ms": latency, "blocked_ms": {"c": 1500.0}}}))
    name = "squall_component_execute_seconds"
    assert [value(found, name, quantile=q) for q in ("0.5", "0.99", "0.999", "1")] == [0.002, 0.03, 0.031, 0.032]
    assert (value(found, f"{name}_sum"), value(found, f"{name}_count")) == (0.03, 10)
    assert value(found, "squall_component_blocked_seconds_total", culprit="c") == 1.5


def test_what_native_sources_count_has_names_of_its_own() -> None:
    found = families(of({"tcp": {"source": {"connections": 2, "bytes": 70, "records": 7, "oversize": 1}}}))
    assert value(found, "squall_source_connections") == 2
    assert value(found, "squall_source_read_bytes_total") == 70
    assert value(found, "squall_source_records_total") == 7
    assert value(found, "squall_source_events_total", event="oversize") == 1


def test_links_are_told_by_both_their_ends() -> None:
    peer = {"is_up": True, "unreceipted_frames": 2, "unreceipted_bytes": 500, "waiting": 3, "under_way": 4}
    peers = {"2": {**peer, "frames_sent": 10, "frames_received": 5}}
    found = families(of({}, links={"1": {"peers": peers, "refused": {"garbage": 6}}}))
    ends = {"worker": "1", "peer": "2"}
    assert value(found, "squall_link_up", **ends) == 1
    assert value(found, "squall_link_sent_frames_total", **ends) == 10
    assert value(found, "squall_link_received_frames_total", **ends) == 5
    assert value(found, "squall_link_unreceipted_frames", **ends) == 2
    assert value(found, "squall_link_unreceipted_bytes", **ends) == 500
    assert (value(found, "squall_link_waiting", **ends), value(found, "squall_link_under_way", **ends)) == (3, 4)
    assert value(found, "squall_link_refused_total", worker="1", cause="garbage") == 6


def test_every_metric_is_named_by_the_convention() -> None:
    """Base units at the end, no colon, no `_total` in the table since every counter gets it."""
    for metric in METRICS:
        assert re.fullmatch("squall_[a-z_]+", metric.name)
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_percent"))
        assert metric.help.endswith(".")
        assert metric.kind is not Kind.SUMMARY or metric.name.endswith("_seconds")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_a_run_that_has_not_reported_has_a_phase_and_an_age() -> None:
    newest = Newest()
    newest.take({"event": "started", "topology": "shop", "at_epoch_ms": 0})
    found = families(newest.now())
    assert value(found, "squall_phase", phase="starting") == 1
    assert value(found, "squall_report_age_seconds") > 0
    assert value(found, "squall_up") == 1


def test_before_a_run_has_said_its_name_there_are_no_figures() -> None:
    """They would be time series of a topology without a name."""
    assert families(Newest().now()) == []


def test_the_end_of_a_run_is_its_last_reading() -> None:
    newest = Newest(lambda: {"count": 12.5, "save": 3.0})
    newest.take({"event": "started", "topology": "shop", "at_epoch_ms": 0})
    newest.take(event({"count": {"acked": 3}}))
    newest.take({"event": "summary", **{**event({"count": {"acked": 5}}), "event": "summary"}})
    found = families(newest.now())
    assert value(found, "squall_component_acked_total", component="count") == 5
    assert value(found, "squall_up") == 0
    assert value(found, "squall_stuck_seconds", component="count") == 12.5
    assert value(found, "squall_stuck_seconds", component="save") == 3


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("9100", ("", 9100)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:1", ("::1", 1)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_an_address_is_a_port_or_a_host_with_one(address: str, told: tuple[str, int]) -> None:
    assert split_address(address) == told


@pytest.mark.parametrize("address", ["", ":", ":9100", "host", "host:", "1:65536", "::1:80", "[host]:80", "٣", "-1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="metrics_address"):
        Endpoint(address, list)


def test_an_address_of_no_use_says_what_the_system_says() -> None:
    with pytest.raises(ClusterError, match="metrics_unserved"):
        Endpoint("192.0.2.1:0", list)


def test_opentelemetry_that_is_not_installed_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    with pytest.raises(ConfigError, match=r'pip install "squall\[otel\]"'):
        Push(list, {})


def test_an_environment_that_the_exporter_refuses_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "-1")
    with pytest.raises(ConfigError, match="otel_invalid"):
        Push(list, {})


def test_an_endpoint_that_is_closed_leaves_its_address_free_at_once() -> None:
    first = Endpoint("0", list)
    with urllib.request.urlopen(first.url, timeout=5) as answer:
        assert answer.status == 200
    first.close()
    again = Endpoint(first.url.removeprefix("http://").removesuffix("/metrics"), list)
    assert again.url == first.url
    again.close()


def test_who_says_nothing_holds_up_no_other_and_too_many_of_them_are_sent_away() -> None:
    endpoint = Endpoint("0", list)
    host, _, port = endpoint.url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
    with ExitStack() as stack:
        for _ in range(AT_ONCE - 1):
            stack.enter_context(socket.create_connection((host, int(port))))
        with urllib.request.urlopen(endpoint.url, timeout=5) as answer:
            assert answer.status == 200
        more = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(2)]
        for connection in more:
            connection.settimeout(5)
        ended = select.poll()
        for connection in more:
            ended.register(connection, select.POLLIN)
        assert ended.poll(5000)
    endpoint.close()
