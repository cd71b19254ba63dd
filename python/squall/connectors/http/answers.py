"""What the answer to a request means for its rows: pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SHOWN = 300
"""Characters of an answer that a dead letter keeps."""
WAIT_S = 1.0
MAX_WAIT_S = 3600.0
BUSY = (429, 503)
MAY_CHANGE = (408, 425)
"""Refusals that another try may not meet."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The rows are there."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The other side takes nothing for now."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The try failed, and counts."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Another try would end the same."""


Meaning = Taken | Wait | Failed | Refused


def meaning(status: int, headers: Mapping[str, str], now: datetime) -> Meaning:
    """What an answer means."""
    if 200 <= status < 300:
        return Taken()
    if status in BUSY:
        return Wait(retry_after_s(headers.get("retry-after", ""), now))
    if status >= 500 or status in MAY_CHANGE:
        return Failed()
    return Refused()


def retry_after_s(text: str, now: datetime) -> float:
    """Seconds of a `Retry-After`: a number, or a date; a second if it is neither. At most an hour."""
    text = text.strip()
    if text.isdecimal():
        return min(float(text), MAX_WAIT_S)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return WAIT_S
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), MAX_WAIT_S)


def shown(status: int, text: str) -> str:
    """An answer in one line."""
    line = " ".join(text.split())
    return f"{status} {line[:SHOWN]}{'…' if len(line) > SHOWN else ''}".rstrip()
