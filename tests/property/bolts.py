"""User code for each kind of bolt: it says to its world what it saw, and fails when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from random_graphs import Output, Part, mixed, outputs
from records import ROW, SLACK_S, STREAMS, Seen, error_of
from squall import Bolt, Emit, TopologyContext, Tuple

if TYPE_CHECKING:
    from driven import World


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
        if self.first and self.is_over(self.first[1]):
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

    def is_over(self, seen: Seen) -> bool:
        """Whether a row was let go, or was held for too long."""
        return seen.end != "held" or seen.at + self.part.hold_s <= self.world.now + SLACK_S

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
