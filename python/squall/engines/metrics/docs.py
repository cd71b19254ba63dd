"""Writes the reference of metrics from the table: `python -m squall.engines.metrics.docs`."""

from __future__ import annotations

from squall.engines.metrics.families import Kind
from squall.engines.metrics.table import METRICS, Metric

HEAD = """# Metrics

Written from the one table in `python/squall/engines/metrics/table.py` by
`python -m squall.engines.metrics.docs > docs/reference/metrics.md`.

What a run tells of itself, for Prometheus (`squall run --metrics 9100`), for OpenTelemetry (`--otel`), once in a
terminal (`squall metrics`). The values are those of the `progress` events of `squall run --json`, a second old at
most while the worker reports; *JSON* says where they are there, with `NAME` for a component. How to collect them, and
which alerts matter: [Monitoring](../guides/monitoring.md).

Names and units follow the convention of Prometheus: seconds, bytes, ratios from 0 to 1, counters end with `_total`.
Every sample has the label `topology`; those of components have `component` and `kind` (`spout` or `bolt`). Counts are
of all tasks of a component together and exact; times are of a sample of the calls (`topology.stats.sample.rate`),
weighted. Names of components that begin with `__` are squall's own.

| Metric | Kind | Labels | JSON | Meaning |
|---|---|---|---|---|
"""
OWN = """
A summary has `{quantile="0.5"}`, `0.99`, `0.999` and `1` (the longest), `_count` and `_sum`. Quantiles are of all
time, and of the task where they are highest; for a mean of the last minutes divide the rates of `_sum` and `_count`.

## Your own

What components count through their [context](context.md) gets the prefix `squall_user_`, with the name as it is but
for characters that metrics do not have, which become `_`. Units are yours: name them (`wait_seconds`). Connectors that
are written in Python (files, HTTP) count in the same way.

| In code | Metric | Kind | Labels | JSON |
|---|---|---|---|---|
"""
OWN_ROWS = (
    ('counter("orders")', "orders_total", "counter", "`component`", "counters"),
    ('gauge("cache size", read)', "cache_size", "gauge", "`component`, `task`", "gauges"),
    ('histogram("wait", buckets=(0.1, 1, 10))', "wait", "histogram", "`component`, `le` of buckets", "histograms"),
)
FOOT = """
Without `buckets` a histogram has three a decade from 0.001 to 1,000,000; each is a series. A table (`context.table`) is
for the live view only.

- Where two names of a component become one metric (`a-b`, `a.b`; `orders`, `orders_total`), the label `name` tells
  those apart that were changed.
- Where a counter, a histogram and a gauge would share a name, the later kinds in this order have `_histogram` or
  `_gauge` at the end.
- A task shows 200 figures of its own; a later one counts, is not shown, and an error of the component says so. Do not
  make names of data.

## OpenTelemetry

Instruments have the same names without `_total`, which a collector that writes Prometheus adds again, and the same
labels; units are `s`, `By` and `1`. Those of a summary or a histogram are gauges (quantiles) and counters (`_bucket`,
`_count`, `_sum`), since no instrument takes ready buckets over. The resource has `service.name` (the topology),
`service.instance.id`, `service.version`, and what the environment says. Where to, how often, with which headers:
`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_EXPORTER_OTLP_HEADERS` and the others of the
OpenTelemetry specification; the protocol is HTTP with protobuf. It needs `pip install "squall[otel]"`.
"""


def row(metric: Metric) -> str:
    """One line of the reference."""
    name = metric.name + ("_total" if metric.kind is Kind.COUNTER else "")
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    where = f"`{metric.where}`" if metric.where else ""
    return f"| `{name}` | {metric.kind.value} | {labels} | {where} | {metric.help} |"


def own_row(call: str, name: str, kind: str, labels: str, where: str) -> str:
    """One line of the users' own."""
    return f"| `context.{call}` | `squall_user_{name}` | {kind} | {labels} | `components.NAME.own.{where}` |"


def page() -> str:
    """The whole reference."""
    lines = "\n".join(map(row, METRICS))
    return f"{HEAD}{lines}\n{OWN}" + "\n".join(own_row(*one) for one in OWN_ROWS) + f"\n{FOOT}"


if __name__ == "__main__":
    print(page(), end="")
