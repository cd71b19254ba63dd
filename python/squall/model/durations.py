"""Durations: as code gives them, and as people write them (`20s`, `5m`, `250ms`, `1.5h`)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta
"""A duration in code: seconds, or a timedelta."""

UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(value: Seconds) -> float:
    """A duration as seconds."""
    return float(value) if isinstance(value, int | float) else value.total_seconds()


def parse_duration(text: str) -> float:
    """Seconds of a duration; a plain number is seconds.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)?\s*", text)
    if not match:
        raise ValueError(f"{text!r} is no duration; write 20s, 5m or 250ms")
    return float(match[1]) * UNITS_S[match[2] or "s"]
