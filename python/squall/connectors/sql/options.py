"""Checks of what the SQL connectors are given, when the topology is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from squall.errors import Defect, TopologyError, repr_of
from squall.model.durations import seconds_or_none


def refused(message: str, fix: str) -> TopologyError:
    """The error of an option of no use."""
    return TopologyError(Defect("sql_option", message, (), fix))


def checked_names(who: str, option: str, value: object) -> tuple[str, ...]:
    """Names of columns or fields, one or more, each once.

    Raises:
        TopologyError: `sql_option`.
    """
    given: Any = value
    names = _texts(given) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else None
    if not names or len(set(names)) < len(names):
        raise refused(f"{who} has {option}={repr_of(given)}", 'give a list of names, each once: ("id", "name")')
    return tuple(names)


def checked_pairs(who: str, option: str, value: object) -> dict[str, str]:
    """Fields and the columns that belong to them; names alone are both.

    Raises:
        TopologyError: `sql_option`.
    """
    if not isinstance(value, Mapping):
        return {name: name for name in checked_names(who, option, value)}
    pairs = cast("Mapping[Any, Any]", value)
    fields = _texts(pairs)
    columns = _texts(pairs[field] for field in fields) if fields else None
    if not fields or not columns or len(set(columns)) < len(columns):
        fix = 'give a mapping of fields to columns, each once: {"order": "order_id"}'
        raise refused(f"{who} has {option}={repr_of(pairs)}", fix)
    return dict(zip(fields, columns, strict=True))


def checked_count(who: str, option: str, value: object, *, at_least: int = 1) -> int:
    """A whole number that is not too small.

    Raises:
        TopologyError: `sql_option`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise refused(f"{who} has {option}={repr_of(value)}", f"give a whole number from {at_least}")
    return value


def checked_seconds(who: str, option: str, value: object, *, or_zero: bool = False) -> float:
    """A length of time, above 0.

    Raises:
        TopologyError: `sql_option`.
    """
    length_s = seconds_or_none(value)
    if length_s is None or length_s < 0 or (length_s == 0 and not or_zero):
        raise refused(f"{who} has {option}={repr_of(value)}", "give seconds, or a timedelta, above 0")
    return length_s


def checked_text(who: str, option: str, value: object, example: str) -> str:
    """A text with something in it.

    Raises:
        TopologyError: `sql_option`.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise refused(f"{who} has {option}={repr_of(value)}", f"give a text: {example}")
    return value


def checked_flag(who: str, option: str, value: object) -> bool:
    """True or False.

    Raises:
        TopologyError: `sql_option`.
    """
    if not isinstance(value, bool):
        raise refused(f"{who} has {option}={repr_of(value)}", "give True or False")
    return value


def _texts(given: Any) -> list[str] | None:
    """What is given, if all of it is text with something in it."""
    try:
        texts = list(given)
    except Exception:  # a container of somebody's own
        return None
    return texts if all(isinstance(one, str) and one for one in texts) else None


def is_query(text: str) -> bool:
    """Whether a text is a query and no table's name."""
    return text.lstrip().lower().startswith(("select ", "select\n", "with ", "with\n", "("))
