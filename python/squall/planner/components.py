"""What the component argument of a declaration is, and how an instance for one task is made from it.

A component is made once for the checks: what cannot be copied or made is told before anything runs, with all other
defects. The first task gets that one, so that a factory is called as often as there are tasks.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from squall.api.components import Bolt, Spout
from squall.api.topology import Declaration
from squall.errors import Defect, TopologyError, because, text_of
from squall.model.graph import Kind, Mode
from squall.planner.annotations import code_of

Make = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Made:
    """How instances are made, and one to look at: a `Spout` or `Bolt` (or its class), or None for plain callables."""

    make: Make
    look: Any
    function: Callable[..., Any] | None = None


def made(declaration: Declaration, defects: list[Defect]) -> Made | None:
    """How to make the declared component; None, with a defect, when it is nothing that squall can run."""
    component = declaration.component
    is_spout = declaration.kind is Kind.SPOUT
    wanted, other = (Spout, Bolt) if is_spout else (Bolt, Spout)
    who = name_of(declaration)
    try:
        if isinstance(component, wanted):
            return _copied(who, component)
        if inspect.isclass(component) and issubclass(component, wanted):
            return _instantiated(who, component)
        is_class = inspect.isclass(component)
        is_other = isinstance(component, other) or (is_class and (not is_spout or issubclass(component, other)))
        if is_other or not callable(component):
            raise _wrong(who, component, wanted)
        return _spout(who, component) if is_spout else _bolt(who, component)
    except TopologyError as error:
        defects.extend(error.defects)
        return None


def name_of(declaration: Declaration) -> str:
    """`spout "name"` or `bolt "name"`."""
    return f'{declaration.kind.value} "{text_of(declaration.name)}"'


def mode_of(declaration: Declaration, look: Any, functions: Sequence[Callable[..., Any]]) -> Mode:
    """Where the component's code runs; what `blocking` may be is checked by `check_attributes`."""
    if any(inspect.iscoroutinefunction(code_of(function)) for function in functions):
        return Mode.ASYNC
    blocking = declaration.blocking if declaration.blocking is not None else getattr(look, "blocking", False)
    return Mode.BLOCKING if blocking is True else Mode.LOOP


def _wrong(who: str, component: Any, wanted: type) -> TopologyError:
    kind = f"class {component.__name__}" if isinstance(component, type) else f"a {type(component).__name__}"
    base = wanted.__name__
    fix = f"give an instance or a subclass of {base}, a factory without parameters"
    fix += ", or a function of a tuple's fields" if wanted is Bolt else ", or a function that returns an iterator"
    if wanted is Spout and inspect.isgenerator(component):
        name = component.gi_code.co_name
        fix = f"give the function, not what it returns: {name} in place of {name}(...), or `lambda: {name}(...)`"
    elif wanted is Spout and not isinstance(component, type) and hasattr(component, "__iter__"):
        fix = "give a function that returns it: `lambda: iter(...)`; it is called once a task"
    elif component is None:
        fix = "give the function itself, `f` in place of `f(...)`: what is here is what a call returned"
    return TopologyError(Defect("component_invalid", f"{who} is {kind}, which is no {base.lower()}", (), fix))


def _copied(who: str, instance: Any) -> Made:
    def make(_context: Any) -> Any:
        try:
            return copy.deepcopy(instance)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            fix = "give its class or a factory (`lambda: ...`) instead of an instance: it is called once a task"
            defect = Defect("component_copy", f"{who} cannot be copied for its task", (_because(error),), fix)
            raise TopologyError(defect) from error

    return Made(_beginning_with(make(None), make), instance)


def _instantiated(who: str, component: Callable[[], Any]) -> Made:
    missing = [parameter.name for parameter in _required(component)]
    if missing:
        facts = (("missing", ", ".join(missing)),)
        fix = f"give a factory that passes the arguments: `lambda: {component.__name__}(...)`"
        raise TopologyError(Defect("component_make", f"{who} cannot be made without arguments", facts, fix))
    return Made(_caller(who, component), component)


def _bolt(who: str, function: Callable[..., Any]) -> Made:
    if _takes_fields(function):
        return Made(lambda _context: None, None, function)
    make = _caller(who, function)
    look = make(None)
    if not isinstance(look, Bolt):
        message = f"{who} is a factory that returned a {type(look).__name__}"
        fix = "return a Bolt; or, for a function as a bolt, name the fields it takes as parameters"
        raise TopologyError(Defect("bolt_result", message, (), fix))
    return Made(_beginning_with(look, make), look)


def _spout(who: str, function: Callable[..., Any]) -> Made:
    required = _required(function)
    if len(required) > 1:
        message = f"{who} is a function with {len(required)} parameters"
        fix = "a spout's function takes nothing, or the context"
        raise TopologyError(Defect("spout_parameters", message, (), fix))
    if required:  # it cannot be called before there is a context
        return Made(_iterated(who, _caller(who, function, takes_context=True)), None)
    make = _iterated(who, _caller(who, function))
    if inspect.isgeneratorfunction(code_of(function)):
        return Made(make, None)
    first = make(None)
    return Made(_beginning_with(first, make), first if isinstance(first, Spout) else None)


def _required(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters that must be given."""
    return [
        parameter
        for parameter in _signature(function)
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _takes_fields(function: Callable[..., Any]) -> bool:
    """Whether a callable is a function of a tuple's fields, and no factory.

    A parameter with an underscore and a default is the idiom of a closure, `lambda _model=model: Score(_model)`.
    """
    return not inspect.isclass(code_of(function)) and any(
        parameter.default is parameter.empty
        or (parameter.kind is not parameter.KEYWORD_ONLY and not parameter.name.startswith("_"))
        for parameter in _signature(function)
    )


def _signature(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # compiled, and does not tell
        return []


def _beginning_with(first: Any, make: Make) -> Make:
    unused = [first]
    return lambda context: unused.pop() if unused else make(context)


def _caller(who: str, factory: Callable[..., Any], takes_context: bool = False) -> Make:
    def make(context: Any) -> Any:
        try:
            return factory(context) if takes_context else factory()
        except TopologyError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            fix = "make it work without arguments; open files and connections in `open`"
            raise TopologyError(Defect("component_make", f"{who} cannot be made", (_because(error),), fix)) from error

    return make


def _iterated(who: str, make: Make) -> Make:
    def iterate(context: Any) -> Any:
        result: Any = make(context)
        if isinstance(result, Spout) or hasattr(result, "__next__"):
            return result
        try:
            return iter(result)
        except TypeError:
            message = f"{who} is a function that returned a {type(result).__name__}"
            raise TopologyError(Defect("spout_result", message, (), "return a Spout or an iterator")) from None

    return iterate


def _because(error: BaseException) -> tuple[str, str]:
    return ("because", because(error))
