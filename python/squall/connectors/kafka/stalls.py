"""Why a partition does not move, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from squall.connectors.kafka.offsets import Key, Offsets


@dataclass(frozen=True, slots=True)
class Stall:
    """A partition in which nothing has ended for a while."""

    key: Key
    since_s: float
    why: str


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a task knows beside its offsets.

    Args:
        away_because: why no broker can be reached; None: one can be.
        paused: partitions that are paused since too much of them has not ended.
        busy: tuples that components have queued or in hand.
    """

    away_because: str | None
    paused: frozenset[Key]
    busy: Mapping[str, int]


def stalls(offsets: Offsets, now: Circumstances, now_s: float, after_s: float) -> list[Stall]:
    """The partitions that have not moved for `after_s` though there is something to do."""
    found: list[Stall] = []
    for key, partition in offsets.partitions.items():
        still_s = now_s - partition.moved_s
        if still_s < after_s:
            continue
        if partition.is_waiting:
            found.append(Stall(key, still_s, _held(key, offsets, now)))
    return found


def _held(key: Key, offsets: Offsets, now: Circumstances) -> str:
    partition = offsets.partitions[key]
    told = f"the record at offset {partition.ended} has not ended: {_by(now.busy)}"
    if key in now.paused:
        told += f"; nothing more of it is read, as {partition.uncommitted:,} offsets are uncommitted"
    if now.away_because:
        told += f"; no broker can be reached: {now.away_because}"
    return told


def _by(busy: Mapping[str, int]) -> str:
    if not busy:
        return "no component of this worker holds a tuple, so it waits for its next try, or is in another worker"
    most = sorted(busy.items(), key=lambda one: -one[1])
    return "tuples are held by " + ", ".join(f"{name} ({count:,})" for name, count in most[:3])
