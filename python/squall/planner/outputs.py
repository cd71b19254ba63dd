"""Declared outputs in their one form: `StreamSpec`s."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from squall.api.fields import Fields
from squall.errors import Defect
from squall.model.graph import DEFAULT_STREAM, StreamSpec


def streams_of(who: str, outputs: Any, streams: Any, defects: list[Defect]) -> dict[str, StreamSpec]:
    """The streams of a component, "default" first, from `outputs` and `streams`."""
    specs: dict[str, StreamSpec] = {}
    if outputs != ():
        _add(specs, who, DEFAULT_STREAM, outputs, defects)
    if not isinstance(streams, Mapping):
        message = f"{who} declares `streams` as {type(streams).__name__}"
        defects.append(Defect("streams_invalid", message, (), "write a mapping: streams={'name': ('field',)}"))
        return specs
    named = cast("Mapping[Any, Any]", streams)
    for name, fields in named.items():
        if not isinstance(name, str):
            message = f"{who} declares a stream whose name is {name!r}"
            defects.append(Defect("streams_invalid", message, (), "name streams by strings"))
            continue
        _add(specs, who, name, fields, defects)
    return specs


def _add(specs: dict[str, StreamSpec], who: str, name: str, fields: Any, defects: list[Defect]) -> None:
    direct = isinstance(fields, Fields) and fields.direct
    declared = fields.fields if isinstance(fields, Fields) else fields
    spec = _spec(who, name, declared, direct, defects)
    if spec is not None:
        repeated = sorted({field for field in spec.fields if spec.fields.count(field) > 1})
        if repeated:
            message = f'{who} declares field "{repeated[0]}" twice in stream "{name}"'
            defects.append(Defect("fields_repeated", message, (), "give each field a name of its own"))
        specs[name] = spec


def _spec(who: str, name: str, fields: Any, direct: bool, defects: list[Defect]) -> StreamSpec | None:
    if isinstance(fields, type) and hasattr(fields, "_fields"):
        row: Any = fields
        hints = dict(getattr(row, "__annotations__", {}))
        return StreamSpec(name, tuple(row._fields), direct, MappingProxyType(hints), row)
    if isinstance(fields, Mapping):
        typed = cast("Mapping[Any, Any]", fields)
        if all(isinstance(field, str) for field in typed):
            return StreamSpec(name, tuple(typed), direct, MappingProxyType(dict(typed)))
    if isinstance(fields, tuple | list):
        names = tuple(cast("list[Any]", fields))
        if all(isinstance(field, str) for field in names):
            return StreamSpec(name, names, direct)
    fix = "write a tuple of names, a mapping of names to types, or a NamedTuple class"
    declared = repr(cast("object", fields))
    if isinstance(fields, str):
        fix = f"write ({declared},) with a comma: ({declared}) is just a string"
    facts = (("declared", declared),)
    defects.append(
        Defect("outputs_invalid", f'{who} declares stream "{name}" in a form that is not understood', facts, fix)
    )
    return None
