"""Reports of several workers as one, over all their lives (semantics 36).

Each life of a worker counts from zero. What a lost life had counted is kept in one sum, so memory does not grow with
deaths. Counters add up, with those of lost lives; what stands now (queues, rates, shares, gauges) is of the living
alone. Percentiles cannot be merged: the worst is told, which is never too good.

A lost life may have counted more than its last report tells. Its totals of roots outlive it in a shared page; so the
totals stay exact, and what its components counted since is missing and marked `approximate`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from types import MappingProxyType
from typing import Any, TypeAlias

from squall.model.figures import (
    ALL_TIME,
    COUNTS,
    GAUGES,
    LINK_COUNTS,
    LINK_GAUGES,
    RECENT_TIMES,
    ROOTS,
    SOURCE_GAUGES,
    TIMES,
    top,
    worst,
)
from squall.model.graph import DEAD_LETTERS

Report: TypeAlias = Mapping[str, Any]
"""What a worker tells in its `progress` and `ended` events: totals, components, rates."""
Figures: TypeAlias = Mapping[str, Any]
"""What one component has counted."""
Components: TypeAlias = Mapping[str, Figures]
Counts: TypeAlias = tuple[int, int, int, int]
"""Emitted, acked, failed and dead roots of all spouts of a life."""
Numbers: TypeAlias = Mapping[str, float]

SHOWN_FROM = 0.001
"""Least share of blocked time that is told."""
SUMS = (*ROOTS, "out")
ROUNDED_SUMS = ("emitted_per_s", "out_per_s", "cpu_s")
NOTHING: Report = MappingProxyType({})
RATES = ("executed_per_s", "emitted_per_s", "busy_ratio")
RATES_BY = ("inputs_per_s", "streams_per_s")


@dataclass(frozen=True, slots=True)
class Life:
    """A life of a worker: the components that it has tasks of, and its newest report."""

    components: Components
    report: Report = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Totals:
    """What is known of all lives: those that go on, or said their last word, by incarnation; the lost ones in one.

    `components`: each component of the graph with figures of zero, in the order in which they are told.
    """

    components: Components
    lives: Mapping[int, Life] = field(default_factory=dict[int, Life])
    lost: Report | None = None


def begun(totals: Totals, incarnation: int, components: Collection[str]) -> Totals:
    """A life has begun that runs tasks of these components."""
    zeros = {name: {**zero, "tasks": 0} for name, zero in totals.components.items() if name in components}
    return replace(totals, lives={**totals.lives, incarnation: Life(zeros)})


def reported(totals: Totals, incarnation: int, report: Report) -> Totals:
    """A life has told its figures; what comes from one that is lost is too late, since it has been counted."""
    if (life := totals.lives.get(incarnation)) is None:
        return totals
    return replace(totals, lives={**totals.lives, incarnation: replace(life, report=report)})


def lost(totals: Totals, incarnation: int, counted: Counts) -> Totals:
    """A life ended without a last word; `counted` outlived it. What was pending has failed."""
    if (life := totals.lives.get(incarnation)) is None:
        return totals
    last = after_loss(life.report, life.components, counted)
    last["components"] = {
        name: _outlived(figures) | ({"approximate": True} if name in life.components else {})
        for name, figures in last["components"].items()
    }
    last["links"] = {worker: _links_outlived(links) for worker, links in last.get("links", {}).items()}
    last |= {"emitted_per_s": 0.0, "out_per_s": 0.0, "uptime_s": 0.0, "recent_complete_ms": worst([])}
    lives = {number: other for number, other in totals.lives.items() if number != incarnation}
    return replace(totals, lives=lives, lost=_added(totals.lost or NOTHING, last))


def merged(totals: Totals) -> dict[str, Any]:
    """One report of all: what a single worker with all tasks would tell.

    Out: as `Report` · `links`: by worker, its `peers` and what it has `refused` · `approximate` true, also by
        component, where a lost life may have counted more than is known.
    """
    reports = [totals.lost or NOTHING, *(life.report for life in totals.lives.values())]
    out = reduce(_added, reports, NOTHING)
    components = {name: out["components"].get(name, zero) for name, zero in totals.components.items()}
    return {**out, "components": components} | ({"approximate": True} if totals.lost is not None else {})


# -- a life that was lost ----------------------------------------------------------------------------------------


def after_loss(report: Report, components: Components, counted: Counts) -> dict[str, Any]:
    """The last report of a lost life, with its totals as they have become: nothing is pending, that has failed.

    Args:
        components: figures of zero of each component that it ran, for those that no report has told of.
        counted: what all its spouts have counted, from a place that outlived it.
    """
    figures: Components = {**components, **report.get("components", {})}
    totals = roots_of(figures)
    totals |= _given_up(totals, figures, counted)
    figures = {name: _without_pending(one) for name, one in figures.items()}
    spouts = _spouts(figures)
    if len(spouts) == 1:
        figures = {**figures, spouts[0]: {**figures[spouts[0]], **totals}}
    return {**report, **totals, "components": figures}


def roots_of(components: Components) -> dict[str, int]:
    """The totals of the user's spouts: emitted, acked, failed, pending, dead."""
    return {key: sum(components[name][key] for name in _spouts(components)) for key in ROOTS}


