"""A graph as a real topology in `LocalCluster`, driven step by step; all that user code sees and does is written down."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from random_graphs import KEYS, TIME_OUT_S, Graph, Output, Part, chosen, mixed, outputs
from squall import Batch, Bolt, DeadLetter, DropTuple, Emit, Fields, RetryTuple, Spout, Topology, TopologyContext, Tuple
from squall.testing import LocalCluster

ROW = ("key", "roots", "path", "n")
"""The fields of each row: the key, the fed rows that it comes of, how it came to be, its own number."""
STREAMS = {"side": ROW, "back": ROW, "to": Fields(ROW, direct=True)}
REST_MS = 60_000
"""Pause of a spout that has nothing; a feed wakes it."""
TROUBLES = ("error", "late", "arity", "dead", "drop", "again", "after", "mapped")
"""What can go wrong in a call: an exception before or after its outputs, a row that does not fit, what exceptions say."""
AFTER_S = 1.7


class Mapped(ValueError):
    """An exception with an answer of its own in `on_error` "mapped"."""


@dataclass
class Fed:
    """A row that a spout was given."""

    root: str
    spout: str
    task: int
    stream: str
    key: int
    n: int
    tracked: bool


@dataclass
class Sent:
    """A row that user code of a bolt gave."""

    component: str
    task: int
    stream: str
    key: int
    path: str
    roots: tuple[str, ...]
    call: int
    to: int | None


@dataclass
class Seen:
    """One input as its bolt saw it. `rids`: the trees that it hangs on, where the bolt looked."""

    number: int
    component: str
    task: int
    key: int
    roots: tuple[str, ...]
    path: str
    n: int
    at: float
    rids: tuple[int, ...] | None
    end: str = "running"
    """"running", "held", "ok", "dropped" or "failed"."""
    late: bool = False
    """Its outputs may be lost: it ended after its time."""


@dataclass
class Failure:
    """A reason for trees to fail."""

    component: str
    roots: tuple[str, ...]
    at: float
    action: str
    counts: bool = True
    after_s: float | None = None
    together: bool = False


@dataclass
class Order:
    """A trouble that is to come: at a component, for its next `left` inputs with this key, or with any."""

    component: str
    kind: str
    key: int | None
    left: int

    def takes(self, component: str, key: int) -> bool:
        """Whether this input is meant; counts it."""
        if component != self.component or self.left <= 0 or self.key not in (None, key):
            return False
        self.left -= 1
        return True


def error_of(kind: str) -> Exception:
    """The exception of a trouble."""
    return {
        "dead": lambda: DeadLetter("poison"),
        "drop": lambda: DropTuple("no use"),
        "again": lambda: RetryTuple("not mine", counts=False),
        "after": lambda: RetryTuple("later", after=AFTER_S),
        "mapped": lambda: Mapped("mapped"),
    }.get(kind, lambda: LookupError(kind))()


def consequence(part: Part, kind: str) -> tuple[str, bool, float | None]:
    """What must come of a trouble: (action, whether it counts, its own pause)."""
    if kind in ("dead", "drop"):
        return kind, True, None
    if kind in ("again", "after"):
        return "retry", kind == "after", AFTER_S if kind == "after" else None
    if part.on_error == "mapped":
        return ("drop" if kind == "mapped" else "retry"), True, None
    return part.on_error, True, None


class World:
    """One run of a graph. `apply` carries out a step; the laws look at what stands here."""

    def __init__(self, graph: Graph, seed: int) -> None:
        self.graph = graph
        self.fed: dict[str, Fed] = {}
        self.fed_by_n: dict[int, Fed] = {}
        self.sent: dict[int, Sent] = {}
        self.seen: list[Seen] = []
        self.failures: list[Failure] = []
        self.orders: list[Order] = []
        self.holding: list[tuple[Any, Tuple, Seen]] = []
        self.gates: list[asyncio.Event] = []
        self.acks: dict[str, int] = defaultdict(int)
        self.told: list[tuple[str, str]] = []
        self.untracked: dict[str, int] = defaultdict(int)
        self.calm = False
        self.draining = False
        self.todo: dict[tuple[str, int], deque[Fed]] = defaultdict(deque)
        self.ids: dict[str, list[int]] = {}
        mocked: dict[str, list[object]] = {s.name: [] for s in graph.spouts if s.kind in ("fed", "anonymous")}
        settings = {
            "topology.message.timeout.secs": TIME_OUT_S,
            "topology.executor.receive.buffer.size": graph.inbox,
            "topology.disable.loadaware.messaging": True,
        }
        self.cluster = LocalCluster(topology_of(self), mock_sources=mocked, seed=seed, settings=settings)
        self.ids = {part.name: [task.task.task_id for task in self.cluster._built.of(part.name)] for part in graph.bolts}
        self.cluster.open()

    @property
    def now(self) -> float:
        """Virtual time."""
        return self.cluster.worker.monotonic()

    # -- steps ---------------------------------------------------------------------------------------------------

    def apply(self, step: tuple[Any, ...]) -> None:
        """Carries out one step: the name of a method and its arguments, all plain data."""
        getattr(self, step[0])(*step[1:])

    def feed(self, which: int, keys: Sequence[int], side: bool) -> None:
        """Gives rows to a spout."""
        part = self.graph.spouts[which % len(self.graph.spouts)]
        stream = "side" if side and len(part.fan) > 1 else "default"
        for key in keys:
            count = sum(fed.spout == part.name for fed in self.fed.values())
            tracked = part.kind != "replaying" or key != 5  # without an id it is not tracked (semantics 8)
            fed = Fed(f"{part.name}#{count}", part.name, count % part.tasks, stream, key, -len(self.fed) - 1, tracked)
            self.fed[fed.root] = self.fed_by_n[fed.n] = fed
            if part.kind in ("fed", "anonymous"):
                ids = [None if part.kind == "anonymous" else fed.root]
                self.cluster.feed(part.name, [row_of(fed)], stream=stream, ids=ids)
            else:
                self.todo[part.name, fed.task].append(fed)
        for task in self.cluster._built.of(part.name):
            self.cluster.worker.wake_spout(task.index)
        self.cluster.run_until_idle()

    def idle(self) -> None:
        """Runs what can run."""
        self.cluster.run_until_idle()

    def advance(self, by_s: float) -> None:
        """Moves time."""
        self.cluster.advance(by_s)

    def trouble(self, which: int, kind: str, key: int | None, times: int) -> None:
        """Has user code of a bolt fail."""
        self.orders.append(Order(self.graph.bolts[which % len(self.graph.bolts)].name, kind, key, times))

    def inject(self, which: int, kind: str, key: int | None, times: int) -> None:
        """Has the cluster fail inputs of a bolt before it sees them; not of batches, whose other rows nobody sees."""
        part = self.graph.bolts[which % len(self.graph.bolts)]
        if part.kind in ("batch", "shared"):
            return
        order = Order(part.name, kind, key, times)
        index = 0 if part.tasks == 1 and part.kind not in ("async", "ordered") else -1
        # An interceptor is not told whose input it sees, and those of calls that wait to begin it sees early.

        def when(tup: Tuple) -> bool:
            if self.calm or not order.takes(part.name, tup["key"]):
                return False
            self.fails(self.begin(part, index, *tup.values, rids=tup.roots), kind)
            return True

        self.cluster.inject(part.name, error_of(kind), times=times, when=when)

    def release(self, which: int, how: str) -> None:
        """Has a bolt ack or fail a tuple that it holds, or hold it for longer."""
        if self.holding:
            bolt, tup, seen = self.holding.pop(which % len(self.holding))
            bolt.let_go(tup, seen, how)
            self.cluster.run_until_idle()

    def finish(self, which: int) -> None:
        """Lets an async call go on."""
        if self.gates:
            self.gates.pop(which % len(self.gates)).set()
            self.cluster.run_until_idle()

    def settle_down(self) -> None:
        """From now on nothing fails and nothing is held; what is pending ends."""
        self.calm = True
        self.orders.clear()
        for _ in range(100):
            while self.holding or self.gates:
                while self.gates:
                    self.gates.pop().set()
                while self.holding:
                    bolt, tup, seen = self.holding.pop()
                    bolt.let_go(tup, seen, "ack")
                self.cluster.run_until_idle()
            if not self.busy():
                return
            self.cluster.advance(1.0)

    def busy(self) -> bool:
        """Whether anything is on its way."""
        figures = self.cluster.metrics().values()
        waiting = any(self.todo.values()) or any(t.waiting for m in self.cluster._mocked.values() for t in m.tasks)
        return waiting or any(row["pending"] or row["retrying"] or row["queue"] or row["in_flight"] for row in figures)

    def drain(self) -> None:
        """Ends the run."""
        self.draining = True
        self.cluster.drain()

    # -- what user code writes down --------------------------------------------------------------------------------

    def begin(
        self, part: Part, task: int, key: int, roots: tuple[str, ...], path: str, n: int, rids: tuple[int, ...] | None = None
    ) -> Seen:
        """A bolt has been given a row."""
        seen = Seen(len(self.seen), part.name, task, key, roots, path, n, self.now, rids)
        self.seen.append(seen)
        return seen

    def trouble_for(self, part: Part, key: int) -> str | None:
        """What is to go wrong now."""
        return next((order.kind for order in self.orders if not self.calm and order.takes(part.name, key)), None)

    def fails(self, seen: Seen, kind: str, *, together: bool = False, at: float | None = None) -> None:
        """An input fails."""
        action, counts, after_s = consequence(self.graph.part(seen.component), kind)
        seen.end = "dropped" if action == "drop" else "failed"
        if action != "drop":
            when = self.now if at is None else at
            self.failures.append(Failure(seen.component, seen.roots, when, action, counts, after_s, together))

    def row(self, part: Part, task: int, seen: Seen, output: Any, roots: tuple[str, ...] | None = None) -> Emit:
        """One output, written down."""
        roots = seen.roots if roots is None else roots
        to, options = None, {}
        if output.stream == "to":
            ((bolt, _),) = self.graph.edges_from(part.name, "to") or [(None, None)]
            if bolt is not None:
                to = output.key % bolt.tasks
                options["task"] = self.ids[bolt.name][to]
        if output.stream == "back":
            roots, options["anchors"] = (), ()
        n = len(self.sent) + 1
        self.sent[n] = Sent(part.name, task, output.stream, output.key, output.path, roots, seen.number, to)
        return Emit(output.key, roots, output.path, n, stream=output.stream, **options)

    def rows(self, part: Part, task: int, seen: Seen) -> list[Emit]:
        """All outputs of an input."""
        found = outputs(part, seen.key, seen.path)
        known = [o for o in found if o.stream != "to" or self.graph.edges_from(part.name, "to")]
        return [self.row(part, task, seen, output) for output in known]

    def times_out(self) -> None:
        """Writes down the failures of what was held for too long."""
        for seen in self.seen:
            part = self.graph.part(seen.component)
            if seen.end in ("held", "running") and seen.at + part.hold_s <= self.now + 1e-6:
                self.fails(seen, "error", at=seen.at + part.hold_s)
                self.holding = [held for held in self.holding if held[2] is not seen]


def row_of(fed: Fed) -> tuple[Any, ...]:
    """What a spout emits for what it was fed."""
    return fed.key, (fed.root,) if fed.tracked else (), fed.root, fed.n


# -- components --------------------------------------------------------------------------------------------------------


class Work(Bolt):
    """What the bolts here have in common."""

    outputs = ROW
    streams = STREAMS

    def __init__(self, world: World, part: Part) -> None:
        self.world, self.part = world, part

    def open(self, context: TopologyContext) -> None:
        self.index = context.task_index

    def begin(self, tup: Tuple) -> Seen:
        return self.world.begin(self.part, self.index, *tup.values, rids=tup.roots)

    def rows(self, seen: Seen) -> list[Emit]:
        return self.world.rows(self.part, self.index, seen)

    def work(self, seen: Seen) -> Any:
        """The outputs of an input, unless something is to go wrong."""
        kind = self.world.trouble_for(self.part, seen.key)
        if self.part.pauses and seen.key == 4 and not self.world.calm:
            self.context.pause(0.5)
        if kind == "arity":
            self.world.fails(seen, kind)
            return (1, 2)
        if kind is not None:
            self.world.fails(seen, kind)
            raise error_of(kind)
        rows = self.rows(seen)
        seen.end = "ok"
        return rows[0] if len(rows) == 1 else rows or None


class Bare(Work):
    """Takes fields and returns; the core's quickest way."""

    def process(self, key: int, roots: Any, path: str, n: int) -> Any:
        return self.work(self.world.begin(self.part, self.index, key, roots, path, n))


