"""What is written down of a run, and what must come of each trouble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from random_graphs import Part
from squall import DeadLetter, DropTuple, Fields, RetryTuple

ROW = ("key", "roots", "path", "n")
"""The fields of each row: the key, the fed rows that it comes of, how it came to be, its own number."""
STREAMS = {"side": ROW, "back": ROW, "to": Fields(ROW, direct=True)}
REST_MS = 60_000
"""Pause of a spout that has nothing; a feed wakes it."""
TROUBLES = ("error", "late", "arity", "dead", "drop", "again", "after", "mapped")
"""What can go wrong in a call: an exception before or after its outputs, a row that does not fit, an exception that
says what is to happen."""
AFTER_S = 1.7
SLACK_S = 1e-6
"""What the core counts in nanoseconds is compared with floats."""


class Mapped(ValueError):
    """An exception with an answer of its own in `on_error` "mapped"."""


@dataclass
class Fed:
    """A row that a spout was given."""

    root: str
    spout: str
    task: int
    stream: str
    key: int
    n: int
    tracked: bool


@dataclass
class Sent:
    """A row that user code of a bolt gave."""

    component: str
    task: int
    stream: str
    key: int
    path: str
    roots: tuple[str, ...]
    call: int
    to: int | None


@dataclass
class Seen:
    """One input as its bolt saw it. `rids`: the trees that it hangs on, where the bolt looked."""

    number: int
    component: str
    task: int
    key: int
    roots: tuple[str, ...]
    path: str
    n: int
    at: float
    rids: tuple[int, ...] | None
    end: str = "running"
    """"running", "held", "ok", "dropped" or "failed"."""


@dataclass
class Failure:
    """A reason for trees to fail."""

    component: str
    roots: tuple[str, ...]
    at: float
    action: str
    counts: bool = True
    after_s: float | None = None
    together: bool = False


@dataclass
class Order:
    """A trouble that is to come: at a component, for its next `left` inputs with this key, or with any."""

    component: str
    kind: str
    key: int | None
    left: int

    def takes(self, component: str, key: int) -> bool:
        """Whether this input is meant; counts it."""
        if component != self.component or self.left <= 0 or self.key not in (None, key):
            return False
        self.left -= 1
        return True


def error_of(kind: str) -> Exception:
    """The exception of a trouble."""
    return {
        "dead": lambda: DeadLetter("poison"),
        "drop": lambda: DropTuple("no use"),
        "again": lambda: RetryTuple("not mine", counts=False),
        "after": lambda: RetryTuple("later", after=AFTER_S),
        "mapped": lambda: Mapped("mapped"),
    }.get(kind, lambda: LookupError(kind))()


def consequence(part: Part, kind: str) -> tuple[str, bool, float | None]:
    """What must come of a trouble: (action, whether it counts, its own pause)."""
    if kind in ("dead", "drop"):
        return kind, True, None
    if kind in ("again", "after"):
        return "retry", kind == "after", AFTER_S if kind == "after" else None
    if part.on_error == "mapped":
        return ("drop" if kind == "mapped" else "retry"), True, None
    return part.on_error, True, None


def row_of(fed: Fed) -> tuple[Any, ...]:
    """What a spout emits for what it was fed."""
    return fed.key, (fed.root,) if fed.tracked else (), fed.root, fed.n
