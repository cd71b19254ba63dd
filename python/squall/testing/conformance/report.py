"""What a check says: the laws that were broken, with what broke them and the seed that shows it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 12
"""Numbers of rows that a line of a report names."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A law that did not hold.

    Args:
        law: its name.
        says: the law itself.
        facts: what broke it.
    """

    law: str
    says: str
    facts: str

    def __str__(self) -> str:
        return f"{self.law}: {self.says}\n    but: {self.facts}"


@dataclass(frozen=True, slots=True)
class Report:
    """What one schedule showed.

    Args:
        name: class of the connector.
        given: how many rows or records it was given.
        lives: how many instances there were.
    """

    name: str
    schedule: str
    seed: int
    given: int
    lives: int
    breaches: tuple[Breach, ...]

    def __str__(self) -> str:
        count = len(self.breaches)
        laws = "no law" if not count else "a law" if count == 1 else f"{count} laws"
        head = f'{self.name} breaks {laws} under "{self.schedule}" with seed {self.seed}'
        about = f"{self.given} rows, {self.lives} {'life' if self.lives == 1 else 'lives'}"
        return "\n".join([f"{head} ({about})", *(f"  {breach}" for breach in self.breaches)])


class NonConformance(AssertionError):
    """A connector breaks laws."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def numbers(found: Sequence[int]) -> str:
    """Numbers as a report names them; of many the first."""
    named = ", ".join(map(str, found[:SHOWN]))
    return named if len(found) <= SHOWN else f"{named}, … ({len(found)} of them)"
