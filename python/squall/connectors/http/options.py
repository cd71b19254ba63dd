"""Checks of what the HTTP connectors are given, when the topology is built."""

from __future__ import annotations

from squall.errors import Defect, TopologyError, repr_of


def refused(message: str, fix: str) -> TopologyError:
    """The error of an option of no use."""
    return TopologyError(Defect("http_option", message, (), fix))


def check_count(who: str, name: str, value: object) -> None:
    """Refuses what is no whole number from 1.

    Raises:
        TopologyError: `http_option`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise refused(f"{who} has {name}={repr_of(value)}", "give a whole number from 1")


def check_one_of(who: str, name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuses what is not among the words.

    Raises:
        TopologyError: `http_option`.
    """
    if not isinstance(value, str) or value not in allowed:
        raise refused(f"{who} has {name}={repr_of(value)}", f"choose among {', '.join(allowed)}")
