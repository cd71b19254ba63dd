"""The inputs of a bolt: which streams it takes, how they are grouped, which method gets them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from squall.api.components import Bolt
from squall.api.topology import Declaration, Stream, Subscription, Topology
from squall.errors import Defect, because, did_you_mean, listed, repr_of, text_of
from squall.model.graph import (
    DEAD_LETTERS,
    DEFAULT_STREAM,
    Argument,
    Binding,
    GroupingKind,
    InputSpec,
    StreamId,
    StreamSpec,
)
from squall.planner.annotations import called, code_of
from squall.planner.bind import Method, Source, arguments, key_numbers
from squall.planner.components import Made, name_of

OTHERS_NAMES = ("execute", "handle", "run", "on_tuple", "map")
"""What `process` is called elsewhere; the first is Storm's."""
BY_KEY = (GroupingKind.FIELDS, GroupingKind.PARTIAL_KEY)

Streams = Mapping[str, Mapping[str, StreamSpec] | None]
"""The declared streams of each component; None where a component has a defect of its own, so that nothing is known."""


def inputs_of(
    topology: Topology, declaration: Declaration, made: Made, streams: Streams, defects: list[Defect]
) -> tuple[tuple[InputSpec, ...], list[Callable[..., Any]]]:
    """A bolt's inputs, and the functions that take them; each defect tells where its input was wired."""
    who = name_of(declaration)
    if not declaration.inputs:
        fix = f'group one: topology.bolt("{declaration.name}", ...).shuffle(stream), or .fields(stream, "field")'
        facts = (("streams", _offered(streams, declaration.name)),)
        defects.append(Defect("bolt_without_input", f"{who} has no input", facts, fix))
    specs: list[InputSpec] = []
    functions: list[Callable[..., Any]] = []
    taken: dict[StreamId, str] = {}
    begun = len(defects)
    for subscription in declaration.inputs:
        found: list[Defect] = []
        source = source_of(topology, who, subscription, streams, found)
        found.extend(_taken_twice(who, subscription, source, taken))
        method = _method(who, subscription, made, found)
        if method is not None:
            functions.append(method.function)
            found.extend(_not_awaitable(who, method))
            if source is not None:
                specs.append(_input(who, subscription, source, method, found))
        defects.extend(defect.at(subscription.where) for defect in found)
    if made.function is not None and specs and len(defects) == begun and not any(map(_takes_something, specs)):
        fix = "name a parameter like a field; for a factory, leave the parameters out: `lambda: ...`"
        message = f"{who} is a function that takes nothing of its input"
        defects.append(Defect("function_takes_nothing", message, (), fix))
    return tuple(specs), functions


def _taken_twice(
    who: str, subscription: Subscription, source: Source | None, taken: dict[StreamId, str]
) -> list[Defect]:
    """A defect where the stream has been taken already.

    A stream has one way to each of its subscribers, with one grouping and one method. Storm lets the second replace
    the first without a word.

    Source: Storm 1.2.1 `topology/TopologyBuilder.java`, `BoltGetter.grouping`: a map by stream.
    """
    if source is None:
        return []
    if source.id not in taken:
        taken[source.id] = subscription.where
        return []
    facts = (("first", taken[source.id]), ("again", subscription.where))
    fix = "take it once and let one method do both, or declare a second bolt"
    return [Defect("input_twice", f'{who} takes stream "{source.id}" twice', facts, fix)]


def _takes_something(spec: InputSpec) -> bool:
    return any(argument.source is not None for argument in spec.binding.arguments)


def source_of(
    topology: Topology, who: str, subscription: Subscription, streams: Streams, defects: list[Defect]
) -> Source | None:
    """The stream of a subscription; None, with a defect, when there is none."""
    stream: Any = subscription.source
    if not isinstance(stream, Stream):
        fix = "give what `spout` or `bolt` returned"
        if isinstance(stream, str) and stream in streams:
            fix += f': {_variable(stream)} = topology.spout("{stream}", ...) and then .shuffle({_variable(stream)})'
        defects.append(Defect("stream_invalid", f"{who} groups {repr_of(stream)}, which is no stream", (), fix))
        return None
    component, name = cast("object", stream.component), cast("object", stream.stream)
    if not isinstance(component, str):  # its name is a defect of its own
        return None
    full_name = f"{stream.component}/{text_of(name)}"
    if stream.topology is not topology:
        message = f'{who} groups stream "{full_name}" of topology "{text_of(stream.topology.name)}"'
        defects.append(Defect("stream_foreign", message, (), "use streams of the same topology"))
        return None
    declared = streams.get(stream.component)
    if declared is None:
        return None
    if not isinstance(name, str) or name not in declared:
        near = did_you_mean(text_of(name), declared)
        facts = (("declared", listed(declared, "no streams")),)
        fix = f'did you mean "{near}"?' if near else "declare it in `outputs` or `streams`"
        if not declared and stream.stream == DEFAULT_STREAM:
            fix = f'say what "{stream.component}" emits: give its declaration outputs=("field",)'
        message = f'{who} groups stream "{full_name}", which is not declared'
        defects.append(Defect("stream_unknown", message, facts, fix))
        return None
    return Source(StreamId(stream.component, stream.stream), declared[stream.stream])


