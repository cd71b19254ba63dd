"""Checks of what the Redis connectors are given, when the topology is built."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

from squall.connectors.framing import is_count
from squall.errors import Defect, TopologyError, repr_of
from squall.model.durations import seconds_or_none


def refused(message: str, fix: str) -> TopologyError:
    """The error of an option of no use."""
    return TopologyError(Defect("redis_option", message, (), fix))


def check_count(who: str, name: str, value: object) -> None:
    """Refuses what is no whole number from 1.

    Raises:
        TopologyError: `redis_option`.
    """
    if not is_count(value):
        raise refused(f"{who} has {name}={repr_of(value)}", "give a whole number from 1")


def check_name(who: str, name: str, value: object) -> None:
    """Refuses what is no text, or an empty one.

    Raises:
        TopologyError: `redis_option`.
    """
    if not _is_name(value):
        raise refused(f"{who} has {name}={repr_of(value)}", "give a text")


def _is_name(value: object) -> bool:
    """Whether it is a text that Redis can have."""
    return isinstance(value, str) and bool(value) and not any("\ud800" <= mark <= "\udfff" for mark in value)


def is_among(value: object, words: Collection[str]) -> bool:
    """Whether it is one of the words."""
    return isinstance(value, str) and value in words


def seconds_of(who: str, name: str, value: object) -> float:
    """A time above 0, in seconds.

    Raises:
        TopologyError: `redis_option`.
    """
    length_s = seconds_or_none(value)
    if length_s is None or length_s <= 0:
        raise refused(f"{who} has {name}={repr_of(value)}", "give seconds, or a timedelta, above 0")
    return length_s


def names_of(who: str, name: str, value: object) -> tuple[str, ...]:
    """A list of names, or one name, as a tuple.

    Raises:
        TopologyError: `redis_option`.
    """
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list | tuple):
        found = tuple(cast("Sequence[object]", names))
        if found and all(map(_is_name, found)) and len(set(found)) == len(found):
            return cast("tuple[str, ...]", found)
    raise refused(f"{who} has {name}={repr_of(value)}", "give a name, or a list of different names")
