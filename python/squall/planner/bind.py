"""Binding by name: which field each parameter of a bolt's method gets. Resolved once; the call is positional."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from squall._core import Tuple
from squall.api.context import TopologyContext
from squall.errors import Defect, did_you_mean
from squall.model.graph import ARG_CONTEXT, ARG_TUPLE, Argument, StreamId, StreamSpec

_EXACT: tuple[Any, ...] = (bool, int, float, str, bytes, list, tuple, dict, set)


def arguments(
    who: str,
    function: Callable[..., Any],
    skip_self: bool,
    source: StreamId,
    stream: StreamSpec,
    rename: Mapping[str, str],
    batch: bool,
    defects: list[Defect],
) -> tuple[Argument, ...]:
    """The positional arguments of `function` for tuples of `stream`.

    A parameter gets the field of its name (after `rename`: field → parameter), the tuple or the context by its
    annotation, or its default value. What cannot be filled is a defect.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if skip_self:
        parameters = parameters[1:]
    hints = _hints(function)
    names = {rename.get(field, field): number for number, field in enumerate(stream.fields)}
    for field in rename:
        if field not in stream.fields:
            defects.append(_no_field(who, "renames", field, source, stream))
    bound: list[Argument] = []
    where = f"`{function.__name__}` of {who}"
    for parameter in parameters:
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            message = f'{where} has parameter "{parameter.name}" that is passed by keyword only'
            defects.append(
                Defect("parameter_keyword", message, (), "make it an ordinary parameter: calls are positional")
            )
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            message = f'{where} has parameter "*{parameter.name}", which no field can be bound to by name'
            defects.append(Defect("parameter_star", message, (), "name each field, or take the whole `Tuple`"))
            continue
        argument = _argument(parameter, hints.get(parameter.name), names)
        if argument is None:
            defects.append(_unfilled(where, parameter.name, source, stream, names))
            continue
        if isinstance(argument.source, int) and not batch:
            _check_type(where, argument, hints, source, stream, defects)
        bound.append(argument)
    return tuple(bound)


def _argument(parameter: inspect.Parameter, hint: object, names: Mapping[str, int]) -> Argument | None:
    if hint is Tuple or hint == list[Tuple]:
        return Argument(parameter.name, ARG_TUPLE)
    if hint is TopologyContext:
        return Argument(parameter.name, ARG_CONTEXT)
    if parameter.name in names:
        return Argument(parameter.name, names[parameter.name])
    if parameter.default is not parameter.empty:
        return Argument(parameter.name, None, parameter.default)
    return None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations with strings resolved; one that cannot be resolved is left out and so not checked."""
    try:
        return typing.get_type_hints(function)
    except Exception:
        pass
    known = {**getattr(function, "__globals__", {})}
    resolved: dict[str, Any] = {}
    for name, hint in getattr(function, "__annotations__", {}).items():
        if isinstance(hint, str):
            last = hint.rsplit(".", 1)[-1]
            known_types = {"Tuple": Tuple, "list[Tuple]": list[Tuple], "TopologyContext": TopologyContext}
            value = known.get(hint, known_types.get(last if "[" not in hint else hint))
            if value is not None:
                resolved[name] = value
        else:
            resolved[name] = hint
    return resolved


def _check_type(
    where: str,
    argument: Argument,
    hints: Mapping[str, Any],
    source: StreamId,
    stream: StreamSpec,
    defects: list[Defect],
) -> None:
    wanted: Any = hints.get(argument.name)
    assert isinstance(argument.source, int)
    given: Any = stream.types.get(stream.fields[argument.source])
    if wanted not in _EXACT or given not in _EXACT:
        return
    if issubclass(given, wanted) or (given in (bool, int) and wanted in (int, float)):
        return
    facts = (("declared", f"{stream.fields[argument.source]}: {given.__name__} in {source}"),)
    message = f'{where} takes "{argument.name}" as {wanted.__name__}'
    defects.append(Defect("parameter_type", message, facts, "make the declaration and the annotation agree"))


def _unfilled(where: str, name: str, source: StreamId, stream: StreamSpec, names: Mapping[str, int]) -> Defect:
    near = did_you_mean(name, names)
    fix = f'did you mean "{near}"?' if near else "name it like a field, rename a field to it, or give it a default"
    facts = (("declared", ", ".join(stream.fields) or "no fields"),)
    return Defect(
        "parameter_unknown", f'{where} has parameter "{name}", which stream "{source}" does not declare', facts, fix
    )


def _no_field(who: str, does: str, field: str, source: StreamId, stream: StreamSpec) -> Defect:
    near = did_you_mean(field, stream.fields)
    facts = (("declared", ", ".join(stream.fields) or "no fields"),)
    fix = f'did you mean "{near}"?' if near else "use a field that the stream declares"
    return Defect(
        "rename_unknown", f'{who} {does} field "{field}", which stream "{source}" does not declare', facts, fix
    )


def key_numbers(
    who: str, keys: tuple[str, ...], source: StreamId, stream: StreamSpec, defects: list[Defect]
) -> tuple[int, ...]:
    """The numbers of the fields that a grouping names."""
    numbers: list[int] = []
    if not keys:
        message = f'{who} groups stream "{source}" by no field'
        defects.append(Defect("grouping_no_field", message, (), "name one field or several: .fields(stream, 'key')"))
    for key in keys:
        if key in stream.fields:
            numbers.append(stream.fields.index(key))
            continue
        near = did_you_mean(key, stream.fields)
        facts = (("declared", ", ".join(stream.fields) or "no fields"),)
        fix = f'did you mean "{near}"?' if near else "group by a field that the stream declares"
        message = f'{who} groups stream "{source}" by field "{key}", which that stream does not declare'
        defects.append(Defect("grouping_field_missing", message, facts, fix))
    return tuple(numbers)