def _spouts(components: Components) -> list[str]:
    return [name for name, one in components.items() if one["kind"] == "spout" and name != DEAD_LETTERS]


def _given_up(totals: Mapping[str, int], components: Components, counted: Counts) -> dict[str, int]:
    """The roots of a lost life: what was pending has failed.

    A worker counts all its spouts in one, with the one of its dead letters. It does so after each turn of its loop,
    so a report may know more.
    """
    letters = components.get(DEAD_LETTERS, {"emitted": 0, "acked": 0, "dead": 0})
    emitted = max(totals["emitted"], counted[0] - letters["emitted"])
    acked = max(totals["acked"], counted[1] - letters["acked"])
    dead = max(totals["dead"], counted[3] - letters["dead"])
    return {"emitted": emitted, "acked": acked, "failed": emitted - acked, "pending": 0, "dead": dead}


def _without_pending(figures: Figures) -> Figures:
    if figures["kind"] != "spout":
        return figures
    return {**figures, "failed": figures["failed"] + figures["pending"], "pending": 0}


def _outlived(figures: Figures) -> dict[str, Any]:
    """What is left of a component's figures when its life is over: what only grows, and how long things took."""
    own: dict[str, Any] = {**figures["own"], "gauges": {}}
    source = {name: count for name, count in figures["source"].items() if name not in SOURCE_GAUGES}
    return {
        **figures,
        **dict.fromkeys(GAUGES, 0),
        **dict.fromkeys(RATES, 0.0),
        **{key: {} for key in RATES_BY},
        **{key: worst([]) for key in RECENT_TIMES},
        "capacity": 0.0,
        "blocked_ratio": {},
        "windows": {name: counts for name, counts in figures["windows"].items() if name == ALL_TIME},
        "metrics": _grown(figures["metrics"], own, source),
        "tables": {},
        "own": own,
        "source": source,
        "tasks": 0,
    }


def _links_outlived(links: Figures) -> dict[str, Any]:
    """What is left of a worker's links when its life is over: what it has counted."""
    nothing = {**dict.fromkeys(LINK_GAUGES, 0), "is_up": False}
    return {**links, "peers": {peer: {**figures, **nothing} for peer, figures in links["peers"].items()}}


def _grown(metrics: Numbers, own: Figures, source: Numbers) -> dict[str, float]:
    """The part of a component's numbers by name that counters, histograms and sources have given."""
    out = _summed(own["counters"], source)
    for name, histogram in own["histograms"].items():
        out = _summed(out, {f"{name}.count": histogram["count"]})
        out[f"{name}.p99"] = metrics.get(f"{name}.p99", 0.0)
    return out


# -- two reports as one ------------------------------------------------------------------------------------------


def _added(one: Report, other: Report) -> Report:
    return {
        **{key: one.get(key, 0) + other.get(key, 0) for key in SUMS},
        **{key: round(one.get(key, 0.0) + other.get(key, 0.0), 3) for key in ROUNDED_SUMS},
        **{
            key: worst([report[key] for report in (one, other) if key in report])
            for key in ("complete_ms", "recent_complete_ms")
        },
        "uptime_s": max(one.get("uptime_s", 0.0), other.get("uptime_s", 0.0)),
        "errors": _by_name(_errors, one.get("errors", {}), other.get("errors", {})),
        "components": _by_name(_figures, one.get("components", {}), other.get("components", {})),
        "links": _by_name(_links, one.get("links", {}), other.get("links", {})),
    }


