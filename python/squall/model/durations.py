"""Durations: as code gives them, and as people write them (`20s`, `5m`, `250ms`, `1.5h`)."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta
"""A duration in code: seconds, or a timedelta."""

MAX_S = 100 * 365 * 86_400.0
"""Longest duration as text; far beyond it timers of the operating system end."""
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(value: Seconds) -> float:
    """A duration as seconds."""
    return float(value) if isinstance(value, int | float) else value.total_seconds()


def seconds_or_none(value: object) -> float | None:
    """A finite duration as seconds; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        return None
    try:
        length_s = seconds(value)
    except OverflowError:
        return None
    return length_s if math.isfinite(length_s) else None


def parse_duration(text: str) -> float:
    """Seconds of a duration; a plain number is seconds.

    Raises:
        ValueError: it is none, or longer than 100 years.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|m|h|d)?\s*", text)
    if not match:
        raise ValueError(f"{text!r} is no duration; write 20s, 5m or 250ms")
    duration_s = float(match[1]) * UNITS_S[match[2] or "s"]
    if duration_s > MAX_S:
        raise ValueError(f"{text!r} is longer than 100 years")
    return duration_s
