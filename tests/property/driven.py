"""A graph as a real topology in `LocalCluster`, driven step by step; what user code sees and does is written down."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

from random_graphs import TIME_OUT_S, Graph, Part, outputs
from records import SLACK_S, Failure, Fed, Order, Seen, Sent, consequence, error_of, row_of
from squall import Emit, Tuple
from squall.testing import LocalCluster
from squall.testing.sources import FedSpout
from wired import topology_of


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
        self.ids = {
            part.name: [task.task.task_id for task in self.cluster._built.of(part.name)] for part in graph.bolts
        }
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
        self.let_all_go()
        for _ in range(100):
            if not self.busy():
                return
            self.cluster.advance(1.0)

    def let_all_go(self) -> None:
        """From now on nothing fails and nothing is held; time stands still."""
        self.calm = True
        self.orders.clear()
        while self.holding or self.gates:
            while self.gates:
                self.gates.pop().set()
            while self.holding:
                bolt, tup, seen = self.holding.pop()
                bolt.let_go(tup, seen, "ack")
            self.cluster.run_until_idle()

    def busy(self) -> bool:
        """Whether anything is on its way."""
        figures = self.cluster.metrics().values()
        waiting = any(self.todo.values()) or any(
            task.instance.waiting for task in self.cluster._built.tasks if isinstance(task.instance, FedSpout)
        )
        return waiting or any(row["pending"] or row["retrying"] or row["queue"] or row["in_flight"] for row in figures)

    def drain(self) -> None:
        """Ends the run."""
        self.draining = True
        self.cluster.drain()

    # -- what user code writes down --------------------------------------------------------------------------------

    def begin(
        self,
        part: Part,
        task: int,
        key: int,
        roots: tuple[str, ...],
        path: str,
        n: int,
        rids: tuple[int, ...] | None = None,
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
            if seen.end in ("held", "running") and seen.at + part.hold_s <= self.now + SLACK_S:
                self.fails(seen, "error", at=seen.at + part.hold_s)
                self.holding = [held for held in self.holding if held[2] is not seen]