def _links(one: Figures, other: Figures) -> Figures:
    """The links of one worker in two of its lives, of which the other goes on."""

    def link(before: Figures, now: Figures) -> Figures:
        return {**now, **{key: before[key] + now[key] for key in LINK_COUNTS}}

    return {
        "peers": _by_name(link, one["peers"], other["peers"]),
        "refused": _summed(one["refused"], other["refused"]),
    }


def _figures(one: Figures, other: Figures) -> Figures:
    def numbers(key: str) -> dict[str, float]:
        return _summed(one.get(key, {}), other.get(key, {}))

    def rounded(*keys: str) -> dict[str, float]:
        return {key: round(one[key] + other[key], 3) for key in keys if key in one and key in other}

    return {
        **one,
        **other,
        **{key: one[key] + other[key] for key in (*COUNTS, *GAUGES, "tasks")},
        **{key: worst([one[key], other[key]]) for key in TIMES},
        **rounded("busy_ms", "waited_ms", *RATES),
        **{key: numbers(key) for key in ("streams", "inputs", "source", "blocked_ms", *RATES_BY) if key in other},
        "capacity": max(one["capacity"], other["capacity"]),
        "blocked_ratio": _weighted(one, other),
        "windows": _by_name(_summed, one["windows"], other["windows"]),
        "metrics": _metrics(one, other),
        "tables": {name: top(rows) for name, rows in _by_name(_summed, one["tables"], other["tables"]).items()},
        "own": {
            "counters": _summed(one["own"]["counters"], other["own"]["counters"]),
            "gauges": _by_name(lambda a, b: {**a, **b}, one["own"]["gauges"], other["own"]["gauges"]),
            "histograms": _by_name(_histograms, one["own"]["histograms"], other["own"]["histograms"]),
        },
    }


def _weighted(one: Figures, other: Figures) -> dict[str, float]:
    """Shares of the time of all tasks, by culprit: each worker's shares count as often as it has tasks."""
    tasks = max(one["tasks"] + other["tasks"], 1)
    times = [
        {name: share * figures["tasks"] for name, share in figures["blocked_ratio"].items()} for figures in (one, other)
    ]
    shares = {name: round(time / tasks, 3) for name, time in _summed(*times).items() if time / tasks >= SHOWN_FROM}
    return dict(sorted(shares.items(), key=lambda share: -share[1]))


def _metrics(one: Figures, other: Figures) -> dict[str, float]:
    mine, theirs = one["metrics"], other["metrics"]
    worst_of = {f"{name}.p99" for figures in (one, other) for name in figures["own"]["histograms"]}
    return {name: _both(max if name in worst_of else _sum, mine, theirs, name) for name in {**mine, **theirs}}


def _histograms(one: Figures, other: Figures) -> Figures:
    """One whose buckets are others in another worker cannot be added; the fuller one is told."""
    bounds = [[bound for bound, _ in histogram["buckets"]] for histogram in (one, other)]
    if bounds[0] != bounds[1]:
        return max(one, other, key=lambda histogram: histogram["count"])
    pairs: Iterable[tuple[Sequence[Any], Sequence[Any]]] = zip(one["buckets"], other["buckets"], strict=True)
    return {
        "count": one["count"] + other["count"],
        "sum": one["sum"] + other["sum"],
        "buckets": [[bound, count + more] for (bound, count), (_, more) in pairs],
    }


def _errors(one: Figures, other: Figures) -> Figures:
    """How many are kept, and the newest."""
    return {**max(one, other, key=lambda kept: kept["at"]), "count": one["count"] + other["count"]}


def _summed(one: Numbers, other: Numbers) -> dict[str, float]:
    return _by_name(_sum, one, other)


def _sum(one: float, other: float) -> float:
    """Without the tail that binary fractions leave; whole numbers as they are."""
    return whole if isinstance(whole := one + other, int) else round(whole, 9)


def _by_name(merge: Callable[[Any, Any], Any], one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings as one; a name of both has what `merge` makes of its values."""
    return {name: _both(merge, one, other, name) for name in {**one, **other}}


def _both(merge: Callable[[Any, Any], Any], one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> Any:
    if name not in one:
        return other.get(name)
    return merge(one[name], other[name]) if name in other else one[name]
