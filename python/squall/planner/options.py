"""What else is said of a component, in its class or in its wiring: parallelism, failure, ticks, limits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, cast

from squall.api.components import Bolt, Component, Spout
from squall.api.topology import Declaration
from squall.errors import Defect, did_you_mean, repr_of
from squall.model.durations import seconds, seconds_or_none
from squall.model.graph import Kind, Retry
from squall.planner.annotations import code_of
from squall.planner.components import name_of

ACTIONS = ("retry", "dead", "drop", "die")
MAX_PARALLELISM = 1024
TAKERS = ("process", "process_batch")
"""Methods that take a bolt's inputs, where `into` names no other."""

Check = tuple[Callable[[Any], bool], str]
"""Whether a value will do, and in words what would."""


def _is_seconds(value: Any, above: bool) -> bool:
    length_s = seconds_or_none(value)
    return length_s is not None and (length_s > 0 if above else length_s >= 0)


def _is_count(value: Any, at_least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


FLAG: Check = (lambda value: isinstance(value, bool), "True or False")
COUNT: Check = (_is_count, "a whole number from 1")
PERIOD: Check = (lambda value: _is_seconds(value, above=True), "seconds, or a timedelta, above 0")
PAUSE: Check = (lambda value: _is_seconds(value, above=False), "seconds, or a timedelta, from 0")
RATE: Check = (
    lambda value: _is_seconds(value, above=True) and not isinstance(value, timedelta),
    "a number of tuples a second, above 0",
)
OPTIONAL_PERIOD: Check = (lambda value: value is None or PERIOD[0](value), f"None, or {PERIOD[1]}")
OPTIONAL_RATE: Check = (lambda value: value is None or RATE[0](value), f"None, or {RATE[1]}")

ATTRIBUTES: Mapping[type[Component], Mapping[str, Check]] = {
    Bolt: {
        "blocking": FLAG,
        "manual_ack": FLAG,
        "hold_max": OPTIONAL_PERIOD,
        "batch_max": COUNT,
        "batch_wait": PAUSE,
        "max_in_flight": COUNT,
        "timeout": OPTIONAL_PERIOD,
        "ordered": FLAG,
    },
    Spout: {"blocking": FLAG, "rate_per_s": OPTIONAL_RATE, "idle_wait": PAUSE},
}
"""Attributes that have no check of their own."""


def check_attributes(declaration: Declaration, look: Any, defects: list[Defect]) -> None:
    """Adds a defect for each attribute, of the class or said in the wiring, that has a value of no use."""
    who = name_of(declaration)

    def check(name: str, value: Any, right: Check) -> None:
        is_right, wanted = right
        if not is_right(value):
            message = f"{who} has `{name}` {repr_of(value)}"
            defects.append(Defect("attribute_invalid", message, (), f"give {wanted}"))

    cls: Any = look if isinstance(look, type) else type(look)
    for base, checks in ATTRIBUTES.items():
        for name, right in checks.items() if issubclass(cls, base) else ():
            check(name, getattr(look, name), right)
    if declaration.blocking is not None:
        check("blocking", declaration.blocking, FLAG)
    check("replayable", replayable(declaration, look), FLAG)


def replayable(declaration: Declaration, look: Any) -> Any:
    """What the function that gives an iterator says of whether it will give the same again."""
    is_iterator = declaration.kind is Kind.SPOUT and look is None
    return getattr(code_of(declaration.component), "replayable", True) if is_iterator else True


def check_spout(who: str, look: Any, defects: list[Defect]) -> None:
    """Adds a defect if there is nothing that a spout's tuples could come from, and for methods that would never run."""
    for name in ("ack", "ack_many", "fail", "dead"):
        if inspect.iscoroutinefunction(getattr(look, name, None)):
            fix = "make it an ordinary method, and set `blocking = True` if it waits for the world"
            defects.append(Defect("spout_async", f"`{name}` of {who} is async", (), fix))
    if look is None or hasattr(look, "native_source"):
        return
    methods = [method for name in ("next_batch", "next_tuple") if callable(method := getattr(look, name, None))]
    if not methods:
        fix = "define `next_batch(self, limit)` or `next_tuple(self)`"
        defects.append(Defect("spout_without_source", f"{who} has nothing to emit from", (), fix))
    for method in methods:
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            fix = "make it an ordinary method and set `blocking = True`: it gets a thread of its own"
            defects.append(Defect("spout_async", f"`{method.__name__}` of {who} is async", (), fix))


def parallelism_of(declaration: Declaration, settings: Mapping[str, Any], defects: list[Defect]) -> tuple[int, int]:
    """How many executors and tasks a component has.

    Source: Storm 1.2.1 `StormCommon.normalize_topology`, `component_parallelism`.
    """

    def in_bounds(name: str, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_PARALLELISM:
            return value
        fix = f"give a whole number from 1 to {MAX_PARALLELISM}"
        message = f"{name_of(declaration)} has {name} {repr_of(value)}"
        defects.append(Defect("parallelism_invalid", message, (), fix))
        return 1

    parallelism = in_bounds("parallelism", declaration.parallelism)
    wanted = declaration.tasks if declaration.tasks is not None else settings["topology.tasks"]
    tasks = in_bounds("tasks", wanted) if wanted is not None else parallelism
    most = settings["topology.max.task.parallelism"]
    tasks = min(tasks, most) if most is not None else tasks
    return min(parallelism, tasks), tasks


def _said(declaration: Declaration, name: str, look: Any, key: str, settings: Mapping[str, Any]) -> Any:
    """What wiring and class say, the wiring first: its argument `name`, its setting `key`, the class attribute."""
    if (wired := getattr(declaration, name)) is not None:
        return wired
    own: Any = declaration.settings
    if isinstance(own, Mapping) and key in own and settings[key] is not None:
        return settings[key]
    return getattr(look, name, None)


def retry_of(declaration: Declaration, look: Any, settings: Mapping[str, Any], defects: list[Defect]) -> Retry:
    """What a failure of the component leads to."""
    retries = _said(declaration, "retries", look, "topology.retries", settings)
    if retries is None:
        retries = settings["topology.retries"]
    if not _is_count(retries, at_least=0):
        message = f"{name_of(declaration)} has retries {repr_of(retries)}"
        defects.append(Defect("retries_invalid", message, (), "give a whole number from 0"))
        retries = 0
    return Retry(_actions(declaration, look, defects), retries)


def _actions(declaration: Declaration, look: Any, defects: list[Defect]) -> dict[type[BaseException], str]:
    on_error: Any = declaration.on_error if declaration.on_error is not None else getattr(look, "on_error", "retry")
    given = cast("Mapping[Any, Any]", on_error) if isinstance(on_error, Mapping) else {Exception: on_error}
    actions: dict[type[BaseException], str] = {}
    for error, action in given.items():
        who = f"{name_of(declaration)} has `on_error` {repr_of(action)} for {_class_name(error)}"
        if not (isinstance(error, type) and issubclass(error, BaseException)):
            fix = "write {ErrorClass: action}, with classes of exceptions"
            defects.append(Defect("on_error_invalid", f"{who}, which is no class of exceptions", (), fix))
        elif not isinstance(action, str) or action not in ACTIONS:
            near = did_you_mean(repr_of(action).strip("'"), ACTIONS)
            fix = f'did you mean "{near}"?' if near else f"choose among {', '.join(ACTIONS)}"
            defects.append(Defect("on_error_invalid", who, (), fix))
        else:
            actions[error] = action
    return actions


def _class_name(error: object) -> str:
    return error.__name__ if isinstance(error, type) else repr_of(error)


def _is_async(declaration: Declaration, look: Any) -> bool:
    """Whether a method that takes the component's inputs is async, so that its code runs on an event loop."""
    takers: list[Any] = [*(one.into for one in declaration.inputs), *(getattr(look, name, None) for name in TAKERS)]
    return any(callable(taker) and inspect.iscoroutinefunction(code_of(taker)) for taker in takers)


def tick_of(declaration: Declaration, look: Any, settings: Mapping[str, Any], defects: list[Defect]) -> float | None:
    """The period of the component's `tick` in seconds; None if it has none."""
    who = name_of(declaration)
    tick: Any = getattr(look, "tick", None)
    has_tick = callable(tick)
    if inspect.iscoroutinefunction(tick) and not _is_async(declaration, look):
        fix = "make it an ordinary method, or make the methods async that take its inputs"
        defects.append(Defect("tick_async", f"`tick` of {who} is async, and the component is not", (), fix))
    every = _said(declaration, "tick_every", look, "topology.tick.tuple.freq.secs", settings)
    if every is None and has_tick:
        every = settings["topology.tick.tuple.freq.secs"]
    if every is None:
        if has_tick:
            fix = "set `tick_every`, or remove `tick`"
            defects.append(Defect("tick_without_period", f"{who} has `tick` but no `tick_every`", (), fix))
        return None
    is_period, wanted = PERIOD
    if not is_period(every):
        defects.append(Defect("tick_invalid", f"{who} has `tick_every` {repr_of(every)}", (), f"give {wanted}"))
        return None
    if not has_tick:
        fix = "define `tick`, or remove `tick_every`"
        defects.append(Defect("tick_missing", f"{who} has `tick_every` but no `tick`", (), fix))
        return None
    return seconds(every)
