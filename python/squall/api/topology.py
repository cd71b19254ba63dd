"""Wiring: `Topology`, its components' declarers and their streams.

Declaring never raises for a defect of the graph: everything is written down with the place in the user's file where it
was said, and `planner.validate` reports all defects at once.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias, cast

from squall.api.components import Bolt, OnError, Spout
from squall.api.fields import Fields, FieldsLike
from squall.errors import text_of
from squall.model.durations import Seconds
from squall.model.graph import DEAD_LETTERS, DEFAULT_STREAM, GroupingKind, Kind

Into: TypeAlias = Callable[..., object]
Renames: TypeAlias = Mapping[str, str]

OWN_FOLDER = str(Path(__file__).parent) + os.sep


class Grouping(Protocol):
    """A grouping of the user's own."""

    def prepare(self, context: Any, stream: str, tasks: Sequence[int], /) -> None:
        """Called once for each emitting task with the ids of the subscriber's tasks, ascending."""
        ...

    def choose(self, source_task: int, values: tuple[Any, ...], /) -> Sequence[int]:
        """The ids of the tasks that receive this row; may be none or several."""
        ...


class Resources:
    """What one executor of a component needs, for schedulers that count."""

    def __init__(self, *, cpu_cores: float | None = None, memory_mb: float | None = None, **generic: float) -> None:
        self.cpu_cores = cpu_cores
        self.memory_mb = memory_mb
        self.generic = generic


@dataclass(frozen=True, slots=True)
class Subscription:
    """One input as it was wired."""

    source: Stream
    kind: GroupingKind
    keys: tuple[str, ...]
    custom: Grouping | None
    into: Into | None
    rename: Renames
    where: str


@dataclass(slots=True)
class Declaration:
    """A component as it was declared, unchecked."""

    name: str
    kind: Kind
    component: Any
    outputs: FieldsLike | Fields | None
    streams: Mapping[str, FieldsLike | Fields] | None
    parallelism: int
    tasks: int | None
    blocking: bool | None
    on_error: OnError | None
    retries: int | None
    tick_every: Seconds | None
    resources: Resources | None
    settings: Mapping[str, object]
    where: str
    inputs: list[Subscription] = field(default_factory=list[Subscription])


def _here() -> str:
    """The nearest caller outside of this package, as `file:line`."""
    frame = inspect.currentframe()
    assert frame is not None
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OWN_FOLDER):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _plain(name: Any) -> Any:
    """A name without the methods of a class derived from `str`, such as an enumeration's; other types wait as well."""
    return text_of(name) if isinstance(name, str) else name


def _kept(given: Any) -> Any:
    """A copy of a mapping, so that what the user does to it later changes nothing; all else waits for the checks."""
    if given is None:
        return {}
    try:
        return dict(cast("Mapping[Any, Any]", given)) if isinstance(given, Mapping) else given
    except Exception:  # a mapping of somebody's own that cannot be read; that is told by the checks, too
        return cast("object", given)


class Stream:
    """A stream that bolts can subscribe to."""

    def __init__(self, topology: Topology, component: str, stream: str) -> None:
        self._topology = topology
        self._component = component
        self._stream = stream

    def __repr__(self) -> str:
        return f"<stream {self._component}/{self._stream}>"

    @property
    def topology(self) -> Topology:
        """The topology that it belongs to."""
        return self._topology

    @property
    def component(self) -> str:
        """Name of the component that emits it."""
        return self._component

    @property
    def stream(self) -> str:
        """Its own name."""
        return self._stream


class Declarer(Stream):
    """A declared component; stands for its default stream, and `[name]` for its others."""

    def __init__(self, topology: Topology, declaration: Declaration) -> None:
        super().__init__(topology, declaration.name, DEFAULT_STREAM)
        self._declaration = declaration

    @property
    def name(self) -> str:
        """Name of the component."""
        return self._declaration.name

    def __getitem__(self, stream: str) -> Stream:
        return Stream(self._topology, self._declaration.name, _plain(stream))


class SpoutDeclarer(Declarer):
    """A declared spout."""


