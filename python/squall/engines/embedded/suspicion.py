"""On which outputs of spouts workers have died, over all lives of a worker (semantics 9).

A root that was opened by the lost worker is gone with it; its output comes again from the new life, as a new root. So
outputs are known by their places in the order of their spout's task, counted over all lives. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

Key = str
"""A spout's task: `component/index`."""


class Suspicion:
    """What is known of one worker's spouts.

    A life's outputs are counted from its base: what had ended before, of a generator; what had ended at the position
    where the life began, of a spout with positions.
    Bound: outputs that have ended are forgotten when a life begins.
    """

    def __init__(self) -> None:
        self._bases: Counter[Key] = Counter()
        self._positions: Counter[Key] = Counter()
        self._deaths: dict[Key, Counter[int]] = {}

    def positioned(self, key: Key, ended: int) -> None:
        """A position is stored at which so many outputs of this life had ended: the next one would begin there."""
        self._positions[key] = ended

    def died_on(self, key: Key, place: int) -> None:
        """The worker died on an output of this life."""
        self._deaths.setdefault(key, Counter())[self._bases[key] + place] += 1

    def next_life(self, ended: Mapping[Key, int]) -> None:
        """A new life begins.

        Args:
            ended: how many outputs of generators' tasks have ended in all lives.
        """
        self._bases.update(self._positions)
        self._positions.clear()
        self._bases |= Counter(ended)

    def to_come(self) -> dict[Key, dict[int, int]]:
        """How often the worker died on outputs that this life will make, by their places in it."""
        return {
            key: {place - self._bases[key]: count for place, count in deaths.items() if place >= self._bases[key]}
            for key, deaths in self._deaths.items()
        }
