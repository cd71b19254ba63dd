"""Figures as words, each in one way; what was not measured is a dash and never a zero."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from squall.cli.texts import compact

NOTHING = "–"


def per_s(rate: float) -> str:
    """A rate, in at most seven characters: `0/s`, `3.5/s`, `98k/s`."""
    return f"{rate:.1f}/s" if 0 < rate < 9.95 else f"{compact(rate)}/s"


def ms(latency: Mapping[str, float] | None, figure: str) -> str:
    """Milliseconds with as many places as mean something."""
    if not latency or not latency["count"]:
        return NOTHING
    value = latency[figure]
    if value < 0.0001:
        return "<0.0001"
    return f"{value:.{4 if value < 0.1 else 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0}f}"


def share(ratio: float) -> str:
    """A ratio as a percentage."""
    return f"{ratio:.0%}".replace("%", " %")


def size(count_bytes: float) -> str:
    """Memory: `84 MB`."""
    for unit in ("B", "kB", "MB"):
        if count_bytes < 1000:
            return f"{count_bytes:.0f} {unit}"
        count_bytes /= 1000
    return f"{count_bytes:.1f} GB"


def span(seconds: float) -> str:
    """A duration by its two largest units."""
    whole = int(seconds)
    for unit, part, long, short in ((86_400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= unit:
            return f"{whole // unit} {long} {whole % unit // part} {short}"
    return f"{whole} s"


def clock(iso: str) -> str:
    """The time of day of an instant, where the reader is."""
    return datetime.fromisoformat(iso).astimezone().strftime("%H:%M:%S")


def one_line(text: str) -> str:
    """Text of users on one line, without what a terminal would take for an order."""
    return "".join(char if char.isprintable() else " " for char in text)


def harmless(text: str) -> str:
    """Text of users on as many lines as it has, without what a terminal would take for an order."""
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)


def culprits(name: str, components: Mapping[str, Mapping[str, Any]], from_ratio: float) -> list[str]:
    """Sentences that say who holds a component up for at least this share of its time."""
    told = components[name].get("blocked_ratio", {}).items()
    return [_sentence(name, culprit, ratio, components) for culprit, ratio in told if ratio >= from_ratio]


def _sentence(name: str, culprit: str, ratio: float, components: Mapping[str, Mapping[str, Any]]) -> str:
    figures, of_time = components[name], f"{share(ratio)} of the time"
    if culprit == "rate limit":
        return f"{name} waits {of_time} for its own rate limit"
    if culprit == "own pause":
        return f"{name} rests {of_time}, as it asked for"
    if culprit == "waiting retries":
        return f"{name} is held up {of_time} by {figures['retrying']:,} tuples that wait for their next try"
    if culprit == "dead letter log":
        return f"{name} is held up {of_time} by the log of dead letters, which takes nothing"
    if culprit == name:
        return f"{name} is held up {of_time}: {figures['pending']:,} of at most {figures['pending_max']:,} are pending"
    why = _why(components.get(culprit, {}))
    return f"{name} is held up {of_time} by {culprit}" + (f" ({why})" if why else "")


def _why(culprit: Mapping[str, Any]) -> str:
    """What is to be seen at a component that holds others up."""
    if not culprit:
        return ""
    if (most := culprit.get("in_flight_max", 0)) and culprit["in_flight"] >= 0.9 * most:
        return f"in flight {culprit['in_flight']:,} of {most:,}"
    if culprit["held"]:
        return f"holds {culprit['held']:,}"
    told = [f"queue {compact(culprit['queue'])}"] if culprit["queue"] else []
    if not culprit["in_flight_max"]:  # else calls overlap
        told.insert(0, f"busy {share(min(culprit.get('busy_ratio', 0.0), 1.0))} of the time")
    return ", ".join(told)
