"""Declared outputs in their one form: `StreamSpec`s."""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from squall.api.fields import Fields
from squall.errors import Defect, repr_of
from squall.model.graph import DEFAULT_STREAM, StreamSpec

FORMS = "write a tuple of names, a mapping of names to types, or a NamedTuple class"


def streams_of(who: str, outputs: Any, streams: Any, defects: list[Defect]) -> dict[str, StreamSpec]:
    """The streams of a component, "default" first, from `outputs` and `streams`."""
    specs: dict[str, StreamSpec] = {}
    if not _is_nothing(outputs):
        _add(specs, who, DEFAULT_STREAM, outputs, defects)
    if not isinstance(streams, Mapping):
        message = f"{who} declares `streams` as {type(streams).__name__}"
        defects.append(Defect("streams_invalid", message, (), "write a mapping: streams={'name': ('field',)}"))
        return specs
    for name, fields in cast("Mapping[Any, Any]", streams).items():
        if not isinstance(name, str):
            message = f"{who} declares a stream whose name is {repr_of(name)}"
            defects.append(Defect("streams_invalid", message, (), "name streams by strings"))
        elif name in specs:
            message = f'{who} declares stream "{name}" by `outputs` and by `streams`'
            defects.append(Defect("streams_invalid", message, (), "keep one of them"))
        else:
            _add(specs, who, name, fields, defects)
    return specs


def _is_nothing(outputs: Any) -> bool:
    return isinstance(outputs, tuple | list | Mapping) and not outputs


def _add(specs: dict[str, StreamSpec], who: str, name: str, fields: Any, defects: list[Defect]) -> None:
    direct = isinstance(fields, Fields) and fields.direct
    declared = fields.fields if isinstance(fields, Fields) else fields
    spec = _spec(who, name, declared, direct, defects)
    if spec is None:
        return
    repeated = sorted(field for field, times in Counter(spec.fields).items() if times > 1)
    if repeated:
        message = f'{who} declares field "{repeated[0]}" twice in stream "{name}"'
        defects.append(Defect("fields_repeated", message, (), "give each field a name of its own"))
    specs[name] = spec


def _spec(who: str, name: str, fields: Any, direct: bool, defects: list[Defect]) -> StreamSpec | None:
    if isinstance(fields, type) and hasattr(fields, "_fields"):
        row: Any = fields
        return StreamSpec(name, tuple(row._fields), direct, MappingProxyType(_types_of(row)), row)
    if isinstance(fields, Mapping):
        typed = cast("Mapping[Any, Any]", fields)
        if all(isinstance(field, str) for field in typed):
            return StreamSpec(name, tuple(typed), direct, MappingProxyType(dict(typed)))
    if isinstance(fields, tuple | list):
        names = tuple(cast("list[Any]", fields))
        if all(isinstance(field, str) for field in names):
            return StreamSpec(name, names, direct)
    declared = repr_of(cast("object", fields))
    fix = f"write ({declared},) with a comma: ({declared}) is just a string" if isinstance(fields, str) else FORMS
    message = f'{who} declares stream "{name}" in a form that is not understood'
    defects.append(Defect("outputs_invalid", message, (("declared", declared),), fix))
    return None


def _types_of(row: type) -> dict[str, object]:
    try:
        return dict(typing.get_type_hints(row))
    except Exception:  # a name that does not exist at run time: then nothing is checked
        return {}