class Plain(Work):
    """Emits by `self.emit`, so that a late trouble leaves outputs behind."""

    def process(self, tup: Tuple) -> None:
        seen = self.begin(tup)
        kind = self.world.trouble_for(self.part, seen.key)
        if self.part.pauses and seen.key == 4 and not self.world.calm:
            self.context.pause(0.5)
        if kind not in (None, "late"):
            self.world.fails(seen, kind)
            if kind == "arity":
                self.emit(1)
            raise error_of(kind)
        for one in self.rows(seen):
            self.emit(*one.values, stream=one.stream, task=one.task, anchors=one.anchors)
        if kind:
            self.world.fails(seen, kind)
            raise error_of(kind)
        seen.end = "ok"


class Generating(Work):
    """Returns a generator, which fails after its first output if it is late."""

    def process(self, tup: Tuple) -> Iterator[Emit]:
        return self.outputs_of(self.begin(tup))

    def outputs_of(self, seen: Seen) -> Iterator[Emit]:
        kind = self.world.trouble_for(self.part, seen.key)
        if kind not in (None, "late", "arity"):
            self.world.fails(seen, kind)
            raise error_of(kind)
        for output in outputs(self.part, seen.key, seen.path):
            if output.stream != "to" or self.world.graph.edges_from(self.part.name, "to"):
                yield self.world.row(self.part, self.index, seen, output)
            if kind:
                break
        if kind:
            self.world.fails(seen, kind)
            raise error_of(kind)
        seen.end = "ok"


