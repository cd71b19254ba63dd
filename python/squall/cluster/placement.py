"""Which worker runs which executors, and what that costs in tuples that cross between workers.

The heart is that every component is spread evenly: each worker gets the same number of its executors, give or take one.
That alone balances key ranges, keeps a local task for each `local_or_shuffle`, and puts tasks of equal number into the
same worker where two components have the same parallelism. What is left to decide are the executors that do not divide
evenly, single tasks above all. They go, in the order of the graph, where most of their input comes from, as long as no
worker gets more of them than its share; what that makes uneven is moved again where it costs least. Components of the
same parallelism that shuffle to each other stay together in this, up to a worker's share.

Dropped: Storm's round robin over slots, which is even and knows no edges (every chain of single tasks crosses at each
step); and a search for the best cut, since weights of edges are only guesses before a topology has run: each spout is
taken to give the same, and each bolt as much as it gets. Pure, and the same for the same graph.
Source: Storm 1.2.1 `scheduler/EvenScheduler.java`, for what was dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from squall.model.graph import DEAD_LETTERS, ComponentSpec, Graph, GroupingKind, InputSpec, Mode, Plan
from squall.planner.plan import plan

FIRST_WORKER = 1
WHOLE_INPUT = (GroupingKind.ALL,)
"""Groupings that give each task everything."""
SIDE_BY_SIDE = (GroupingKind.LOCAL_OR_SHUFFLE, GroupingKind.SHUFFLE, GroupingKind.NONE)
"""Groupings of which more tuples stay at home where tasks are in the same workers; the first one's all do."""
MOST_FLOW = 1e12
"""A bolt with two inputs from each of two bolts doubles it; a long row of such would leave the numbers."""
GUESSED = (GroupingKind.CUSTOM, GroupingKind.DIRECT)
"""Groupings whose targets the user's code chooses."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Workers are numbered from 1.

    `workers`: how many are used. `executors`: the worker of each executor, by component, never falling. `reasons`: why
    there, by component. `note`: why fewer workers are used than were asked for.
    """

    workers: int
    executors: Mapping[str, tuple[int, ...]]
    reasons: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Crossing:
    """An edge of the graph and the expected share of its tuples that go to another worker.

    `is_guess`: the user's code chooses the targets; they are taken to be chosen evenly.
    """

    source: str
    target: str
    input: InputSpec
    share: float
    is_guess: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """How many workers, and why."""

    workers: int
    reason: str


def place(graph: Graph, workers: int | None = None) -> Placement:
    """Gives each executor a worker.

    Args:
        workers: how many may be used; None: as many as the graph asks for.
    """
    asked = graph.workers if workers is None else workers
    executors = sum(spec.parallelism for spec in graph.components.values())
    used = min(asked, executors)
    note = f"there are {executors} executors, so {used} of {asked} workers are used" if used < asked else ""
    spread = _Spread(graph, used)
    for name in spread.order:
        spread.add(name)
    spread.even_out()
    executors_of, reasons = dict(spread.executors()), dict(spread.reasons())
    if DEAD_LETTERS in graph.components:
        executors_of[DEAD_LETTERS] = tuple(range(FIRST_WORKER, FIRST_WORKER + used))
        reasons[DEAD_LETTERS] = "one in each worker, as each has letters of its own"
    return Placement(used, executors_of, reasons, note)


def placed(graph: Graph, workers: int | None = None) -> Plan:
    """The plan of a graph over its workers."""
    return plan(graph, place(graph, workers).executors)


def crossings(graph: Graph, placement: Placement) -> list[Crossing]:
    """Each edge with the share of its tuples that crosses, in the order that tuples go."""
    tasks: dict[str, list[int]] = {name: [] for name in graph.components}
    for task in plan(graph, placement.executors).tasks:
        tasks[task.component].append(task.worker)
    return [
        Crossing(
            source=one.source.component,
            target=name,
            input=one,
            share=_share(tasks[one.source.component], tasks[name], one.grouping),
            is_guess=one.grouping in GUESSED and placement.workers > 1,
        )
        for name in graph.order
        for one in graph.components[name].inputs
    ]


