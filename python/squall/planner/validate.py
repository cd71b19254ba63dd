"""All checks of a declared topology. Every defect is collected; one `TopologyError` lists them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, cast

from squall.api.context import seconds
from squall.api.topology import Declaration, Subscription, Topology
from squall.config.load import checked
from squall.config.table import DEFAULTS, Scope
from squall.errors import ConfigError, Defect, TopologyError, did_you_mean
from squall.model.graph import (
    DEAD_LETTER_FIELDS,
    DEAD_LETTERS,
    Binding,
    ComponentSpec,
    Graph,
    GroupingKind,
    InputSpec,
    Kind,
    Mode,
    Retry,
    StreamId,
    StreamSpec,
)
from squall.planner.bind import arguments, key_numbers
from squall.planner.components import Made, made, mode_of, name_of
from squall.planner.order import closing_edges, topological
from squall.planner.outputs import streams_of

ACTIONS = ("retry", "dead", "drop", "die")
FORBIDDEN = frozenset("/.:\\")
MAX_PARALLELISM = 1024


def validate(topology: Topology, settings: Mapping[str, Any] | None = None) -> Graph:
    """The graph of a topology.

    Args:
        settings: what file, environment and command line say; the defaults if not given.

    Raises:
        TopologyError: every defect of the definition, at once.
    """
    return _Validation(topology, settings if settings is not None else DEFAULTS).graph()


def _is_exception(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def checked_name(kind: str, name: object) -> Defect | None:
    """What is wrong with the name of a topology, component or stream."""
    if (
        isinstance(name, str)
        and 1 <= len(name) <= 100
        and not any(c.isspace() or c in FORBIDDEN or not c.isprintable() for c in name)
        and not name.startswith("__")
    ):
        return None
    fix = "use 1–100 characters without white space and none of / . : \\, not beginning with __"
    return Defect("name_invalid", f'{kind} "{name}" has a name that is not allowed', (), fix)


class _Validation:
    """One run of the checks; holds the defects found so far."""

    def __init__(self, topology: Topology, settings: Mapping[str, Any]) -> None:
        self.topology = topology
        self.defects: list[Defect] = []
        self.settings = self._settings("topology", topology.settings, settings, Scope.TOPOLOGY)
        self.made: dict[str, Made] = {}
        self.streams: dict[str, dict[str, StreamSpec]] = {}
        self.declared: dict[str, Declaration] = {}

    def graph(self) -> Graph:
        self._names()
        for declaration in self.declared.values():
            self._component(declaration)
        self._dead_letter_streams()
        specs = {name: spec for name in self.declared if (spec := self._spec(self.declared[name]))}
        if not any(d.kind is Kind.SPOUT for d in self.declared.values()):
            fix = "declare one: topology.spout(name, component)"
            self.defects.append(Defect("no_spout", f'topology "{self.topology.name}" has no spout', (), fix))
        if self.defects:
            raise TopologyError(*self.defects)
        if self.topology.dead_letter_streams:
            specs = {DEAD_LETTERS: self._dead_letters(), **specs}
        return self._ordered(specs)

    def _ordered(self, specs: dict[str, ComponentSpec]) -> Graph:
        from dataclasses import replace

        edges = [(spec_in.source.component, spec.name) for spec in specs.values() for spec_in in spec.inputs]
        closing = closing_edges(list(specs), edges)
        for name, spec in specs.items():
            inputs = tuple(replace(one, closes_loop=(one.source.component, name) in closing) for one in spec.inputs)
            specs[name] = replace(spec, inputs=inputs)
        bolts = [name for name, spec in specs.items() if spec.kind is Kind.BOLT]
        order = topological(bolts, [edge for edge in edges if edge not in closing])
        return Graph(self.topology.name, specs, tuple(order), self.settings, self.settings["topology.workers"])

    def _names(self) -> None:
        if defect := checked_name("topology", self.topology.name):
            self.defects.append(defect)
        for declaration in self.topology.declarations:
            who = name_of(declaration)
            if defect := checked_name(declaration.kind.value, declaration.name):
                self.defects.append(defect)
            if declaration.name in self.declared:
                facts = (("first", self.declared[declaration.name].where), ("again", declaration.where))
                self.defects.append(Defect("name_twice", f"{who} has a name that is taken", facts, "choose another"))
                continue
            self.declared[declaration.name] = declaration

    def _component(self, declaration: Declaration) -> None:
        who = name_of(declaration)
        self.streams[declaration.name] = {}
        found = made(declaration, self.defects)
        if found is None:
            return
        self.made[declaration.name] = found
        look = found.look
        outputs = declaration.outputs if declaration.outputs is not None else getattr(look, "outputs", ())
        streams = declaration.streams if declaration.streams is not None else getattr(look, "streams", {})
        specs = streams_of(who, outputs, streams, self.defects)
        for name in specs:
            if defect := checked_name(f"{who}: stream", name):
                self.defects.append(defect)
        self.streams[declaration.name] = specs

    def _dead_letter_streams(self) -> None:
        if self.topology.dead_letter_streams:
            self.streams[DEAD_LETTERS] = {
                stream: StreamSpec(stream, DEAD_LETTER_FIELDS) for stream in self.topology.dead_letter_streams
            }

    def _spec(self, declaration: Declaration) -> ComponentSpec | None:
        name, who = declaration.name, name_of(declaration)
        found = self.made.get(name)
        if found is None:
            return None
        look = found.look
        settings = self._settings(who, declaration.settings, self.settings, Scope.COMPONENT)
        parallelism, tasks = self._parallelism(who, declaration, settings)
        inputs, functions = self._inputs(declaration, found) if declaration.kind is Kind.BOLT else ((), [])
        if declaration.kind is Kind.SPOUT:
            self._check_spout(who, look)
        return ComponentSpec(
            name=name,
            kind=declaration.kind,
            mode=mode_of(declaration, look, functions),
            make=found.make,
            function=found.function,
            streams=self.streams[name],
            inputs=inputs,
            parallelism=parallelism,
            tasks=tasks,
            retry=self._retry(who, declaration, look, settings),
            tick_every=self._tick(who, declaration, look, settings),
            settings=settings,
            resources=declaration.resources,
            listens=callable(getattr(look, "bind", None)) and callable(getattr(look, "adopt", None)),
            prints=getattr(look, "prints", False) is True,
        )

    def _settings(
        self, who: str, given: Mapping[str, object], below: Mapping[str, Any], scope: Scope
    ) -> dict[str, Any]:
        settings = dict(below)
        for key, value in given.items():
            try:
                settings[key] = checked(key, value, f"settings of {who}", scope)
            except ConfigError as error:
                self.defects.extend(error.defects)
        if scope is Scope.TOPOLOGY and self.topology.workers != 1:
            try:
                settings["topology.workers"] = checked("topology.workers", self.topology.workers, "workers=", scope)
            except ConfigError as error:
                self.defects.extend(error.defects)
        return settings

    def _parallelism(self, who: str, declaration: Declaration, settings: Mapping[str, Any]) -> tuple[int, int]:
        def in_bounds(name: str, value: object) -> int:
            if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_PARALLELISM:
                return value
            fix = f"give a whole number from 1 to {MAX_PARALLELISM}"
            self.defects.append(Defect("parallelism_invalid", f"{who} has {name} {value!r}", (), fix))
            return 1

        parallelism = in_bounds("parallelism", declaration.parallelism)
        wanted = declaration.tasks if declaration.tasks is not None else settings["topology.tasks"]
        tasks = in_bounds("tasks", wanted) if wanted is not None else parallelism
        most = settings["topology.max.task.parallelism"]
        tasks = min(tasks, most) if most is not None else tasks
        return min(parallelism, tasks), tasks

    def _retry(self, who: str, declaration: Declaration, look: Any, settings: Mapping[str, Any]) -> Retry:
        on_error: Any = declaration.on_error if declaration.on_error is not None else getattr(look, "on_error", "retry")
        if isinstance(on_error, str):
            on_error = {Exception: on_error}
        actions: dict[type[BaseException], str] = {}
        if not isinstance(on_error, Mapping):
            on_error = {Exception: on_error}
        for error, action in cast("Mapping[Any, Any]", on_error).items():
            if not _is_exception(error) or action not in ACTIONS:
                near = did_you_mean(str(action), ACTIONS)
                fix = f'did you mean "{near}"?' if near else f"choose among {', '.join(ACTIONS)}"
                message = f"{who} has `on_error` {action!r} for {getattr(error, '__name__', error)}"
                self.defects.append(Defect("on_error_invalid", message, (), fix))
                continue
            actions[error] = action
        retries = declaration.retries if declaration.retries is not None else getattr(look, "retries", None)
        if retries is None:
            retries = settings["topology.retries"]
        if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
            message = f"{who} has retries {retries!r}"
            self.defects.append(Defect("retries_invalid", message, (), "give a whole number from 0"))
            retries = 0
        return Retry(actions, retries)

    def _tick(self, who: str, declaration: Declaration, look: Any, settings: Mapping[str, Any]) -> float | None:
        has_tick = callable(getattr(look, "tick", None))
        every: Any = declaration.tick_every if declaration.tick_every is not None else getattr(look, "tick_every", None)
        if every is None and has_tick:
            every = settings["topology.tick.tuple.freq.secs"]
        if every is None:
            if has_tick:
                fix = "set `tick_every`, or remove `tick`"
                self.defects.append(Defect("tick_without_period", f"{who} has `tick` but no `tick_every`", (), fix))
            return None
        if isinstance(every, bool) or not isinstance(every, int | float | timedelta) or seconds(every) <= 0:
            fix = "give seconds, or a timedelta, above 0"
            self.defects.append(Defect("tick_invalid", f"{who} has `tick_every` {every!r}", (), fix))
            return None
        if not has_tick:
            fix = "define `tick`, or remove `tick_every`"
            self.defects.append(Defect("tick_missing", f"{who} has `tick_every` but no `tick`", (), fix))
            return None
        return seconds(every)

    def _check_spout(self, who: str, look: Any) -> None:
        if look is None or hasattr(look, "native_source"):
            return
        if not any(callable(getattr(look, name, None)) for name in ("next_batch", "next_tuple")):
            fix = "define `next_batch(self, limit)` or `next_tuple(self)`"
            self.defects.append(Defect("spout_without_source", f"{who} has nothing to emit from", (), fix))

    def _inputs(self, declaration: Declaration, found: Made) -> tuple[tuple[InputSpec, ...], list[Callable[..., Any]]]:
        who = name_of(declaration)
        if not declaration.inputs:
            fix = "group one: topology.bolt(...).shuffle(stream)"
            self.defects.append(
                Defect("bolt_without_input", f"{who} has no input", (("declared", declaration.where),), fix)
            )
        specs: list[InputSpec] = []
        functions: list[Callable[..., Any]] = []
        for subscription in declaration.inputs:
            source = self._source(who, subscription)
            function, method, batch = self._method(who, subscription, found)
            if function is not None:
                functions.append(function)
            if source is None or function is None:
                continue
            stream = self.streams[source.component][source.stream]
            specs.append(self._input(who, subscription, source, stream, function, method, batch))
        return tuple(specs), functions

    def _input(
        self,
        who: str,
        subscription: Subscription,
        source: StreamId,
        stream: StreamSpec,
        function: Callable[..., Any],
        method: str | None,
        batch: bool,
    ) -> InputSpec:
        kind, keys = subscription.kind, ()
        if kind in (GroupingKind.FIELDS, GroupingKind.PARTIAL_KEY):
            keys = key_numbers(who, subscription.keys, source, stream, self.defects)
        if stream.direct != (kind is GroupingKind.DIRECT):
            fix = "use .direct(stream)" if stream.direct else "declare it with Fields(..., direct=True)"
            state = "is direct" if stream.direct else "is not direct"
            message = f'{who} groups stream "{source}" by {kind.value}, but that stream {state}'
            self.defects.append(Defect("grouping_direct", message, (), fix))
        custom: Any = subscription.custom
        if kind is GroupingKind.CUSTOM and not all(callable(getattr(custom, m, None)) for m in ("prepare", "choose")):
            fix = "define `prepare(context, stream, tasks)` and `choose(source_task, values)`"
            message = f'{who} groups stream "{source}" by a {type(custom).__name__}, which is no grouping'
            self.defects.append(Defect("grouping_custom", message, (), fix))
        is_method = method is not None
        bound = arguments(who, function, is_method, source, stream, subscription.rename, batch, self.defects)
        return InputSpec(source, kind, Binding(method, bound, batch), keys, custom)

    def _source(self, who: str, subscription: Subscription) -> StreamId | None:
        stream = subscription.source
        if not hasattr(stream, "topology") or not hasattr(stream, "component"):
            message = f"{who} groups {stream!r}, which is no stream"
            self.defects.append(
                Defect("stream_invalid", message, (("at", subscription.where),), "give what `spout` or `bolt` returned")
            )
            return None
        if stream.topology is not self.topology:
            message = f'{who} groups stream "{stream.component}/{stream.stream}" of topology "{stream.topology.name}"'
            self.defects.append(Defect("stream_foreign", message, (), "use streams of the same topology"))
            return None
        declared = self.streams.get(stream.component, {})
        if stream.stream not in declared:
            near = did_you_mean(stream.stream, declared)
            facts = (("declared", ", ".join(declared) or "no streams"),)
            fix = f'did you mean "{near}"?' if near else "declare it in `outputs` or `streams`"
            message = f'{who} groups stream "{stream.component}/{stream.stream}", which is not declared'
            if stream.component in self.made or stream.component == DEAD_LETTERS:
                self.defects.append(Defect("stream_unknown", message, facts, fix))
            return None
        return StreamId(stream.component, stream.stream)

    def _method(
        self, who: str, subscription: Subscription, found: Made
    ) -> tuple[Callable[..., Any] | None, str | None, bool]:
        if found.function is not None:
            if subscription.into is not None:
                fix = "make it a Bolt with one method for each input"
                self.defects.append(
                    Defect("into_function", f"{who} is a function and has no methods for `into`", (), fix)
                )
            return found.function, None, False
        look = found.look
        cls: Any = look if isinstance(look, type) else type(look)
        has_batch, has_process = (callable(getattr(cls, name, None)) for name in ("process_batch", "process"))
        if has_batch and has_process:
            fix = "keep one of them"
            self.defects.append(Defect("process_twice", f"{who} defines both `process` and `process_batch`", (), fix))
        if subscription.into is not None:
            name = getattr(subscription.into, "__name__", "")
            method = getattr(cls, name, None)
            if method is not subscription.into:
                message = f'{who} has no method "{name or subscription.into!r}" for `into`'
                self.defects.append(Defect("into_unknown", message, (), f"name a method of {cls.__name__}"))
                return None, None, False
            return method, name, False
        if not has_batch and not has_process:
            fix = "define `process` or `process_batch`, or name a method by `into=`"
            self.defects.append(Defect("process_missing", f"{who} has nothing to process its input with", (), fix))
            return None, None, False
        name = "process_batch" if has_batch else "process"
        return getattr(cls, name), name, has_batch

    def _dead_letters(self) -> ComponentSpec:
        return ComponentSpec(
            name=DEAD_LETTERS,
            kind=Kind.SPOUT,
            mode=Mode.LOOP,
            make=lambda _context, streams=dict(self.topology.dead_letter_streams): streams,
            function=None,
            streams=self.streams[DEAD_LETTERS],
            inputs=(),
            parallelism=1,
            tasks=1,
            retry=Retry({Exception: "retry"}, 0),
            tick_every=None,
            settings=self.settings,
        )
