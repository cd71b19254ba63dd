"""What the lives of workers leave to the lives after them, of each task of a spout. Pure.

A root that was opened by a lost worker is gone with it; its output comes again from the next life, as a new root. So
outputs are known by their places in the order of their task, counted over all lives: a generator is run again without
what had ended (semantics 31), and what kills its worker again and again is known again (semantics 9).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

Key = str
"""A spout's task: `component/index`."""


class Legacy:
    """What is known of all tasks of spouts.

    A life's outputs are counted from its base: what had ended before, of a generator; what had ended at the position
    where the life began, of a spout with positions.
    Bound: outputs on which a worker died are forgotten when a life begins after them.
    """

    def __init__(self) -> None:
        self._bases: Counter[Key] = Counter()
        self._positions: Counter[Key] = Counter()
        self._deaths: dict[Key, Counter[int]] = {}

    def positioned(self, key: Key, ended: int) -> None:
        """A position is stored at which so many outputs of this life had ended: the next one would begin there."""
        self._positions[key] = ended

    def life_ended(self, prefixes: Mapping[Key, int], died_on: Iterable[tuple[Key, int]]) -> None:
        """A life has ended that nobody ended on purpose.

        Args:
            prefixes: for each of its tasks, how many outputs have ended with all before them, if the next life is not
                to make them again; 0 where its own position says where it goes on.
            died_on: outputs on which it died, by their places in this life. The outputs of a record have one place, and
                die one death, however many of them were there.
        """
        for key, place in set(died_on):
            self._deaths.setdefault(key, Counter())[self._bases[key] + place] += 1
        for key, prefix in prefixes.items():
            self._bases[key] += prefix + self._positions.pop(key, 0)
            if key in self._deaths:
                still = {place: count for place, count in self._deaths[key].items() if place >= self._bases[key]}
                self._deaths[key] = Counter(still)

    def ended(self, keys: Iterable[Key]) -> dict[Key, int]:
        """How many outputs of these tasks come before the first one that the next life is to make."""
        return {key: self._bases[key] for key in keys if self._bases[key]}

    def suspects(self, keys: Iterable[Key]) -> dict[Key, dict[int, int]]:
        """How often a worker died on outputs that the next life will make, by their places in it."""
        return {
            key: {place - self._bases[key]: count for place, count in deaths.items()}
            for key in keys
            if (deaths := self._deaths.get(key))
        }
