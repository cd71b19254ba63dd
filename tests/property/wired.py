"""A graph, declared as a topology; and its spouts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bolts import BY_KIND, function_of
from random_graphs import Part, chosen
from records import REST_MS, ROW, STREAMS, Mapped, row_of
from squall import Emit, Spout, Topology, TopologyContext

if TYPE_CHECKING:
    from driven import World


class Replaying(Spout):
    """Keeps its own rows and emits again what failed; what has no id is not tracked."""

    outputs = ROW
    streams = STREAMS
    idle_wait = REST_MS / 1000

    def __init__(self, world: World, part: Part) -> None:
        self.world, self.part = world, part

    def open(self, context: TopologyContext) -> None:
        self.todo = self.world.todo[self.part.name, context.task_index]
        self.index = context.task_index

    def next_tuple(self) -> None:
        if self.todo:
            fed = self.todo.popleft()
            self.world.untracked[self.part.name] += not fed.tracked
            self.emit(*row_of(fed), stream=fed.stream, id=fed.root if fed.tracked else None)

    def ack(self, message_id: str) -> None:
        self.world.told.append(("ack", message_id))

    def fail(self, message_id: str) -> None:
        self.world.told.append(("fail", message_id))
        self.todo.append(self.world.fed[message_id])
        tasks = self.world.cluster._built.of(self.part.name)
        self.world.cluster.worker.wake_spout(tasks[self.index].index)

    def dead(self, message_id: str) -> None:
        self.world.told.append(("dead", message_id))


def generator_of(world: World, part: Part) -> Any:
    """A spout that is a generator."""

    def generate(context: TopologyContext) -> Iterator[Emit | None]:
        todo = world.todo[part.name, context.task_index]
        while True:
            if todo:
                fed = todo.popleft()
                yield Emit(*row_of(fed), stream=fed.stream, id=fed.root)
            else:
                yield None

    return generate


class Chosen:
    """The custom grouping."""

    def prepare(self, context: TopologyContext, stream: str, tasks: Sequence[int]) -> None:
        self.tasks = tasks

    def choose(self, source_task: int, values: tuple[Any, ...]) -> list[int]:
        return [self.tasks[number] for number in chosen(values[0], len(self.tasks))]


def factory(kind: Any, world: World, part: Part) -> Any:
    """Makes instances."""
    return lambda: kind(world, part)


def spout_of(world: World, part: Part) -> Any:
    """What a spout is declared with; what is mocked needs nothing."""
    if part.kind == "generator":
        return generator_of(world, part)
    return factory(Replaying, world, part) if part.kind == "replaying" else lambda: iter(())


def topology_of(world: World) -> Topology:
    """The graph, declared."""
    topology, streams = Topology("t"), {}
    for part in world.graph.spouts:
        make = spout_of(world, part)
        settings: dict[str, object] = {
            "topology.max.spout.pending": part.pending,
            "topology.sleep.spout.wait.strategy.time.ms": REST_MS,
        }
        if part.pending is None:
            del settings["topology.max.spout.pending"]
        streams[part.name] = topology.spout(
            part.name, make, outputs=ROW, streams=STREAMS, parallelism=part.tasks, settings=settings
        )
    bolts: dict[str, Any] = {}
    for part in world.graph.bolts:
        make = function_of(world, part) if part.kind == "function" else factory(BY_KIND[part.kind], world, part)
        on_error: Any = {Mapped: "drop"} if part.on_error == "mapped" else part.on_error
        bolts[part.name] = streams[part.name] = topology.bolt(
            part.name, make, outputs=ROW, streams=STREAMS, parallelism=part.tasks, retries=part.retries,
            on_error=on_error, blocking=True if part.kind == "blocking" else None,
        )  # fmt: skip
    for part in world.graph.bolts:
        for edge in part.edges:
            wire(bolts[part.name], streams[edge.source], edge)
    return topology


def wire(bolt: Any, source: Any, edge: Any) -> None:
    """Adds one input."""
    stream = source if edge.stream == "default" else source[edge.stream]
    if edge.grouping in ("fields", "partial_key"):
        getattr(bolt, edge.grouping)(stream, "key")
    elif edge.grouping == "custom":
        bolt.custom(stream, Chosen())
    else:
        getattr(bolt, "global_" if edge.grouping == "global" else edge.grouping)(stream)
