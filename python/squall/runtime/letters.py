"""A dead letter: the record of a root that was given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from squall.runtime.letter_codec import shown

NOT_DECODED = "it is a record that could not be decoded: have it sent, or read, again when the decoder can"
"""Why its letter is not replayed: a spout's stream has no such row."""


@dataclass(frozen=True, slots=True)
class Undecoded:
    """A record of which no row can be made, as the one value of its dead letter: what is known of it, and as what.

    Args:
        fields: names of its own, whatever the spout's outputs are called.
    """

    fields: tuple[str, ...]
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """A root that was given up: what failed, on which input, why, and how to emit it again."""

    component: str
    source: str
    stream: str
    task: int
    fields: tuple[str, ...]
    values: tuple[Any, ...]
    error: str
    traceback: str
    attempts: int
    roots: tuple[int, ...]
    at: datetime
    spout: str
    spout_task: int
    spout_stream: str
    root_values: tuple[Any, ...] | None
    message_id: Any
    failure: int = 0
    """Letters of one worker's life with the same number come of one failure; 0 in logs that were written without."""
    direct: int | None = None
    """The task that the root was sent to, on a direct stream."""
    root_fields: tuple[str, ...] = ()
    """The fields of `root_values`; none in logs that were written without."""
    replay_of: int = 0
    """The letter whose replay ended in this one; 0: it was no replay."""
    run: str = ""
    """The run of the topology that gave the root up: failures are numbered from 1 in each."""

    def row(self) -> tuple[Any, ...]:
        """The letter as a tuple of the dead-letter stream."""
        return (
            self.component, self.source, self.stream, self.task, self.fields, self.values, self.error,
            self.traceback, self.attempts, self.roots, self.at,
        )  # fmt: skip

    def __str__(self) -> str:
        return (
            f'dead letter of "{self.component}" ({self.attempts} tries): '
            f"{self.source}/{self.stream}({self.inputs()}): {self.error}"
        )

    def root_names(self) -> tuple[str, ...]:
        """The names of the root's values; their numbers, from 1, where the log does not tell."""
        count = len(self.root_values or ())
        if len(self.root_fields) == count:
            return self.root_fields
        is_input = (self.source, self.stream) == (self.spout, self.spout_stream) and len(self.fields) == count
        return self.fields if is_input else tuple(str(number) for number in range(1, count + 1))

    def inputs(self) -> str:
        """The fields and values of the input that failed, for people."""
        return ", ".join(f"{name}={shown(value)}" for name, value in zip(self.fields, self.values, strict=False))
