"""Parameters of a topology's function, `-p NAME=VALUE`: matched by name, converted by annotation."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any

from squall.errors import Defect, TopologyError, did_you_mean
from squall.model.durations import parse_duration
from squall.planner.annotations import hints_of

SEVERAL = (list, tuple, set, frozenset)
UNIONS = (typing.Union, types.UnionType)


def bound_parameters(function: Callable[..., Any], texts: Sequence[str]) -> inspect.BoundArguments:
    """What to call a topology's function with.

    Raises:
        TopologyError: everything that is wrong, at once: unknown, missing and malformed parameters, wrong values.
    """
    name = function.__name__
    signature = inspect.signature(function)
    takes = {
        parameter.name: parameter
        for parameter in signature.parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    given, defects = _given(name, takes, texts)
    hints = hints_of(function)
    bound = signature.bind_partial()
    for parameter in takes.values():
        if parameter.name in given:
            hint = hints.get(parameter.name, str)
            try:
                bound.arguments[parameter.name] = convert(given[parameter.name], hint)
            except ValueError as error:
                defects.append(_wrong_value(parameter.name, given[parameter.name], hint, error))
        elif parameter.default is parameter.empty:
            message = f'parameter "{parameter.name}" of `{name}` is missing'
            defects.append(Defect("parameter_missing", message, (), f"give it: -p {parameter.name}=VALUE"))
    if defects:
        raise TopologyError(*defects)
    bound.apply_defaults()
    return bound


def _given(
    function: str, takes: typing.Collection[str], texts: Sequence[str]
) -> tuple[dict[str, list[str]], list[Defect]]:
    given: dict[str, list[str]] = {}
    defects: list[Defect] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            defects.append(Defect("parameter_syntax", f'"-p {text}" has no value', (), "write -p NAME=VALUE"))
        elif name not in takes:
            near = did_you_mean(name, takes)
            fix = f'did you mean "{near}"?' if near else f"it takes: {', '.join(takes) or 'nothing'}"
            defects.append(Defect("parameter_unknown_name", f'`{function}` has no parameter "{name}"', (), fix))
        else:
            given.setdefault(name, []).append(value)
    return given, defects


def _wrong_value(name: str, texts: list[str], hint: Any, error: ValueError) -> Defect:
    wanted = getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint)
    facts = (("value", ", ".join(texts)), ("wanted", wanted), ("because", str(error)))
    return Defect("parameter_invalid", f'parameter "{name}" has a wrong value', facts, f"-p {name}=VALUE")


def convert(texts: list[str], hint: Any) -> Any:
    """The value of a parameter by its annotation: durations as `5s`, lists as JSON or repeated.

    Raises:
        ValueError: it does not fit, or the annotation is of a type that cannot be written on a command line.
    """
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_with_durations(hint))
    except PydanticUserError:
        raise ValueError("this type cannot be given on the command line") from None
    candidates: list[Callable[[], Any]] = [
        lambda: adapter.validate_python(texts[-1]),
        lambda: adapter.validate_json(texts[-1]),
    ]
    if typing.get_origin(hint) in SEVERAL and (len(texts) > 1 or not texts[0].startswith("[")):
        candidates = [lambda: adapter.validate_python(texts)]
    failure: ValidationError | None = None
    for candidate in candidates:
        try:
            return candidate()
        except ValidationError as error:
            failure = failure or error
    assert failure is not None
    raise ValueError("; ".join(item["msg"] for item in failure.errors()))


def _with_durations(hint: Any) -> Any:
    """The annotation with `5s` allowed wherever it has a timedelta."""
    if hint is timedelta:
        from pydantic import BeforeValidator

        return Annotated[timedelta, BeforeValidator(_duration)]
    origin: Any = typing.get_origin(hint)
    inside = typing.get_args(hint)
    if origin in UNIONS:
        return typing.Union[tuple(_with_durations(one) for one in inside)]  # noqa: UP007 (its members are computed)
    if origin in SEVERAL:
        return types.GenericAlias(origin, tuple(_with_durations(one) for one in inside))
    return hint


def _duration(value: object) -> object:
    return timedelta(seconds=parse_duration(value)) if isinstance(value, str) else value
