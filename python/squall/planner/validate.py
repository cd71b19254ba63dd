"""All checks of a declared topology. Every defect is collected; one `TopologyError` lists them all."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from squall.api.topology import Declaration, Declarer, Topology
from squall.config.load import checked
from squall.config.table import DEFAULTS, Scope
from squall.errors import ConfigError, Defect, TopologyError, because, repr_of, text_of
from squall.model.graph import (
    DEAD_LETTER_FIELDS,
    DEAD_LETTERS,
    ComponentSpec,
    Graph,
    Kind,
    Mode,
    Retry,
    StreamSpec,
)
from squall.planner.components import Made, made, mode_of, name_of
from squall.planner.inputs import inputs_of, source_of
from squall.planner.options import check_attributes, check_spout, parallelism_of, replayable, retry_of, tick_of
from squall.planner.order import closing_edges, reached, topological
from squall.planner.outputs import streams_of

FORBIDDEN = frozenset("/.:\\")
MAX_NAME, MAX_NAME_BYTES = 100, 200
"""Files are named after topologies and components: 255 bytes are allowed, the rest is for additions."""


def validate(topology: Topology, settings: Mapping[str, Any] | None = None) -> Graph:
    """The graph of a topology.

    Args:
        settings: what file, environment and command line say; the defaults if not given.

    Raises:
        TopologyError: every defect of the definition, at once.
    """
    return _Validation(topology, settings if settings is not None else DEFAULTS).graph()


def checked_name(kind: str, name: object) -> Defect | None:
    """What is wrong with the name of a topology, component or stream."""
    if (
        isinstance(name, str)
        and 1 <= len(name) <= MAX_NAME
        and len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
        and not any(c.isspace() or c in FORBIDDEN or not c.isprintable() for c in name)
        and not name.startswith("__")
    ):
        return None
    fix = f"use 1–{MAX_NAME} visible characters (at most {MAX_NAME_BYTES} bytes) without white space"
    fix += " and none of / . : \\, not beginning with __"
    return Defect("name_invalid", f'{kind} "{text_of(name)}" has a name that is not allowed', (), fix)


def _listens(look: Any) -> bool:
    """Whether a spout listens on an address: its socket is bound for it and handed over."""
    can = callable(getattr(look, "bind", None)) and callable(getattr(look, "adopt", None))
    return can and getattr(look, "listens", True)


class _Validation:
    """One run of the checks; holds what was found so far."""

    def __init__(self, topology: Topology, settings: Mapping[str, Any]) -> None:
        self.topology = topology
        self.defects: list[Defect] = []
        self.settings = self._topology_settings(settings)
        self.declared: dict[str, Declaration] = {}
        self.made: dict[str, Made] = {}
        self.streams: dict[str, Mapping[str, StreamSpec] | None] = {}

    def graph(self) -> Graph:
        self._names()
        for declaration in self.declared.values():
            with self._looking_at(declaration):
                self._outputs(declaration)
        self._dead_letter_streams()
        specs: dict[str, ComponentSpec] = {}
        for name, found in self.made.items():
            with self._looking_at(self.declared[name]):
                specs[name] = self._spec(self.declared[name], found)
        self._reach()
        self._addresses()
        self._standard_input()
        if self.defects:
            raise TopologyError(*self.defects)
        if self.topology.dead_letter_streams:
            specs = {DEAD_LETTERS: self._dead_letters(), **specs}
        return self._ordered(specs)

    # -- settings and names --------------------------------------------------------------------------------------

    def _topology_settings(self, below: Mapping[str, Any]) -> dict[str, Any]:
        who = f'topology "{text_of(self.topology.name)}"'
        settings = self._settings(who, self.topology.settings, below, Scope.TOPOLOGY)
        given = cast("object", self.topology.workers)
        if not (isinstance(given, int) and given == 1):  # 1 is what is passed when nothing is said
            workers = {"topology.workers": self.topology.workers}
            settings = self._settings(f"{who}, workers=", workers, settings, Scope.TOPOLOGY)
        low, high = (settings[f"backpressure.disruptor.{which}.watermark"] for which in ("low", "high"))
        if low > high:
            facts = (("low", f"{low:g}"), ("high", f"{high:g}"))
            fix = "give backpressure.disruptor.low.watermark at most what the high one has"
            self.defects.append(Defect("watermarks_crossed", "the low watermark is above the high one", facts, fix))
        self.defects = [defect.at(self.topology.where) for defect in self.defects]
        return settings

    def _settings(self, who: str, given: object, below: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
        settings = dict(below)
        if not isinstance(given, Mapping):
            fix = "write a mapping: settings={'topology.retries': 5}"
            message = f"{who} has settings {repr_of(given)}, which are no mapping"
            self.defects.append(Defect("settings_invalid", message, (), fix))
            return settings
        try:
            items = [*cast("Mapping[Any, object]", given).items()]
        except Exception as error:
            message, facts = f"{who} has settings that cannot be read", (("because", because(error)),)
            self.defects.append(Defect("settings_invalid", message, facts, "write a plain dict"))
            return settings
        for key, value in items:
            try:
                settings[key] = checked(key, value, f"settings of {who}", scope)
            except ConfigError as error:
                self.defects.extend(error.defects)
        return settings

    def _names(self) -> None:
        if defect := checked_name("topology", self.topology.name):
            self.defects.append(defect.at(self.topology.where))
        for declaration in self.topology.declarations:
            name: Any = declaration.name
            who = name_of(declaration)
            if defect := checked_name(declaration.kind.value, name):
                self.defects.append(defect.at(declaration.where))
            if not isinstance(name, str):  # nothing can be found by it
                continue
            if name in self.declared:
                facts = (("first", self.declared[name].where), ("again", declaration.where))
                self.defects.append(Defect("name_twice", f"{who} has a name that is taken", facts, "choose another"))
            else:
                self.declared[name] = declaration

    @contextmanager
    def _looking_at(self, declaration: Declaration) -> Generator[None]:
        """Inside, an exception is a defect of the component: properties and mappings of the user's are code, too."""
        try:
            yield
        except Exception as error:
            self.streams.setdefault(declaration.name, None)
            message, facts = f"{name_of(declaration)} raised while it was checked", (("because", because(error)),)
            fix = "make what it declares plain values"
            self.defects.append(Defect("component_unreadable", message, facts, fix).at(declaration.where))

    # -- components ----------------------------------------------------------------------------------------------

    def _outputs(self, declaration: Declaration) -> None:
        who = name_of(declaration)
        found: list[Defect] = []
        component = made(declaration, found)
        if component is not None:
            self.made[declaration.name] = component
            look = component.look
            outputs = declaration.outputs if declaration.outputs is not None else getattr(look, "outputs", ())
            streams = declaration.streams if declaration.streams is not None else getattr(look, "streams", {})
            specs = streams_of(who, outputs, streams, found)
            found += [defect for name in specs if (defect := checked_name(f"{who}: stream", name))]
            self.streams[declaration.name] = specs
        if found:
            self.streams[declaration.name] = None
        self.defects.extend(defect.at(declaration.where) for defect in found)

    def _spec(self, declaration: Declaration, component: Made) -> ComponentSpec:
        name, who, look = declaration.name, name_of(declaration), component.look
        begun = len(self.defects)
        settings = self._settings(who, declaration.settings, self.settings, Scope.COMPONENT)
        parallelism, tasks = parallelism_of(declaration, settings, self.defects)
        check_attributes(declaration, look, self.defects)
        inputs, functions = (), []
        if declaration.kind is Kind.BOLT:
            inputs, functions = inputs_of(self.topology, declaration, component, self.streams, self.defects)
        else:
            check_spout(who, look, self.defects)
        spec = ComponentSpec(
            name=name,
            kind=declaration.kind,
            mode=mode_of(declaration, look, functions),
            make=component.make,
            function=component.function,
            streams=self.streams[name] or {},
            inputs=inputs,
            parallelism=parallelism,
            tasks=tasks,
            retry=retry_of(declaration, look, settings, self.defects),
            tick_every=tick_of(declaration, look, settings, self.defects),
            settings=settings,
            resources=declaration.resources,
            listens=_listens(look),
            is_replayable=replayable(declaration, look) is True,
            reads_stdin=getattr(look, "reads_stdin", False) is True,
            has_sockets=hasattr(look, "native_source"),
            prints=getattr(look, "prints", False) is True,
        )
        self.defects[begun:] = [defect.at(declaration.where) for defect in self.defects[begun:]]
        return spec

    # -- dead letters --------------------------------------------------------------------------------------------

    def _dead_letter_streams(self) -> None:
        asked = self.topology.dead_letter_streams
        named: dict[int, Any] = {id(one): one for components in asked.values() for one in components}
        for component in named.values():
            if not isinstance(component, Declarer):
                message = f"dead letters are asked for of {repr_of(component)}, which is no component"
                self.defects.append(Defect("stream_invalid", message, (), "give what `spout` or `bolt` returned"))
            elif component.topology is not self.topology:
                message = f'dead letters are asked for of "{component.name}" of topology "{component.topology.name}"'
                self.defects.append(Defect("stream_foreign", message, (), "name components of the same topology"))
        if asked:
            self.streams[DEAD_LETTERS] = {stream: StreamSpec(stream, DEAD_LETTER_FIELDS) for stream in asked}

    def _dead_letters(self) -> ComponentSpec:
        def names(components: tuple[Declarer, ...]) -> tuple[str, ...]:
            return tuple(component.name for component in components)

        wanted = {stream: names(components) for stream, components in self.topology.dead_letter_streams.items()}
        return ComponentSpec(
            name=DEAD_LETTERS,
            kind=Kind.SPOUT,
            mode=Mode.LOOP,
            make=lambda _context: wanted,
            function=None,
            streams=self.streams[DEAD_LETTERS] or {},
            inputs=(),
            parallelism=1,
            tasks=1,
            retry=Retry({Exception: "retry"}, 0),
            tick_every=None,
            settings=self.settings,
        )

    # -- the whole -----------------------------------------------------------------------------------------------

    def _reach(self) -> None:
        """There is a spout, and every bolt is fed by one; what has a defect of its own counts as fed."""
        if not any(declaration.kind is Kind.SPOUT for declaration in self.topology.declarations):
            fix = "declare one: topology.spout(name, component)"
            self.defects.append(Defect("no_spout", f'topology "{text_of(self.topology.name)}" has no spout', (), fix))
            return
        edges: list[tuple[str, str]] = []
        fed = {DEAD_LETTERS}
        for name, declaration in self.declared.items():
            sources = [source_of(self.topology, name, one, self.streams, []) for one in declaration.inputs]
            edges += [(source.id.component, name) for source in sources if source]
            if not all(sources) or not sources:
                fed.add(name)
        fed = reached(fed, edges)
        sources_of: dict[str, list[str]] = {}
        for source, target in edges:
            sources_of.setdefault(target, []).append(source)
        for name, declaration in self.declared.items():
            if name in fed:
                continue
            feeders = ", ".join(sources_of[name])
            message = f"{name_of(declaration)} can never get a tuple: no spout leads to it"
            fix = "group a stream of a spout, or of a bolt that a spout feeds"
            defect = Defect("bolt_unreachable", message, (("fed by", feeders),), fix)
            self.defects.append(defect.at(declaration.where))

    def _addresses(self) -> None:
        """Each address is listened on by one spout; a port that the system chooses is taken by nobody else."""
        first: dict[str, str] = {}
        for name, component in self.made.items():
            address = getattr(component.look, "address", None) if _listens(component.look) else None
            if not isinstance(address, str) or address.endswith(":0"):
                continue
            if address in first:
                message = f'spouts "{first[address]}" and "{name}" both listen on {address}'
                defect = Defect("address_twice", message, (), "give each an address of its own, or let one feed both")
                self.defects.append(defect.at(self.declared[name].where))
            first.setdefault(address, name)

    def _standard_input(self) -> None:
        """It is read by one spout."""
        readers = [
            name for name, component in self.made.items() if getattr(component.look, "reads_stdin", False) is True
        ]
        if len(readers) > 1:
            message = f"spouts {', '.join(map(repr, readers))} would all read standard input"
            defect = Defect("stdin_twice", message, (), "let one read it, and feed all that need it")
            self.defects.append(defect.at(self.declared[readers[1]].where))

    def _ordered(self, specs: dict[str, ComponentSpec]) -> Graph:
        edges = [(one.source.component, spec.name) for spec in specs.values() for one in spec.inputs]
        closing = closing_edges(list(specs), edges)
        for name, spec in specs.items():
            inputs = tuple(replace(one, closes_loop=(one.source.component, name) in closing) for one in spec.inputs)
            specs[name] = replace(spec, inputs=inputs)
        bolts = [name for name, spec in specs.items() if spec.kind is Kind.BOLT]
        order = topological(bolts, [edge for edge in edges if edge not in closing])
        return Graph(self.topology.name, specs, tuple(order), self.settings, self.settings["topology.workers"])
