"""How far each partition has ended, from the numbers of the outputs that have not. Pure.

The core counts a spout's outputs and knows which have not ended. Here is kept which records the outputs were, as runs
of records that followed each other, so a message costs nothing of its own. Each partition has a prefix of its own: a
slow record holds back its partition only. Offsets that are not there (compaction, transactions) are stepped over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Key: TypeAlias = tuple[str, int]
"""A topic and a partition."""


@dataclass(slots=True)
class Run:
    """Records of a partition that were given one after the other.

    Args:
        number: of the first one, among the outputs of the task.
        offsets: of each; a range where none is missing.
    """

    number: int
    offsets: Sequence[int]

    @property
    def end(self) -> int:
        """The number after the last one."""
        return self.number + len(self.offsets)


@dataclass(slots=True)
class Partition:
    """A partition that the task has: up to where records were given, ended, and committed.

    `reached`: the offset after the last record that was given, or after what is known not to hold any. `ended`: all
    before it have ended; None: nothing is known yet. `committed`: what the broker has.
    """

    runs: deque[Run] = field(default_factory=deque[Run])
    reached: int | None = None
    ended: int | None = None
    committed: int | None = None

    @property
    def uncommitted(self) -> int:
        """How many offsets lie between what has ended and what was given."""
        return 0 if self.reached is None or self.ended is None else self.reached - self.ended

    @property
    def is_waiting(self) -> bool:
        """Whether records of it have not ended."""
        return bool(self.runs)


class Offsets:
    """What a task has of its partitions.

    Bound: a run for each stretch of records that have not ended; `uncommitted` of a partition is bounded by who pauses
    it.
    """

    def __init__(self) -> None:
        self.partitions: dict[Key, Partition] = {}

    def begin(self, key: Key, offset: int | None) -> None:
        """A partition is read from now on: from an offset, or from where the first record shows; what was is forgotten.

        Outputs of it that have not ended count no longer: they are somebody else's, or given again.
        """
        self.partitions[key] = Partition(reached=offset, ended=offset)

    def forget(self, keys: Iterable[Key]) -> None:
        """These partitions are not the task's any more."""
        for key in keys:
            self.partitions.pop(key, None)

    def given(self, key: Key, number: int, offsets: Sequence[int]) -> None:
        """Records have become outputs, from a number on."""
        partition = self.partitions.get(key)
        if partition is None or not offsets:
            return
        if partition.ended is None:
            partition.ended = offsets[0]
        partition.runs.append(Run(number, offsets))
        partition.reached = offsets[-1] + 1

    def skipped(self, key: Key, offset: int) -> None:
        """No record comes before an offset any more."""
        partition = self.partitions.get(key)
        if partition is None:
            return
        if partition.reached is None or partition.reached < offset:
            partition.reached = offset
        if not partition.runs:
            partition.ended = partition.reached

    def settle(self, begun: int, unended: Sequence[int]) -> None:
        """Moves the prefixes.

        Args:
            begun: how many outputs have begun.
            unended: the numbers of those that have not ended, ascending.
        """
        for partition in self.partitions.values():
            self._settle(partition, begun, unended)

    def _settle(self, partition: Partition, begun: int, unended: Sequence[int]) -> None:
        while partition.runs:
            run = partition.runs[0]
            at = bisect_left(unended, run.number)
            first = min(unended[at] if at < len(unended) else begun, begun)
            if first < run.end:
                partition.ended = run.offsets[max(first - run.number, 0)]
                return
            partition.runs.popleft()
        if partition.reached is not None:
            partition.ended = partition.reached

    def ended(self, key: Key) -> int | None:
        """Before which offset all has ended; None: that is not known, or it is not the task's partition."""
        partition = self.partitions.get(key)
        return None if partition is None else partition.ended

    def to_commit(self) -> dict[Key, int]:
        """What has ended beyond what is committed."""
        return {
            key: partition.ended
            for key, partition in self.partitions.items()
            if partition.ended is not None and (partition.committed is None or partition.ended > partition.committed)
        }

    def committed(self, key: Key, offset: int) -> None:
        """The broker has it."""
        if (partition := self.partitions.get(key)) is not None:
            partition.committed = offset

    def have_ended(self, keys: Iterable[Key]) -> bool:
        """Whether nothing of these partitions is under way."""
        return not any(partition.runs for key in keys if (partition := self.partitions.get(key)))
