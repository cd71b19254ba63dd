"""Why a partition does not move, or a task has none, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from squall.connectors.kafka.offsets import Key, Offsets, Partition


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
        ends: the offset after the newest record of each partition, as far as it is known.
        held_because: why nothing is given, though it could be; None: nothing is held back.
    """

    away_because: str | None
    paused: frozenset[Key]
    busy: Mapping[str, int]
    ends: Mapping[Key, int]
    held_because: str | None = None


class Watch:
    """Notices what has not moved for a while.

    Args:
        after_s: for how long.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._moved: dict[Key, tuple[int | None, float]] = {}
        self._without_since_s: float | None = None

    def stalls(self, offsets: Offsets, now: Circumstances, now_s: float) -> list[Stall]:
        """The partitions that do not move though there is something to do; to be called again and again."""
        found: list[Stall] = []
        moved: dict[Key, tuple[int | None, float]] = {}
        for key, partition in offsets.partitions.items():
            ended, since_s = self._moved.get(key, (None, now_s))
            if ended != partition.ended or not (partition.is_waiting or _has_more(key, partition, now)):
                since_s = now_s
            moved[key] = partition.ended, since_s
            if now_s - since_s >= self._after_s:
                found.append(Stall(key, now_s - since_s, _why(key, partition, now)))
        self._moved = moved
        return found

    def has_long_had_none(self, offsets: Offsets, now_s: float) -> bool:
        """Whether the task has had no partition for so long; to be called again and again."""
        if offsets.partitions:
            self._without_since_s = None
            return False
        if self._without_since_s is None:
            self._without_since_s = now_s
        return now_s - self._without_since_s >= self._after_s


def _has_more(key: Key, partition: Partition, now: Circumstances) -> bool:
    return partition.reached is not None and now.ends.get(key, 0) > partition.reached


def _why(key: Key, partition: Partition, now: Circumstances) -> str:
    if partition.is_waiting:
        told = f"the record at offset {partition.ended} has not ended: {held_by(now.busy)}"
        if key in now.paused:
            told += f"; nothing more of it is read, as {partition.uncommitted:,} offsets are uncommitted"
    elif now.held_because:
        told = f"its records from offset {partition.reached} on wait: {now.held_because}"
    else:
        told = f"the brokers give nothing from offset {partition.reached} on, though it goes to {now.ends[key]}"
        if not now.away_because:
            told += ": a transaction on it has not ended, or its leader is away"
    if now.away_because:
        told += f"; no broker can be reached: {now.away_because}"
    return told


def held_by(busy: Mapping[str, int]) -> str:
    """Which components hold tuples."""
    if not busy:
        return "no component of this worker holds a tuple, so it waits for its next try, or is in another worker"
    most = sorted(busy.items(), key=lambda one: -one[1])
    return "tuples are held by " + ", ".join(f"{name} ({count:,})" for name, count in most[:3])


@dataclass(frozen=True, slots=True)
class Group:
    """What the brokers say of a group.

    Args:
        state: as Kafka names it: `STABLE`, `PREPARING_REBALANCING`, …
        shares: how many partitions each member has.
    """

    state: str
    shares: Sequence[int]


def why_without(
    subscription: str, partitions: int | None, group: str | None, seen: Group | str, tasks: int
) -> tuple[str, bool]:
    """Why a task has no partition, and whether that is as it should be: it is one too many.

    Args:
        subscription: the topics.
        partitions: how many these have; None: nobody could be asked.
        group: that it is a member of; None: it takes its share of the partitions without one.
        seen: that group, or why it cannot be seen.
        tasks: of the spout.
    """
    if partitions is None:
        return f"no broker can be reached: {seen}", False
    if not partitions:
        return f"{subscription}: there is no such topic", False
    there = f"{subscription}: {partitions} partition{'s' if partitions > 1 else ''}"
    if group is None:
        return f"{there}, for {tasks} tasks", True
    if isinstance(seen, str):
        return f'nobody says what becomes of group "{group}": {seen}', False
    members = len(seen.shares)
    if seen.state == "STABLE" and members > partitions:
        return f'{there}, for {members} members of group "{group}"', True
    if seen.state == "STABLE":
        return f'{there}; group "{group}" is stable, and its {members} members have {sum(seen.shares)} of them', False
    return f'group "{group}" of {members} members is {seen.state.lower()}: its members have not agreed yet', False
