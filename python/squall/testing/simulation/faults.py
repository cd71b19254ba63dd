"""Faults that strike simulated workers and links, and when the seed has them strike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random

from squall.errors import Defect, TopologyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Faults for `LocalCluster`: chances from 0 to 1, each by the seed. When `most` have struck there are no more.

    Args:
        crash: for each turn of a worker, in which it takes 1 to 64 inputs: that it dies at its end, as by `kill -9`.
            What its tasks have in memory is gone, and what it had not sent; another life begins 20 to 200 ms later,
            after several deaths close together up to 2 s later still, as in a run.
        drop: for each piece of bytes that crosses between two workers: that the connection is cut in the middle of it,
            or from then on swallows all without a word.
        slow: for each turn: that the worker then stands still, for 0.1 to 10 s, while the others go on.
        corrupt: for each piece: that one of its bytes is changed.
        delay: for each piece: that it takes 0.1 to 2 s instead of a millisecond.
        most: how many faults strike in all.

    Raises:
        TopologyError: `faults_invalid`.
    """

    crash: float = 0.0
    drop: float = 0.0
    slow: float = 0.0
    corrupt: float = 0.0
    delay: float = 0.0
    most: int = 20

    def __post_init__(self) -> None:
        chances = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "most"}
        wrong = {name: chance for name, chance in chances.items() if not _is_chance(chance)}
        if not _is_count(self.most):
            wrong["most"] = self.most
        if wrong:
            message = "faults have chances from 0 to 1, and a number of the most that strike"
            facts = tuple((name, repr(value)) for name, value in wrong.items())
            raise TopologyError(Defect("faults_invalid", message, facts, "give, for example, Faults(crash=0.05)"))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_chance(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


class Strikes:
    """The faults of one run. `struck`: what struck, and at which virtual time, in s."""

    def __init__(self, faults: Faults, random: Random) -> None:
        self.faults, self.random = faults, random
        self.is_on = False
        self.struck: list[tuple[float, str]] = []

    def strikes(self, kind: str, now_s: float) -> bool:
        """Whether a fault of this kind strikes now."""
        chance: float = getattr(self.faults, kind)
        if not self.is_on or not chance or len(self.struck) >= self.faults.most or self.random.random() >= chance:
            return False
        self.struck.append((round(now_s, 6), kind))
        return True
