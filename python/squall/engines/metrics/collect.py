"""From a reading to families: the one table, and what users count themselves."""

from __future__ import annotations

import re
from collections import Counter as Counts
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from squall.engines.metrics.families import Family, Kind, Sample
from squall.engines.metrics.reading import Reading
from squall.engines.metrics.table import METRICS, QUANTILES, Metric

PREFIX = "squall_user_"
LONGEST_NAME = 180
"""Characters of a user's name that are kept; monitoring systems refuse names that are too long."""
SUFFIXES = {
    Kind.COUNTER: ("_total", "_created"),
    Kind.GAUGE: ("",),
    Kind.HISTOGRAM: ("", "_bucket", "_sum", "_count", "_created"),
}
"""What the samples of a family are called after its name."""


def families(reading: Reading) -> list[Family]:
    """Everything that is known of a run; families without a sample are left out, and all before it says its name."""
    if not reading.started:
        return []
    common = {"topology": reading.started["topology"]}
    own = (_family(metric, reading, common) for metric in METRICS)
    return [family for family in (*own, *_users(reading, common)) if family.samples]


def _family(metric: Metric, reading: Reading, common: Mapping[str, str]) -> Family:
    samples: list[Sample] = []
    for values, value in metric.read(reading):
        labels = {**common, **dict(zip(metric.labels, values, strict=True))}
        if metric.kind is Kind.SUMMARY:
            samples += _summary(labels, value)
        else:
            samples.append(Sample(labels, value, "_total" if metric.kind is Kind.COUNTER else ""))
    return Family(metric.name, metric.kind, metric.help, tuple(samples))


def _summary(labels: Mapping[str, str], latency_ms: Mapping[str, float]) -> Iterator[Sample]:
    for quantile, key in QUANTILES.items():
        yield Sample({**labels, "quantile": quantile}, _seconds(latency_ms[key]))
    yield Sample(labels, latency_ms["count"], "_count")
    yield Sample(labels, _seconds(latency_ms["sum"]), "_sum")


def _seconds(ms: float) -> float:
    return round(ms / 1e3, 9)


# -- the user's own ----------------------------------------------------------------------------------------------


class Own(NamedTuple):
    """A user's figure, as one component shows it."""

    name: str
    component: str
    figure: Any


def _users(reading: Reading, common: Mapping[str, str]) -> Iterator[Family]:
    taken: set[str] = set()
    for kind, key in ((Kind.COUNTER, "counters"), (Kind.HISTOGRAM, "histograms"), (Kind.GAUGE, "gauges")):
        stems: dict[str, list[Own]] = {}
        for component, now in reading.components.items():
            for name, figure in now.get("own", {}).get(key, {}).items():
                stems.setdefault(stem(name, kind), []).append(Own(name, component, figure))
        for word, figures in sorted(stems.items()):
            family = _free(PREFIX + word, kind, taken)
            yield Family(family, kind, _help(kind, figures), tuple(_samples(kind, word, figures, common)))


def stem(name: str, kind: Kind) -> str:
    """What a user's name is in a metric's: letters, digits and `_`; a counter gets its `_total` later."""
    word = re.sub(r"[^a-zA-Z0-9_]+", "_", name)[:LONGEST_NAME].strip("_") or "_"
    return word.removesuffix("_total") if kind is Kind.COUNTER and word != "_total" else word


def _free(family: str, kind: Kind, taken: set[str]) -> str:
    """A name of which no sample is called as one of a family before: a counter and a gauge may have the same name."""
    name, number_ = family, 1
    while any(name + suffix in taken for suffix in ("", *SUFFIXES[kind])):
        name = f"{family}_{kind.value}" if number_ == 1 else f"{family}_{kind.value}_{number_}"
        number_ += 1
    taken.update(name + suffix for suffix in ("", *SUFFIXES[kind]))
    return name


def _help(kind: Kind, figures: Sequence[Own]) -> str:
    names = ", ".join(sorted({repr(one.name[:LONGEST_NAME]) for one in figures})[:3])
    by_task = ", of each task" if kind is Kind.GAUGE else ", over all tasks"
    return f"The topology's own {kind.value} {names}{by_task}."


def _samples(kind: Kind, word: str, figures: Sequence[Own], common: Mapping[str, str]) -> Iterator[Sample]:
    """Where two names of a component have become one, the label `name` tells those apart that were changed."""
    found = Counts(one.component for one in figures)
    for name, component, figure in figures:
        labels = {**common, "component": component}
        if found[component] > 1 and name != word:
            labels["name"] = name
        match kind:
            case Kind.HISTOGRAM:
                yield from _histogram(labels, figure)
            case Kind.GAUGE:
                yield from (Sample({**labels, "task": task}, value) for task, value in figure.items())
            case _:
                yield Sample(labels, figure, "_total")


def _histogram(labels: Mapping[str, str], figure: Mapping[str, Any]) -> Iterator[Sample]:
    for bound, count in figure["buckets"]:
        yield Sample({**labels, "le": repr(float(bound))}, count, "_bucket")
    yield Sample({**labels, "le": "+Inf"}, figure["count"], "_bucket")
    yield Sample(labels, figure["count"], "_count")
    yield Sample(labels, figure["sum"], "_sum")