class Batches(Work):
    """Takes batches; a trouble is an entry for its row, or, if late, the end of the whole batch."""

    def __init__(self, world: World, part: Part) -> None:
        super().__init__(world, part)
        self.batch_max = part.width  # pyright: ignore[reportAttributeAccessIssue]

    def process_batch(self, key: list[int], roots: list[Any], path: list[str], n: list[int]) -> list[Any]:
        batch = [self.world.begin(self.part, self.index, *row) for row in zip(key, roots, path, n, strict=True)]
        return self.answer(batch)

    def answer(self, batch: list[Seen]) -> list[Any]:
        kinds = [self.world.trouble_for(self.part, seen.key) for seen in batch]
        if whole := next((kind for kind in kinds if kind in ("late", "again", "drop")), None):
            for seen in batch:
                self.world.fails(seen, whole, together=len(batch) > 1)
            raise error_of(whole)
        return [self.entry(seen, kind) for seen, kind in zip(batch, kinds, strict=True)]

    def entry(self, seen: Seen, kind: str | None) -> Any:
        if kind is None:
            seen.end = "ok"
            return self.rows(seen)
        self.world.fails(seen, kind)
        return (1, 2) if kind == "arity" else error_of(kind)


class Shared(Batches):
    """Emits one row for a whole batch besides, which hangs on all of its roots."""

    def process_batch(self, tuples: list[Tuple]) -> list[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        batch = [self.begin(tup) for tup in tuples]
        roots = tuple(dict.fromkeys(root for seen in batch for root in seen.roots))
        first = batch[0]
        output = Output("side", first.key, mixed("shared", max((seen.path for seen in batch), key=len)))
        one = self.world.row(self.part, self.index, first, output, roots)
        self.emit(*one.values, stream="side")
        return self.answer(batch)


class Holding(Work):
    """Acks by hand: holds rows with odd keys until the test lets them go."""

    manual_ack = True

    def __init__(self, world: World, part: Part) -> None:
        super().__init__(world, part)
        if part.hold_max:
            self.hold_max = part.hold_s  # pyright: ignore[reportAttributeAccessIssue]

    def process(self, tup: Tuple) -> None:
        seen = self.begin(tup)
        kind = self.world.trouble_for(self.part, seen.key)
        if kind:
            self.world.fails(seen, kind)
            raise error_of(kind)
        seen.end = "held"
        if seen.key % 2 and not self.world.calm:
            self.world.holding.append((self, tup, seen))
        else:
            self.let_go(tup, seen, "ack")

    def let_go(self, tup: Tuple, seen: Seen, how: str) -> None:
        if how == "reset":
            self.reset_timeout(tup)
            seen.at = self.world.now
            self.world.holding.append((self, tup, seen))
        elif how == "fail":
            self.world.fails(seen, "error")
            self.fail(tup, error=LookupError("refused"))
        else:
            for one in self.rows(seen):
                anchors = [tup] if one.anchors is None else ()
                self.emit(*one.values, stream=one.stream, task=one.task, anchors=anchors)
            seen.end = "ok"
            self.ack(tup)


class Joining(Holding):
    """Pairs each row with the next one of another stream; what it gives hangs on both."""

    def open(self, context: TopologyContext) -> None:
        super().open(context)
        self.first: tuple[Tuple, Seen] | None = None

    def process(self, tup: Tuple) -> None:
        seen = self.begin(tup)
        kind = self.world.trouble_for(self.part, seen.key)
        if kind:
            self.world.fails(seen, kind)
            raise error_of(kind)
        seen.end = "held"
        if self.first and (self.first[1].end != "held" or self.first[1].at + self.part.hold_s <= self.world.now):
            self.first = None
        if self.world.calm or self.first is None or self.is_alike(self.first[0], tup):
            self.let_go(tup, seen, "ack") if self.world.calm else self.keep(tup, seen)
            return
        (other, earlier), self.first = self.first, None
        self.world.holding = [held for held in self.world.holding if held[2] is not earlier]
        roots = tuple(dict.fromkeys((*earlier.roots, *seen.roots)))
        for one in self.joined(seen, roots):
            self.emit(*one.values, stream=one.stream, task=one.task, anchors=[other, tup])
        seen.end = earlier.end = "ok"
        self.ack(other, tup)

    def is_alike(self, one: Tuple, other: Tuple) -> bool:
        return (one.source, one.stream) == (other.source, other.stream)

    def keep(self, tup: Tuple, seen: Seen) -> None:
        if self.first is None:
            self.first = tup, seen
        self.world.holding.append((self, tup, seen))

    def joined(self, seen: Seen, roots: tuple[str, ...]) -> list[Emit]:
        path = mixed("joined", seen.path)
        found = [Output(o.stream, o.key, path) for o in outputs(self.part, seen.key, seen.path) if o.stream != "to"]
        return [self.world.row(self.part, self.index, seen, output, roots) for output in found]

    def let_go(self, tup: Tuple, seen: Seen, how: str) -> None:
        if how == "ack":
            seen.end = "ok"
            self.ack(tup)
        else:
            super().let_go(tup, seen, how)


class Async(Work):
    """Sleeps for as long as its key says, or until the test lets it go on."""

    def __init__(self, world: World, part: Part) -> None:
        super().__init__(world, part)
        self.max_in_flight = part.width  # pyright: ignore[reportAttributeAccessIssue]
        self.ordered = part.kind == "ordered"  # pyright: ignore[reportAttributeAccessIssue]

    async def process(self, tup: Tuple) -> Any:
        seen = self.begin(tup)
        if seen.key == 1 and self.part.kind != "ordered" and not self.world.calm:
            gate = asyncio.Event()
            self.world.gates.append(gate)
            await gate.wait()
        elif seen.key % 3 and not self.world.calm:
            await asyncio.sleep(seen.key / 4)
        return self.work(seen)


BY_KIND: dict[str, type[Work]] = {
    "bare": Bare,
    "plain": Plain,
    "generator": Generating,
    "batch": Batches,
    "shared": Shared,
    "hold": Holding,
    "join": Joining,
    "async": Async,
    "ordered": Async,
    "blocking": Plain,
}


def function_of(world: World, part: Part) -> Any:
    """A bolt that is a function."""

    def process(key: int, roots: Any, path: str, n: int) -> Any:
        seen = world.begin(part, 0, key, roots, path, n)
        kind = world.trouble_for(part, key)
        if kind is not None:
            world.fails(seen, kind)
            if kind == "arity":
                return (1, 2)
            raise error_of(kind)
        seen.end = "ok"
        return world.rows(part, 0, seen)

    return process


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
        settings: dict[str, object] = {"topology.max.spout.pending": part.pending, "topology.sleep.spout.wait.strategy.time.ms": REST_MS}
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


assert KEYS > max(5, 4)  # the keys that mean something above