def _input(who: str, subscription: Subscription, source: Source, method: Method, defects: list[Defect]) -> InputSpec:
    kind, keys = subscription.kind, ()
    if kind in BY_KEY:
        keys = key_numbers(who, subscription.keys, source, defects)
    if source.spec.direct != (kind is GroupingKind.DIRECT):
        fix = "use .direct(stream)" if source.spec.direct else "declare it with Fields(..., direct=True)"
        state = "is direct" if source.spec.direct else "is not direct"
        message = f'{who} groups stream "{source.id}" by {kind.value}, but that stream {state}'
        defects.append(Defect("grouping_direct", message, (), fix))
    if kind is GroupingKind.CUSTOM:
        defects.extend(_not_grouping(who, source, subscription.custom))
    bound: tuple[Argument, ...] = ()
    if wrong := _no_renames(who, source, subscription.rename):
        defects.append(wrong)
    else:
        bound = arguments(who, method, source, subscription.rename, defects)
    return InputSpec(source.id, kind, Binding(method.name, bound, method.batch), keys, subscription.custom)


def _no_renames(who: str, source: Source, rename: Any) -> Defect | None:
    """What is wrong with `rename=` as a whole."""
    if isinstance(rename, Mapping):
        names = cast("Mapping[Any, Any]", rename)
        if all(isinstance(name, str) for pair in names.items() for name in pair):
            return None
    message = f'{who} takes stream "{source.id}" with rename={repr_of(cast("object", rename))}'
    return Defect(
        "rename_invalid", message, (), "write a mapping of fields to parameters: rename={'field': 'parameter'}"
    )


def _not_grouping(who: str, source: Source, custom: Any) -> list[Defect]:
    if isinstance(custom, type):
        fix = f"give an instance: {custom.__name__}(...)"
        message = f'{who} groups stream "{source.id}" by the class {custom.__name__}'
        return [Defect("grouping_custom", message, (), fix)]
    if all(callable(getattr(custom, name, None)) for name in ("prepare", "choose")):
        return []
    fix = "define `prepare(context, stream, tasks)` and `choose(source_task, values)`"
    message = f'{who} groups stream "{source.id}" by a {type(custom).__name__}, which is no grouping'
    return [Defect("grouping_custom", message, (), fix)]


def _method(who: str, subscription: Subscription, made: Made, defects: list[Defect]) -> Method | None:
    """What takes the input's tuples; None, with a defect, when nothing does."""
    if made.function is not None:
        if subscription.into is not None:
            fix = "make it a Bolt with one method for each input"
            defects.append(Defect("into_function", f"{who} is a function and has no methods for `into`", (), fix))
        return Method(made.function)
    if subscription.into is not None:
        return _into(who, subscription.into, made.look, defects)
    has_batch, has_process = (callable(getattr(made.look, name, None)) for name in ("process_batch", "process"))
    if has_batch and has_process:
        fix = "keep one of them"
        defects.append(Defect("process_twice", f"{who} defines both `process` and `process_batch`", (), fix))
    if not has_batch and not has_process:
        fix = "define `process` or `process_batch`, or name a method by `into=`"
        facts: tuple[tuple[str, str], ...] = ()
        if own := _own_methods(made.look):
            facts = (("defined", ", ".join(own)),)
            near = did_you_mean("process", own) or next((name for name in own if name in OTHERS_NAMES), None)
            fix = f"rename `{near}` to `process`, with the fields it takes as parameters" if near else fix
        defects.append(Defect("process_missing", f"{who} has nothing to process its input with", facts, fix))
        return None
    return _bound(who, made.look, "process_batch" if has_batch else "process", defects)


def _own_methods(look: Any) -> list[str]:
    """The public methods of a bolt that are not squall's own."""
    cls = look if isinstance(look, type) else type(look)
    return [
        name
        for name, value in vars(cls).items()
        if callable(value) and not name.startswith("_") and name not in dir(Bolt)
    ]


def _offered(streams: Streams, bolt: str) -> str:
    """The streams that a bolt may group, with their fields."""
    return listed(
        f"{name}/{stream.name}({listed(stream.fields, '')})"
        for name, declared in streams.items()
        if name != bolt and name != DEAD_LETTERS
        for stream in (declared or {}).values()
    )


def _variable(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def _into(who: str, into: Any, look: Any, defects: list[Defect]) -> Method | None:
    """The bolt's own method of that name, if `into` is it or one that it overrides."""
    cls: type = look if isinstance(look, type) else type(look)
    name = getattr(into, "__name__", "")
    if any(_plain(getattr(base, name, None)) is _plain(into) for base in cls.__mro__):
        return _bound(who, look, name, defects)
    known = [one for one, _ in inspect.getmembers(cls, inspect.isroutine) if not one.startswith("_")]
    near = did_you_mean(name, known)
    fix = f'did you mean "{near}"?' if near else f"name a method of {cls.__name__}: {cls.__name__}.process"
    message = f'{who} has no method "{name or repr_of(into)}" for `into`'
    defects.append(Defect("into_unknown", message, (), fix))
    return None


def _plain(method: Any) -> Any:
    return getattr(method, "__func__", method)


def _bound(who: str, look: Any, name: str, defects: list[Defect]) -> Method | None:
    """The method as its caller sees it, without `self`, also where there is only the class to look at."""
    method: Any = getattr(look, name)
    if isinstance(look, type):
        method = inspect.getattr_static(look, name)
        if hasattr(method, "__get__"):
            method = method.__get__(look, look)
    try:
        inspect.signature(method)
    except (TypeError, ValueError) as error:
        fix = f"make it a method with `self` first: `def {name}(self, ...)`"
        message = f"`{name}` of {who} is nothing that takes tuples"
        defects.append(Defect("process_invalid", message, (("because", because(error)),), fix))
        return None
    return Method(method, name, batch=name == "process_batch")


def _not_awaitable(who: str, method: Method) -> list[Defect]:
    if not inspect.isasyncgenfunction(code_of(method.function)):
        return []
    message = f"`{called(method.function)}` of {who} is an async generator"
    return [Defect("process_async_yield", message, (), "emit each output by `self.emit`, or return a list of them")]
