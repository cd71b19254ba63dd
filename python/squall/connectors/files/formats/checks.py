"""Checks of what a format is given, when it is made, or given to a spout or a sink."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Any, cast

from squall.errors import Defect, TopologyError, repr_of


def check(is_right: bool, format_: object, fix: str) -> None:
    """Refuses a format that means nothing.

    Raises:
        TopologyError: `file_format`.
    """
    if not is_right:
        raise TopologyError(Defect("file_format", f"{repr_of(format_)} is no format of files", (), fix))


def check_read(is_right: bool, format_: object, fix: str) -> None:
    """Refuses a format that says too little for files to be read, or only how to write them.

    Raises:
        TopologyError: `file_format`.
    """
    if not is_right:
        raise TopologyError(Defect("file_format", f"files cannot be read as {repr_of(format_)}", (), fix))


def check_written(is_right: bool, format_: object, fix: str) -> None:
    """Refuses a format that rows cannot be written in.

    Raises:
        TopologyError: `file_format`.
    """
    if not is_right:
        raise TopologyError(Defect("file_format", f"files cannot be written as {repr_of(format_)}", (), fix))


def check_encoding(format_: object, encoding: object) -> None:
    """Refuses an encoding in which the ends of lines cannot be found.

    Raises:
        TopologyError: `file_format`.
    """
    try:
        is_right = isinstance(encoding, str) and codecs.encode("\n", encoding) == b"\n"
    except Exception:
        is_right = False
    check(is_right, format_, "give an encoding in which a line feed is one byte: utf-8, latin-1, cp1252, …")


def is_text(value: object) -> bool:
    """Whether it is a text, for what callers without a type checker give."""
    return isinstance(value, str)


def is_flag(value: object) -> bool:
    """Whether it is True or False."""
    return isinstance(value, bool)


def are_names(value: object) -> bool:
    """Whether it is a list of names, of which there is one at least."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return False
    names = cast("Sequence[Any]", value)
    return len(names) > 0 and all(isinstance(name, str) for name in names)


def are_named(value: object) -> bool:
    """Whether it maps names to something, of which there is one at least."""
    return (
        isinstance(value, Mapping)
        and len(keys := list(cast("Mapping[Any, Any]", value))) > 0
        and all(isinstance(key, str) for key in keys)
    )


def are_functions(value: object) -> bool:
    """Whether it maps names to what can be called; none at all will do."""
    try:
        named = dict(cast("Mapping[Any, Any]", value)) if isinstance(value, Mapping) else {None: None}
    except Exception:  # a mapping of the caller's own
        return False
    return all(isinstance(name, str) and callable(of) for name, of in named.items())
