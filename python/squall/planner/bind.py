"""Binding by name: which field each parameter of a bolt's method gets. Resolved once; the call is positional."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squall._core import Tuple
from squall.api.context import TopologyContext
from squall.errors import Defect, did_you_mean, listed, text_of
from squall.model.graph import ARG_CONTEXT, ARG_TUPLE, Argument, StreamId, StreamSpec
from squall.planner.annotations import called, hints_of

PLAIN_TYPES: tuple[Any, ...] = (bool, int, float, str, bytes, list, tuple, dict, set)
"""Types of which it is clear that one is not the other; all else is left to the type checker."""
ONE_TUPLE: tuple[Any, ...] = (Tuple,)
MANY_TUPLES: tuple[Any, ...] = (list[Tuple], Sequence[Tuple])


@dataclass(frozen=True, slots=True)
class Method:
    """What takes the tuples of an input: a function, or a bound method and its name."""

    function: Callable[..., Any]
    name: str | None = None
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A stream that is subscribed to."""

    id: StreamId
    spec: StreamSpec

    @property
    def declared(self) -> tuple[str, str]:
        """The fact of an error message."""
        return ("declared", listed(self.spec.fields, "no fields"))


def arguments(
    who: str, method: Method, source: Source, rename: Mapping[str, str], defects: list[Defect]
) -> tuple[Argument, ...]:
    """The positional arguments of a method for tuples of a stream.

    A parameter gets the field of its name (after `rename`: field → parameter), the tuple or the context by its
    annotation, or its default value. What cannot be filled is a defect.
    """
    where = f"`{called(method.function)}` of {who}"
    parameters = _parameters(method.function)
    hints = hints_of(method.function)
    numbers = _renamed(where, source, rename, parameters, defects)
    bound: list[Argument] = []
    for parameter in parameters:
        hint = hints.get(parameter.name)
        defect = _by_position(where, parameter) or _wrong_tuple(where, parameter.name, hint, method.batch)
        argument = None if defect else _argument(parameter, hint, numbers)
        if argument is None:
            defects.append(defect or _unfilled(where, parameter.name, source, numbers))
            continue
        if isinstance(argument.source, int) and not method.batch:
            defects.extend(_disagreeing(where, argument.name, hint, source, argument.source))
        bound.append(argument)
    return tuple(bound)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters that a call has to fill; those a partial gave by keyword are filled."""
    callee: Any = function
    given: Mapping[str, Any] = callee.keywords if isinstance(callee, functools.partial) else {}
    return [p for p in inspect.signature(function).parameters.values() if p.name not in given]


def _renamed(
    where: str,
    source: Source,
    rename: Mapping[str, str],
    parameters: Sequence[inspect.Parameter],
    defects: list[Defect],
) -> dict[str, int]:
    """The numbers of the fields, by the names that parameters know them by."""
    names = [parameter.name for parameter in parameters]
    for field, name in rename.items():
        if field not in source.spec.fields:
            near = did_you_mean(field, source.spec.fields)
            fix = f'did you mean "{near}"?' if near else "rename a field that the stream declares"
            message = f'{where} renames field "{field}", which stream "{source.id}" does not declare'
            defects.append(Defect("rename_unknown", message, (source.declared,), fix))
        elif name not in names:
            near = did_you_mean(name, names)
            fix = f'did you mean "{near}"?' if near else "rename a field to one of the parameters"
            message = f'{where} has no parameter "{name}" that field "{field}" could be renamed to'
            defects.append(Defect("rename_unknown", message, (("parameters", ", ".join(names) or "none"),), fix))
    numbers: dict[str, int] = {}
    for number, field in enumerate(source.spec.fields):
        name = rename.get(field, field)
        if name in numbers and name in rename.values():
            other = source.spec.fields[numbers[name]]
            message = f'{where} would get both "{other}" and "{field}" of stream "{source.id}" as "{name}"'
            defects.append(Defect("rename_twice", message, (), "rename one of them to another parameter"))
        numbers[name] = number
    return numbers


def _by_position(where: str, parameter: inspect.Parameter) -> Defect | None:
    """What is wrong with a parameter that no positional argument can fill."""
    if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
        message = f'{where} has parameter "{parameter.name}" that is passed by keyword only'
        return Defect("parameter_keyword", message, (), "make it an ordinary parameter: calls are positional")
    if parameter.kind is parameter.VAR_POSITIONAL:
        message = f'{where} has parameter "*{parameter.name}", which no field can be bound to by name'
        return Defect("parameter_star", message, (), "name each field, or take the whole `Tuple`")
    return None


def _wrong_tuple(where: str, name: str, hint: object, batch: bool) -> Defect | None:
    """What is wrong with a parameter that takes one tuple where many come, or the other way round."""
    if hint not in (ONE_TUPLE if batch else MANY_TUPLES):
        return None
    wanted, given = ("list[Tuple]", "Tuple") if batch else ("Tuple", "list[Tuple]")
    rows = "many rows" if batch else "one row"
    return Defect(
        "parameter_type", f'{where} takes "{name}" as {given}, but gets {rows}', (), f"annotate it as {wanted}"
    )


def _argument(parameter: inspect.Parameter, hint: object, numbers: Mapping[str, int]) -> Argument | None:
    if hint in ONE_TUPLE + MANY_TUPLES:
        return Argument(parameter.name, ARG_TUPLE)
    if hint is TopologyContext:
        return Argument(parameter.name, ARG_CONTEXT)
    if parameter.name in numbers:
        return Argument(parameter.name, numbers[parameter.name])
    if parameter.default is not parameter.empty:
        return Argument(parameter.name, None, parameter.default)
    return None


def _unfilled(where: str, name: str, source: Source, numbers: Mapping[str, int]) -> Defect:
    near = did_you_mean(name, numbers)
    fix = f'did you mean "{near}"?' if near else "name it like a field, rename a field to it, or give it a default"
    message = f'{where} has parameter "{name}", which stream "{source.id}" does not declare'
    return Defect("parameter_unknown", message, (source.declared,), fix)


def _disagreeing(where: str, name: str, wanted: Any, source: Source, number: int) -> list[Defect]:
    """A defect where a field's declared type and the annotation clearly disagree."""
    field = source.spec.fields[number]
    given: Any = source.spec.types.get(field)
    if not _is_plain(wanted) or not _is_plain(given):
        return []
    if issubclass(given, wanted) or (given in (bool, int) and wanted in (int, float)):
        return []
    facts = (("declared", f"{field}: {given.__name__} in {source.id}"),)
    message = f'{where} takes "{name}" as {wanted.__name__}'
    return [Defect("parameter_type", message, facts, "make the declaration and the annotation agree")]


def _is_plain(hint: object) -> bool:
    return any(hint is plain for plain in PLAIN_TYPES)


def key_numbers(who: str, keys: tuple[Any, ...], source: Source, defects: list[Defect]) -> tuple[int, ...]:
    """The numbers of the fields that a grouping names."""
    numbers: list[int] = []
    if not keys:
        message = f'{who} groups stream "{source.id}" by no field'
        defects.append(Defect("grouping_no_field", message, (), "name one field or several: .fields(stream, 'key')"))
    for key in keys:
        if isinstance(key, str) and key in source.spec.fields:
            numbers.append(source.spec.fields.index(key))
            continue
        near = did_you_mean(text_of(key), source.spec.fields)
        fix = f'did you mean "{near}"?' if near else "group by a field that the stream declares"
        message = f'{who} groups stream "{source.id}" by field "{text_of(key)}", which that stream does not declare'
        defects.append(Defect("grouping_field_missing", message, (source.declared,), fix))
    return tuple(numbers)
