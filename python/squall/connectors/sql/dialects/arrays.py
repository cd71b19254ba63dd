"""Columns of values as PostgreSQL's array literals.

A batch is one statement, `INSERT … SELECT … FROM unnest($1::integer[], $2::text[], …)`, with a parameter for each
column. The driver would dump each value by itself; here a column whose values are all of one type is joined in one go,
which takes a tenth of that. COPY cannot upsert: it would need a table of its own, and three statements for a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from squall.connectors.sql.dialects.values import json_text, plain

Encoder = Callable[[Sequence[Any]], str]


def array(values: Sequence[Any]) -> str:
    """Values as an array literal: `{1,NULL,3}`.

    Raises:
        TypeError, ValueError: no column can have one of them.
    """
    kinds = set(map(type, values))
    if kinds == {str}:
        return _texts(values)
    if kinds == {int} or kinds == {float}:
        return "{" + ",".join(map(repr, values)) + "}"
    return "{" + ",".join(map(_element, values)) + "}"


def json_array(values: Sequence[Any]) -> str:
    """Values of a JSON column: a text is JSON already."""
    return "{" + ",".join([_quoted(_json(value)) for value in values]) + "}"


def array_array(values: Sequence[Any]) -> str:
    """Values of a column that has arrays itself: each is the text of an array."""
    return "{" + ",".join([_quoted(_nested(value)) for value in values]) + "}"


def _texts(values: Sequence[str]) -> str:
    joined = '","'.join(values)
    if "\0" in joined:
        raise ValueError("a text has a NUL character, which PostgreSQL cannot store")
    if "\\" not in joined and joined.count('"') == 2 * (len(values) - 1):
        return f'{{"{joined}"}}'
    return "{" + ",".join(map(_quoted, values)) + "}"


def _element(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str | None) -> str:
    if text is None:
        return "NULL"
    if "\0" in text:
        raise ValueError("a text has a NUL character, which PostgreSQL cannot store")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _json(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json_text(value)


def _nested(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return "{" + ",".join([_nested_element(one) for one in value]) + "}"


def _nested_element(value: Any) -> str:
    inside = _nested(value) if isinstance(value, list | tuple) else None
    return _element(value) if inside is None else inside