def choose_workers(graph: Graph, cpus: int) -> Choice:
    """What `-w auto` takes: as many workers as can work at once, and no more than there are cores for.

    A second worker only brings something where a component has a second executor that needs a core. Between tasks that
    all are single it brings hops, which cost more than the work of a small bolt. What waits outside of the loop (async,
    blocking) overlaps within one worker already.
    """
    on_loop = [spec for spec in graph.components.values() if spec.mode is Mode.LOOP]
    widest = max(on_loop, key=lambda spec: spec.parallelism, default=None)
    if widest is None or widest.parallelism == 1:
        return Choice(1, "no component that runs on the loop has more than one executor")
    wide = f'"{widest.name}" has {widest.parallelism} executors'
    if cpus < widest.parallelism:
        cores = "1 core is" if cpus == 1 else f"{cpus} cores are"
        return Choice(max(cpus, 1), f"{wide}, and {cores} free for them")
    return Choice(widest.parallelism, f"{wide}, no other component on the loop has more")


# -- spreading ---------------------------------------------------------------------------------------------------


class _Spread:
    """The executors that are placed so far.

    `leader`: the component whose workers each component takes, itself for most. `extra`: workers that have one executor
    more than the others, by leader. `load`: how many that makes in all.
    """

    def __init__(self, graph: Graph, workers: int) -> None:
        self._graph = graph
        self._workers = range(FIRST_WORKER, FIRST_WORKER + workers)
        self.order = [*(spout.name for spout in graph.spouts), *graph.order]
        self._flow = _flow(graph, self.order)
        left = sum(spec.parallelism % workers for spec in graph.components.values())
        whole = sum(spec.parallelism // workers for spec in graph.components.values())
        self._fair = -(-left // workers)
        self._leader: dict[str, str] = {}
        self._size: Counter[str] = Counter()
        self._follow(most=self._fair if whole else max(left // workers, 1))  # so that each worker has something
        self._extra: dict[str, set[int]] = {}
        self._load: Counter[int] = Counter()

    def add(self, name: str) -> None:
        """Places what does not divide evenly of a component; those that feed it are placed."""
        if self._leader[name] != name:
            return
        extra = self._extra[name] = set[int]()
        left = self._spec(name).parallelism % len(self._workers)
        wanted = sorted(self._workers, key=lambda w: (-self._gain(name, w), self._load[w], w)) if left else []
        size = self._size[name]
        room = [worker for worker in wanted if self._load[worker] + size <= self._fair]
        rest = sorted((worker for worker in wanted if worker not in room), key=lambda w: self._load[w])
        for worker in [*room, *rest][:left]:
            extra.add(worker)
            self._load[worker] += size

    def even_out(self) -> None:
        """Moves executors, with those that follow them, as long as that makes the workers more alike."""
        while move := self._move():
            name, most, least = move
            self._extra[name] = (self._extra[name] - {most}) | {least}
            self._load[most] -= self._size[name]
            self._load[least] += self._size[name]

    def _move(self) -> tuple[str, int, int] | None:
        """The component whose extra executor is best moved, from where, and where to."""
        least = min(self._workers, key=lambda worker: (self._load[worker], worker))
        for most in sorted(self._workers, key=lambda worker: (-self._load[worker], worker)):
            more = self._load[most] - self._load[least]
            if more < 2:
                return None
            movable = [name for name, at in self._extra.items() if most in at and least not in at]
            movable = [name for name in movable if self._size[name] < more]
            if movable:
                return min(movable, key=lambda name: self._gain(name, most) - self._gain(name, least)), most, least
        return None

    def _follow(self, most: int) -> None:
        """Finds the components that are to be in the same workers as one of their inputs, so many together at most."""
        for name in self.order:
            leaders = [self._leader[source] for source in self._alike(name)]
            leader = next((one for one in leaders if self._size[one] < most), name)
            self._leader[name] = leader
            self._size[leader] += 1

    def _alike(self, name: str) -> list[str]:
        """The inputs of the same parallelism, the heaviest first, whose tasks and this one's are best side by side."""
        spec = self._spec(name)
        inputs = [one for one in spec.inputs if one.grouping in SIDE_BY_SIDE and one.source.component in self._leader]
        inputs.sort(key=lambda one: (SIDE_BY_SIDE.index(one.grouping) > 0, -self._flow[one.source.component]))
        names = [one.source.component for one in inputs if not one.closes_loop]
        return [source for source in names if 1 < spec.parallelism == self._spec(source).parallelism]

    def executors(self) -> dict[str, tuple[int, ...]]:
        """Contiguous ranges, in the order of the workers."""
        return {
            name: tuple(worker for worker in self._workers for _ in range(self._count(name, worker)))
            for name in self._graph.components
        }

    def reasons(self) -> dict[str, str]:
        """Why each component is where it is."""
        return {name: self._reason(name) for name in self._graph.components}

    def _reason(self, name: str) -> str:
        spec = self._spec(name)
        if len(self._workers) == 1:
            return "there is one worker"
        if (partner := self._partner(spec)) is not None:
            return f"beside {partner}"
        if spec.parallelism == 1:
            return "where there is room"
        return "evenly"

    def _partner(self, spec: ComponentSpec) -> str | None:
        """The heaviest input whose tasks are in the same workers, as far as this one has tasks there."""
        inputs = sorted(self._inputs(spec), key=lambda one: -self._flow[one.source.component])
        for one in inputs:
            source = one.source.component
            mine, theirs = ([self._count(name, worker) for worker in self._workers] for name in (spec.name, source))
            if mine == theirs or (spec.parallelism == 1 and theirs[mine.index(1)] == max(theirs) > min(theirs)):
                return source
        return None

    def _spec(self, name: str) -> ComponentSpec:
        return self._graph.components[name]

    def _count(self, name: str, worker: int) -> int:
        return self._spec(name).parallelism // len(self._workers) + (worker in self._extra[self._leader[name]])

    def _gain(self, name: str, worker: int) -> float:
        """The input that one more executor there would get from its own worker."""
        spec = self._spec(name)
        return sum(
            self._flow[one.source.component] * self._part(spec, one) * self._from(one.source.component, worker)
            for one in self._inputs(spec)
        )

    def _inputs(self, spec: ComponentSpec) -> list[InputSpec]:
        return [one for one in spec.inputs if not one.closes_loop and self._leader[one.source.component] in self._extra]

    def _part(self, spec: ComponentSpec, one: InputSpec) -> float:
        """The part of what its own worker emits that a task gets."""
        is_only_one = spec.parallelism < len(self._workers)
        if one.grouping in WHOLE_INPUT or (one.grouping is GroupingKind.LOCAL_OR_SHUFFLE and is_only_one):
            return 1.0
        return 1.0 / spec.parallelism

    def _from(self, source: str, worker: int) -> float:
        return self._count(source, worker) / self._spec(source).parallelism


def _flow(graph: Graph, order: Sequence[str]) -> dict[str, float]:
    """What each component gives, with one for each spout."""
    flow: dict[str, float] = {}
    for name in order:
        inputs = [one for one in graph.components[name].inputs if one.source.component in flow]
        flow[name] = min(sum(flow[one.source.component] for one in inputs), MOST_FLOW) if inputs else 1.0
    return flow


def _share(sources: Sequence[int], targets: Sequence[int], grouping: GroupingKind) -> float:
    """The share of tuples that leave their worker, from the workers of an edge's tasks."""
    if grouping is GroupingKind.GLOBAL:
        targets = targets[:1]
    there = Counter(targets)
    if grouping is GroupingKind.LOCAL_OR_SHUFFLE:
        stay = sum(worker in there for worker in sources)
    else:
        stay = sum(there[worker] / len(targets) for worker in sources)
    return 1.0 - stay / len(sources)
