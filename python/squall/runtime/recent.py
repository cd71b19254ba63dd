"""What a worker did lately: rates since its last report, and who held up whom over the last few.

Counters only grow; two of them with their times make a rate. Who is blocked is told over some seconds, since a spout
that is held up in bursts would flicker.

A spout is held up by what the core names (a full mailbox, its limit, …) and, while it has something to give, by those
whose code the loop runs meanwhile. The core only counts how long that was; to time each task in each turn would cost
more. The wait is shared out by how busy the others on the loop were, which their sampled calls tell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BLOCKED_OVER = 5
"""Reports, a second apart, over which the share of blocked time is told."""
SHOWN_FROM = 0.001
"""Least share of blocked time that is told."""

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """What had been counted at a time."""

    at_s: float
    emitted: int
    out: int
    components: Mapping[str, Figures]


class Recent:
    """The last reports of a worker. Bound: `BLOCKED_OVER` of them."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque([Point(0.0, 0, 0, {})], maxlen=BLOCKED_OVER)

    def keep(self, at_s: float, figures: Figures) -> None:
        """Takes a report in."""
        self._points.append(Point(at_s, figures["emitted"], figures["out"], figures["components"]))

    def rates(self, at_s: float, figures: Figures) -> dict[str, Any]:
        """What the figures of now have gained: totals a second, and the components with their rates and blocked shares.

        Out: `emitted_per_s`, `out_per_s` · for each component `executed_per_s`, `emitted_per_s`, by input and stream in
            `inputs_per_s` and `streams_per_s` · `busy_ratio`: how much of the time its code ran, in all its tasks ·
            `blocked_ratio`: share of the time of its tasks, by culprit.
        """
        last, first = self._points[-1], self._points[0]
        since_s = max(at_s - last.at_s, 1e-3)
        blocked_s = max(at_s - first.at_s, 1e-3)

        def lately(name: str, now: Figures) -> dict[str, Any]:
            before = first.components.get(name, {})
            inputs = _per_s(now, last.components.get(name, {}), "inputs", since_s)
            streams = _per_s(now, last.components.get(name, {}), "streams", since_s)
            return {
                "executed_per_s": round(sum(inputs.values()), 1),
                "emitted_per_s": round(sum(streams.values()), 1),
                "inputs_per_s": inputs,
                "streams_per_s": streams,
                "busy_ratio": round(_gained(now, before, "busy_ms") / (blocked_s * 1e3), 3),
                "blocked_ratio": _blocked(now, before, _others(busy, name), blocked_s),
            }

        busy = {
            name: gained
            for name, now in figures["components"].items()
            if not now["in_flight_max"] and (gained := _gained(now, first.components.get(name, {}), "busy_ms")) > 0
        }

        return {
            "emitted_per_s": round((figures["emitted"] - last.emitted) / since_s, 1),
            "out_per_s": round((figures["out"] - last.out) / since_s, 1),
            "components": {name: {**now, **lately(name, now)} for name, now in figures["components"].items()},
        }


def _per_s(now: Figures, before: Figures, key: str, since_s: float) -> dict[str, float]:
    counts: Mapping[str, int] = before.get(key, {})
    return {name: round((count - counts.get(name, 0)) / since_s, 1) for name, count in now[key].items()}


def _gained(now: Figures, before: Figures, key: str) -> float:
    return now[key] - before.get(key, 0.0)


def _others(busy: Mapping[str, float], name: str) -> dict[str, float]:
    """How the loop's work beside this component's is shared: parts of one."""
    whole = sum(ms for other, ms in busy.items() if other != name)
    return {other: ms / whole for other, ms in busy.items() if other != name and whole > 0}


def _blocked(now: Figures, before: Figures, others: Mapping[str, float], since_s: float) -> dict[str, float]:
    counted: Mapping[str, float] = before.get("blocked_ms", {})
    whole_ms = since_s * 1e3 * max(now["tasks"], 1)
    shares = {name: (ms - counted.get(name, 0.0)) / whole_ms for name, ms in now["blocked_ms"].items()}
    waited = _gained(now, before, "waited_ms") / whole_ms
    for other, part in others.items():
        shares[other] = shares.get(other, 0.0) + waited * part
    told = {name: min(round(share, 3), 1.0) for name, share in shares.items() if share >= SHOWN_FROM}
    return dict(sorted(told.items(), key=lambda one: -one[1]))
