"""Annotations of a user's callable, with strings resolved."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

from squall._core import Tuple
from squall.api.context import TopologyContext

KNOWN: dict[str, Any] = {"Tuple": Tuple, "TopologyContext": TopologyContext}
"""What is found without being imported: many files import these for the type checker only."""


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations by name; one that cannot be resolved is left out."""
    annotated = code_of(function)
    try:
        return typing.get_type_hints(annotated)
    except Exception:  # a name that does not exist at run time; the others still tell something
        hints = {name: _resolved(hint, annotated) for name, hint in getattr(annotated, "__annotations__", {}).items()}
        return {name: hint for name, hint in hints.items() if hint is not inspect.Parameter.empty}


def _resolved(hint: object, annotated: Any) -> Any:
    if not isinstance(hint, str):
        return hint
    names = {**KNOWN, **getattr(inspect.unwrap(annotated), "__globals__", {})}
    try:
        return eval(hint, names)  # the user's own code, as `get_type_hints` evaluates it
    except Exception:
        return KNOWN.get(hint.rsplit(".", 1)[-1], inspect.Parameter.empty)


def code_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind a partial or an instance with `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def called(function: Callable[..., Any]) -> str:
    """What to call it in a message."""
    return getattr(function, "__name__", None) or getattr(code_of(function), "__name__", type(function).__name__)
