"""What the component argument of a declaration is, and how an instance for one task is made from it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from squall.api.components import Bolt, Spout
from squall.api.topology import Declaration
from squall.errors import Defect, TopologyError
from squall.model.graph import Kind, Mode


@dataclass(frozen=True, slots=True)
class Made:
    """How instances are made, and one to look at: a `Spout` or `Bolt` (or its class), or None for plain callables."""

    make: Callable[[Any], Any]
    look: Any
    function: Callable[..., Any] | None = None


def made(declaration: Declaration, defects: list[Defect]) -> Made | None:
    """How to make the declared component; None, with a defect, when it is nothing that squall can run."""
    component = declaration.component
    wanted = Spout if declaration.kind is Kind.SPOUT else Bolt
    who = name_of(declaration)
    if isinstance(component, wanted):
        return Made(_copier(who, component), component)
    if inspect.isclass(component):
        if not issubclass(component, wanted):
            return _wrong(who, component, wanted, defects)
        return Made(_caller(who, component), component)
    if isinstance(component, Spout | Bolt) or not callable(component):
        return _wrong(who, component, wanted, defects)
    parameters = _parameters(component)
    if declaration.kind is Kind.SPOUT:
        takes_context = len(parameters) == 1
        if len(parameters) > 1:
            message = f"{who} is a function with {len(parameters)} parameters"
            fix = "a spout's function takes nothing, or the context"
            defects.append(Defect("spout_parameters", message, (), fix))
            return None
        make = component if takes_context else _without_context(component)
        if inspect.isgeneratorfunction(component):
            return Made(_iterating(who, make), None)
        return _probed(who, declaration, make, takes_context, defects)
    if parameters:
        return Made(lambda _context: None, None, component)
    return _probed(who, declaration, _without_context(component), False, defects)


def name_of(declaration: Declaration) -> str:
    """`spout "name"` or `bolt "name"`."""
    return f'{declaration.kind.value} "{declaration.name}"'


def mode_of(declaration: Declaration, look: Any, functions: list[Callable[..., Any]]) -> Mode:
    """Where the component's code runs."""
    blocking = declaration.blocking if declaration.blocking is not None else bool(getattr(look, "blocking", False))
    if any(inspect.iscoroutinefunction(function) for function in functions):
        return Mode.ASYNC
    return Mode.BLOCKING if blocking else Mode.LOOP


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty or parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            if not (parameter.name.startswith("_") and parameter.default is not parameter.empty)
        ]
    except (TypeError, ValueError):
        return []


def _wrong(who: str, component: object, wanted: type, defects: list[Defect]) -> None:
    kind = f"class {component.__name__}" if isinstance(component, type) else f"a {type(component).__name__}"
    base = wanted.__name__
    fix = f"give an instance or a subclass of {base}, a factory without parameters"
    fix += ", or a function of a tuple's fields" if wanted is Bolt else ", or a function that returns an iterator"
    defects.append(Defect("component_invalid", f"{who} is {kind}, which is no {base.lower()}", (), fix))


def _copier(who: str, instance: Any) -> Callable[[Any], Any]:
    def make(_context: Any) -> Any:
        try:
            return copy.deepcopy(instance)
        except Exception as error:
            facts = (("because", f"{type(error).__name__}: {error}"),)
            fix = "give its class or a factory (`lambda: ...`) instead of an instance: it is called once a task"
            raise TopologyError(Defect("component_copy", f"{who} cannot be copied for its task", facts, fix)) from error

    return make


def _caller(who: str, component: Callable[[], Any]) -> Callable[[Any], Any]:
    def make(_context: Any) -> Any:
        try:
            return component()
        except Exception as error:
            facts = (("because", f"{type(error).__name__}: {error}"),)
            fix = "give a factory that passes the arguments: `lambda: ...`"
            raise TopologyError(Defect("component_make", f"{who} cannot be made", facts, fix)) from error

    return make


def _without_context(factory: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda _context: factory()


def _iterating(who: str, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def iterate(context: Any) -> Any:
        result: Any = make(context)
        if isinstance(result, Spout) or hasattr(result, "__next__"):
            return result
        try:
            return iter(result)
        except TypeError:
            message = f"{who} is a function that returned a {type(result).__name__}"
            fix = "return a Spout or an iterator"
            raise TopologyError(Defect("spout_result", message, (), fix)) from None

    return iterate


def _probed(
    who: str, declaration: Declaration, make: Callable[[Any], Any], takes_context: bool, defects: list[Defect]
) -> Made | None:
    """Looks at what a factory makes; a spout's factory that wants the context is trusted until there is one."""
    if takes_context:
        return Made(_iterating(who, make), None)
    try:
        look = make(None)
    except Exception as error:
        facts = (("because", f"{type(error).__name__}: {error}"),)
        fix = "make the factory work without arguments; open files and connections in `open`"
        defects.append(Defect("component_make", f"{who} cannot be made", facts, fix))
        return None
    if declaration.kind is Kind.SPOUT:
        if isinstance(look, Spout):
            return Made(make, look)
        try:
            iter(look)
        except TypeError:
            message = f"{who} is a function that returned a {type(look).__name__}"
            defects.append(Defect("spout_result", message, (), "return a Spout or an iterator"))
            return None
        return Made(_iterating(who, make), None)
    if not isinstance(look, Bolt):
        message = f"{who} is a factory that returned a {type(look).__name__}"
        fix = "return a Bolt; or, for a function as a bolt, name the fields it takes as parameters"
        defects.append(Defect("bolt_result", message, (), fix))
        return None
    return Made(make, look)