class BoltDeclarer(Declarer):
    """A declared bolt; each grouping method adds an input and returns the bolt."""

    def _add(
        self,
        stream: Stream,
        kind: GroupingKind,
        into: Into | None,
        rename: Renames | None,
        keys: tuple[str, ...] = (),
        custom: Grouping | None = None,
    ) -> Self:
        where = _here()
        self._declaration.inputs.append(Subscription(stream, kind, keys, custom, into, _kept(rename), where))
        return self

    def shuffle(self, stream: Stream, /, *, into: Into | None = None, rename: Renames | None = None) -> Self:
        """Spreads the tuples evenly over the tasks, away from busy ones."""
        return self._add(stream, GroupingKind.SHUFFLE, into, rename)

    def local_or_shuffle(self, stream: Stream, /, *, into: Into | None = None, rename: Renames | None = None) -> Self:
        """As `shuffle`, but only over tasks in the emitter's own worker, if there are any."""
        return self._add(stream, GroupingKind.LOCAL_OR_SHUFFLE, into, rename)

    def fields(self, stream: Stream, /, *keys: str, into: Into | None = None, rename: Renames | None = None) -> Self:
        """Sends tuples with equal values in the fields `keys` to the same task."""
        return self._add(stream, GroupingKind.FIELDS, into, rename, keys)

    def partial_key(
        self, stream: Stream, /, *keys: str, into: Into | None = None, rename: Renames | None = None
    ) -> Self:
        """As `fields`, but each key has two tasks, and the one that was sent less gets the tuple."""
        return self._add(stream, GroupingKind.PARTIAL_KEY, into, rename, keys)

    def all(self, stream: Stream, /, *, into: Into | None = None, rename: Renames | None = None) -> Self:
        """Sends each tuple to every task."""
        return self._add(stream, GroupingKind.ALL, into, rename)

    def global_(self, stream: Stream, /, *, into: Into | None = None, rename: Renames | None = None) -> Self:
        """Sends all tuples to the task with the lowest id."""
        return self._add(stream, GroupingKind.GLOBAL, into, rename)

    def none(self, stream: Stream, /, *, into: Into | None = None, rename: Renames | None = None) -> Self:
        """Says that it does not matter; tuples go to tasks at random."""
        return self._add(stream, GroupingKind.NONE, into, rename)

    def direct(self, stream: Stream, /, *, into: Into | None = None, rename: Renames | None = None) -> Self:
        """Takes what the emitter sends to this bolt's tasks by their ids; the stream is declared direct."""
        return self._add(stream, GroupingKind.DIRECT, into, rename)

    def custom(
        self, stream: Stream, grouping: Grouping, /, *, into: Into | None = None, rename: Renames | None = None
    ) -> Self:
        """Asks `grouping` for each tuple."""
        return self._add(stream, GroupingKind.CUSTOM, into, rename, custom=grouping)


class Topology:
    """A graph of spouts and bolts.

    Args:
        name: 1–100 characters (at most 200 bytes), no white space, none of `/ . : \\`, not beginning with `__`.
        workers: processes that the tasks are spread over.
        settings: `topology.*` settings, by key.
    """

    def __init__(self, name: str, *, workers: int = 1, settings: Mapping[str, object] | None = None) -> None:
        self.name = _plain(name)
        self.workers = workers
        self.settings: Mapping[str, object] = _kept(settings)
        self.declarations: list[Declaration] = []
        self.dead_letter_streams: dict[str, tuple[Declarer, ...]] = {}
        self.where = _here()

    def __repr__(self) -> str:
        return f"<Topology {self.name!r}: {', '.join(d.name for d in self.declarations)}>"

    def spout(
        self,
        name: str,
        component: Spout | Callable[..., object],
        /,
        *,
        outputs: FieldsLike | Fields | None = None,
        streams: Mapping[str, FieldsLike | Fields] | None = None,
        parallelism: int = 1,
        tasks: int | None = None,
        blocking: bool | None = None,
        on_error: OnError | None = None,
        retries: int | None = None,
        tick_every: Seconds | None = None,
        resources: Resources | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> SpoutDeclarer:
        """Declares a spout: an instance, a class, or a callable that returns a `Spout` or an iterator."""
        return SpoutDeclarer(
            self,
            self._declare(
                Declaration(
                    name, Kind.SPOUT, component, outputs, streams, parallelism, tasks, blocking, on_error, retries,
                    tick_every, resources, _kept(settings), _here(),
                )
            ),
        )  # fmt: skip

    def bolt(
        self,
        name: str,
        component: Bolt | Callable[..., object],
        /,
        *,
        outputs: FieldsLike | Fields | None = None,
        streams: Mapping[str, FieldsLike | Fields] | None = None,
        parallelism: int = 1,
        tasks: int | None = None,
        blocking: bool | None = None,
        on_error: OnError | None = None,
        retries: int | None = None,
        tick_every: Seconds | None = None,
        resources: Resources | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> BoltDeclarer:
        """Declares a bolt: an instance, a class, a factory without parameters, or a function with some."""
        return BoltDeclarer(
            self,
            self._declare(
                Declaration(
                    name, Kind.BOLT, component, outputs, streams, parallelism, tasks, blocking, on_error, retries,
                    tick_every, resources, _kept(settings), _here(),
                )
            ),
        )  # fmt: skip

    def dead_letters(self, *components: Declarer) -> Stream:
        """The dead letters of these components (of all, when none is named), as a stream."""
        given = cast("tuple[object, ...]", components)
        names = sorted({text_of(one.name if isinstance(one, Declarer) else one) for one in given})
        stream = (
            ":".join(["of", *names]) if names else DEFAULT_STREAM
        )  # no name has a colon, so it is clear what it is of
        self.dead_letter_streams[stream] = components
        return Stream(self, DEAD_LETTERS, stream)

    def _declare(self, declaration: Declaration) -> Declaration:
        declaration.name = _plain(declaration.name)
        self.declarations.append(declaration)
        return declaration
