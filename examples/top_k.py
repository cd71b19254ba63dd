"""Trending tags: the most used ones of the last minute, at each tick, most used first.

    $ squall run examples/top_k.py                # -p input=FILE -p k=5 -p every=10s -p slots=6
    1   #derbyday   34
    2   #marathon   28

Shows the two steps of a distributed ranking: tags are counted by `fields` in several tasks, each tells its own top `k`
at each tick, and one task merges them (`global_`). The window slides by one slot a tick; what the last tick did not
tell, `drain` does, upstream first. Ties are broken by the tag: a ranking can be repeated. Bound: the tags of a window.
"""

import json
import re
from collections import Counter, deque
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from squall import Bolt, Topology, TopologyContext
from squall.connectors.standard import Print

POSTS = Path(__file__).parent / "data" / "posts.jsonl"


def tags(line: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"#\w+", json.loads(line)["text"].lower())))


def top(counts: Counter[str], k: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:k]


class Count(Bolt):
    outputs = ("task", "best")

    def __init__(self, k: int, slots: int) -> None:
        self.k, self.slots = k, deque([Counter[str]()], maxlen=slots)

    def process(self, tag: str) -> None:
        self.slots[-1][tag] += 1

    def tick(self) -> tuple[int, list[tuple[str, int]]]:
        best = self.drain()
        self.slots.append(Counter())  # the oldest slot leaves
        return best

    def drain(self) -> tuple[int, list[tuple[str, int]]]:
        return self.context.task_index, top(sum(self.slots, Counter[str]()), self.k)


class Merge(Bolt):
    outputs = ("rank", "tag", "uses")

    def __init__(self, k: int) -> None:
        self.k, self.last = k, list[tuple[str, int]]()
        self.best: dict[int, list[tuple[str, int]]] = {}  # by task, until all have told

    def open(self, context: TopologyContext) -> None:
        context.table("trending", lambda: dict(self.last))

    def process(self, task: int, best: list[tuple[str, int]]) -> Iterator[tuple[int, str, int]]:
        self.best[task] = best
        if len(self.best) < len(self.context.tasks("count")):
            return
        ranking = top(Counter(dict(item for best in self.best.values() for item in best)), self.k)
        self.best.clear()
        if ranking != self.last:
            self.last = ranking
            yield from ((rank, tag, uses) for rank, (tag, uses) in enumerate(ranking, 1))


def build(input: Path = POSTS, k: int = 5, every: timedelta = timedelta(seconds=10), slots: int = 6) -> Topology:
    topology = Topology("top-k")
    posts = topology.spout("posts", lambda: input.open(encoding="utf-8"), outputs=("line",))
    tag = topology.bolt("tags", tags, outputs=("tag",)).shuffle(posts)
    count = topology.bolt("count", lambda: Count(k, slots), parallelism=2, tick_every=every).fields(tag, "tag")
    topology.bolt("print", Print).shuffle(topology.bolt("merge", lambda: Merge(k)).global_(count))
    return topology
