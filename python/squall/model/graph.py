"""A topology as declared (`Graph`) and as it will run (`Plan`): frozen data, no behaviour.

`api` makes a `Declaration` while the user wires; `planner` checks it and returns a `Graph`, then numbers its tasks
into a `Plan`; `runtime` builds a worker from the plan. Nothing here holds an instance of user code, but what makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

DEFAULT_STREAM = "default"
DEAD_LETTERS = "__dead_letters"
"""The system spout that gives a topology its own dead letters, one stream for each set of components asked for."""
UNDECODED = "__record"
"""In a letter, in place of a stream: a record that its decoder refused."""
DEAD_LETTER_FIELDS = (
    "component",
    "source",
    "stream",
    "task",
    "fields",
    "values",
    "error",
    "traceback",
    "attempts",
    "roots",
    "at",
)


class Kind(Enum):
    """What a component is."""

    SPOUT = "spout"
    BOLT = "bolt"


class Mode(Enum):
    """Where a component's code runs."""

    LOOP = "loop"
    ASYNC = "async"
    BLOCKING = "blocking"


class GroupingKind(Enum):
    """How the tuples of a subscription are spread over the tasks; the values are the core's names."""

    SHUFFLE = "shuffle"
    LOCAL_OR_SHUFFLE = "local_or_shuffle"
    FIELDS = "fields"
    PARTIAL_KEY = "partial_key"
    ALL = "all"
    GLOBAL = "global"
    NONE = "none"
    DIRECT = "direct"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A declared output stream. `types` and `row` only serve checks."""

    name: str
    fields: tuple[str, ...]
    direct: bool = False
    types: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    row: type | None = None


@dataclass(frozen=True, slots=True)
class StreamId:
    """A stream of a component."""

    component: str
    stream: str

    def __str__(self) -> str:
        return f"{self.component}/{self.stream}"


ARG_TUPLE = "tuple"
ARG_CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Argument:
    """Where one positional argument of a bolt's method comes from.

    `source`: a field's number in the stream, `ARG_TUPLE`, `ARG_CONTEXT`, or None for the default value `constant`.
    """

    name: str
    source: int | str | None
    constant: object = None


@dataclass(frozen=True, slots=True)
class Binding:
    """The method that takes an input's tuples and how its arguments are filled; `method` None: the function itself."""

    method: str | None
    arguments: tuple[Argument, ...]
    batch: bool = False


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One subscription of a bolt. `keys` are numbers of the stream's fields."""

    source: StreamId
    grouping: GroupingKind
    binding: Binding
    keys: tuple[int, ...] = ()
    custom: Any = None
    closes_loop: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """What a failure of user code leads to; the most derived class of `on_error` wins."""

    on_error: Mapping[type[BaseException], str]
    retries: int


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """A component that passed the checks.

    `make(context)` gives a new instance for one task: a `Spout`, a `Bolt`, an iterator (spouts), or None for a bolt
    that is a function (`function`). `settings` are the topology's with the component's own on top.
    """

    name: str
    kind: Kind
    mode: Mode
    make: Callable[[Any], Any]
    function: Callable[..., Any] | None
    streams: Mapping[str, StreamSpec]
    inputs: tuple[InputSpec, ...]
    parallelism: int
    tasks: int
    retry: Retry
    tick_every: float | None
    settings: Mapping[str, Any]
    resources: Any = None
    listens: bool = False
    """Whether the spout listens on an address: the parent binds it and hands the socket to the worker."""
    is_replayable: bool = True
    """Whether an iterator gives the same when it is made again, so that a new life of its worker can go on where one
    ended."""
    reads_stdin: bool = False
    """Whether the spout reads standard input, which the parent passes on to the worker."""
    has_sockets: bool = False
    """Whether the spout reads sockets, which simulated time cannot have."""
    prints: bool = False
    """Whether the bolt writes to standard output, where nothing else may be shown then."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A topology that passed the checks. `order`: bolts in topological order, loops broken where `closes_loop` says."""

    name: str
    components: Mapping[str, ComponentSpec]
    order: tuple[str, ...]
    settings: Mapping[str, Any]
    workers: int = 1

    @property
    def spouts(self) -> tuple[ComponentSpec, ...]:
        """The spouts, in the order of their declaration."""
        return tuple(c for c in self.components.values() if c.kind is Kind.SPOUT)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task: its id in the topology, its place among the component's tasks, the executor and worker it runs in.

    Workers are numbered from 1.
    """

    task_id: int
    component: str
    index: int
    executor: int
    worker: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph whose tasks are numbered and placed."""

    graph: Graph
    tasks: tuple[TaskSpec, ...]

    def tasks_of(self, component: str) -> tuple[TaskSpec, ...]:
        """The tasks of one component, in ascending order of their ids."""
        return tuple(t for t in self.tasks if t.component == component)

    def tasks_in(self, worker: int) -> tuple[TaskSpec, ...]:
        """The tasks of one worker, in ascending order of their ids."""
        return tuple(t for t in self.tasks if t.worker == worker)

    @property
    def workers(self) -> tuple[int, ...]:
        """The numbers of the workers that have tasks, in ascending order."""
        return tuple(sorted({t.worker for t in self.tasks}))
