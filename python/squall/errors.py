"""Every error of squall: one tree, a class for each thing that a caller can do about it, a stable code for each case.

A message says what happened to which named thing, the facts, the fix and the code; `squall explain CODE` prints the
code's page. `squall/explained/` holds the pages; a test keeps codes and pages in step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from itertools import islice
from reprlib import Repr

__all__ = [
    "ClusterError",
    "ConfigError",
    "DeadLetter",
    "Defect",
    "DropTuple",
    "EmissionError",
    "Exhausted",
    "RetryTuple",
    "SquallError",
    "SquallInternalError",
    "StateError",
    "TopologyError",
]


MAX_LINE = 1_000
"""Longest line of an error, in characters."""
MAX_FACT_LINES = 20
MAX_NEAR = 1_000
"""Names among which a nearest one is looked for: that takes time for each, and each defect may ask for it."""
MAX_LISTED = 50
"""Names that an error lists."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong: what happened, the facts, the fix, the code."""

    code: str
    message: str
    facts: tuple[tuple[str, str], ...] = ()
    fix: str = ""

    def __str__(self) -> str:
        lines = [one_line(self.message), *(f"  {name}: {_indented(value)}" for name, value in self.facts)]
        if self.fix:
            lines.append(f"  fix: {one_line(self.fix)}")
        return "\n".join([*lines, f"  code: {self.code}"])

    def at(self, where: str) -> Defect:
        """The same with the place in the user's file, unless it tells a place already."""
        if any(name in ("at", "given by", "again") for name, _ in self.facts):
            return self
        return replace(self, facts=(*self.facts, ("at", where)))


class SquallError(Exception):
    """Base of all errors of squall; holds one defect or several."""

    def __init__(self, *defects: Defect) -> None:
        super().__init__("\n\n".join(map(str, defects)))
        self.defects = defects

    @property
    def code(self) -> str:
        """The code of the first defect."""
        return self.defects[0].code


class TopologyError(SquallError):
    """The code of a topology is to be fixed."""


class EmissionError(TopologyError):
    """User code emitted, anchored or acked wrongly while running; fails the tuple like any other exception."""


class ConfigError(SquallError):
    """A setting is to be fixed."""


class ClusterError(SquallError):
    """The cluster, a process or the machine is to be looked at; `retryable` says whether trying again may help."""

    def __init__(self, *defects: Defect, retryable: bool = False) -> None:
        super().__init__(*defects)
        self.retryable = retryable


class StateError(SquallError):
    """Stored data cannot be read and is to be restored."""


class SquallInternalError(SquallError):
    """A defect of squall itself: tell us."""


class RetryTuple(Exception):
    """Fails the input so that its root is tried again.

    Args:
        reason: shown in error reports.
        after: pause before the next try; None: the usual back-off.
        counts: whether the try counts against `retries`.
    """

    def __init__(self, reason: str = "", *, after: float | timedelta | None = None, counts: bool = True) -> None:
        super().__init__(reason)
        self.after = after.total_seconds() if isinstance(after, timedelta) else after
        self.counts = counts


class DeadLetter(Exception):
    """Gives the input's roots up at once: they go to the dead letters."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)


class DropTuple(Exception):
    """Acks the input without output; counted as dropped."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)


class Exhausted(Exception):
    """Raised by a spout: nothing will come any more."""


def emission_error(code: str, message: str, facts: Sequence[tuple[str, str]], fix: str) -> EmissionError:
    """The error of one wrong emission; called by the compiled core."""
    return EmissionError(Defect(code, message, tuple(facts), fix))


def journal_error(code: str, message: str, facts: Sequence[tuple[str, str]], fix: str) -> SquallError:
    """The error of a journal that cannot be opened; called by the compiled core."""
    defect = Defect(code, message, tuple(facts), fix)
    return StateError(defect) if code == "journal_corrupt" else ClusterError(defect)


def key_error(error: BaseException, source: str, fields: Sequence[str], target: str | None) -> BaseException:
    """An error about a key's type, with whose key it is; any other as it is. Called by the compiled core."""
    if not isinstance(error, TopologyError) or error.code != "key_type_unstable":
        return error
    names = ", ".join(f'"{name}"' for name in fields)
    where = f'{target} groups stream "{source}" by field{"s" if len(fields) > 1 else ""} {names}'
    return TopologyError(*(replace(defect, message=f"{where}: {defect.message}") for defect in error.defects))


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The nearest of the known names, if one is near."""
    names = list(islice(known, MAX_NEAR + 1))
    near = get_close_matches(name, names, n=1, cutoff=0.6) if len(names) <= MAX_NEAR else []
    return near[0] if near else None


def listed(names: Iterable[str], nothing: str = "none") -> str:
    """The names with commas between; of many the first."""
    first = list(islice(names, MAX_LISTED + 1))
    return ", ".join(first[:MAX_LISTED]) + (", …" if len(first) > MAX_LISTED else "") or nothing


def one_line(text: str, at_most: int = MAX_LINE) -> str:
    """Text that keeps to its line and cannot steer a terminal; of a long one the middle is left out."""
    text = _cut(text, at_most)
    return text if text.isprintable() else _cut("".join(map(_visible, text)), at_most)


def _cut(text: str, at_most: int) -> str:
    if len(text) <= at_most:
        return text
    end = at_most // 4
    return f"{text[: at_most - end]}…({len(text) - at_most:,} characters)…{text[-end:]}"


def _visible(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _indented(fact: str) -> str:
    """A fact with its lines, since texts of exceptions have several."""
    lines = fact.split("\n")
    left = [f"…{len(lines) - MAX_FACT_LINES:,} more lines"] if len(lines) > MAX_FACT_LINES else []
    return "\n    ".join(one_line(line) for line in [*lines[:MAX_FACT_LINES], *left])


_short = Repr()
_short.maxstring = _short.maxother = 200
_short.maxlong = 60


def repr_of(value: object) -> str:
    """What `repr` says of a value of any kind and size, shortened; the name of its type if that raises."""
    try:
        return one_line(_short.repr(value))
    except Exception:
        return f"<{type(value).__name__}>"


def text_of(name: object) -> str:
    """A name as it is; what should be a name and is no text as `repr` says it."""
    return str.__str__(name) if isinstance(name, str) else repr_of(name)


def because(error: BaseException, at_most: int = MAX_LINE) -> str:
    """The type and text of an exception, also of one that cannot be made a text."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"<its text raised {type(broken).__name__}>"
    return f"{type(error).__name__}: {text}"[:at_most]
