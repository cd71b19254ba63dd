"""What a cluster says of itself, read once, beside what its user code wrote down."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from driven import World
from records import Fed, Seen, Sent

STREAMS = ("default", "side", "to", "back")


class Facts:
    """What the cluster says, read once."""

    def __init__(self, world: World) -> None:
        self.world, self.graph = world, world.graph
        cluster = world.cluster
        self.metrics: Any = cluster.metrics()
        self.letters = cluster.dead_letters()
        self.acked = {part.name: cluster.acked(part.name) for part in self.graph.spouts}
        self.failed = {part.name: cluster.failed(part.name) for part in self.graph.spouts}
        self.rows: dict[tuple[str, str], list[int]] = {}
        """The numbers of the rows that a component emitted on a stream, in order."""
        for part in (*self.graph.spouts, *self.graph.bolts):
            for stream in STREAMS:
                self.rows[part.name, stream] = [row[3] for row in cluster.emitted(part.name, stream)]
        self.tries = Counter(n for (name, _), rows in self.rows.items() if name.startswith("s") for n in rows)
        self.failed_roots = {root for ids in self.failed.values() for root in ids}
        self.has_loop = any(edge.stream == "back" for bolt in self.graph.bolts for edge in bolt.edges)
        self.calls: dict[tuple[str, int], list[Seen]] = defaultdict(list)
        for seen in world.seen:
            self.calls[seen.component, seen.n].append(seen)

    def origin(self, n: int) -> Fed | Sent:
        """Who made a row."""
        return self.world.sent[n] if n > 0 else self.world.fed_by_n[n]

    def may_be_lost(self, n: int) -> bool:
        """On an edge of a loop the rows of a tree that has failed go nowhere: it shall not go round for ever."""
        roots = self.world.sent[n].roots if n > 0 and self.has_loop else ()
        return any(root in self.failed_roots or self.is_anonymous(root) for root in roots)

    def is_anonymous(self, root: str) -> bool:
        """Whether nobody is told which root it is."""
        return self.graph.part(self.world.fed[root].spout).kind == "anonymous"


def age_of(rid: int) -> tuple[int, int]:
    """Trees in the order in which they were opened, as long as no slot is used twice (semantics 14)."""
    return rid >> 20 & (1 << 28) - 1, rid & (1 << 20) - 1
