"""What must be true of a run at every instant: laws over what user code saw, and what the cluster says of it.

Plain counting over lists, as slow as it likes; nothing of the product is used but what it tells a test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from driven import World
from facts import STREAMS, Facts, age_of
from fates import tries_follow_from_failures
from random_graphs import Graph, chosen, copies, outputs
from records import Fed, Seen, Sent

SYNCHRONOUS = ("function", "bare", "plain", "batch", "shared", "blocking", "ordered")
"""Kinds whose outputs leave in the order of their inputs."""
HANDS = ("hold", "join")


def check(world: World) -> None:
    """All laws."""
    world.times_out()
    facts = Facts(world)
    roots_are_conserved(facts)
    rows_are_conserved(facts)
    counters_are_exact(facts)
    channels_are_first_in_first_out(facts)
    groupings_hold(facts)
    trees_are_whole(facts)
    tries_follow_from_failures(facts)
    timers_are_kept(facts)


def roots_are_conserved(facts: Facts) -> None:
    """Semantics 36: each try of a root is one emission: emitted = acked + failed + pending; and who is told what."""
    for part in facts.graph.spouts:
        row = facts.metrics[part.name]
        emitted = sum(len(facts.rows[part.name, stream]) for stream in STREAMS)
        assert row["emitted"] == emitted == row["acked"] + row["failed"] + row["pending"], (part, row)
        assert row["acked"] == len(facts.acked[part.name]) + facts.world.untracked[part.name], (part, row)
        assert row["failed"] == len(facts.failed[part.name]), (part, row)
        assert row["dead"] == sum(letter.spout == part.name for letter in facts.letters)
        if part.pending is not None:
            assert row["pending"] + row["retrying"] <= part.pending * part.tasks, (part, row)
        if part.kind != "anonymous":
            again = [root for root, count in Counter(facts.acked[part.name]).items() if count > 1]
            assert not again, f"acked twice: {again}"


def rows_are_conserved(facts: Facts) -> None:
    """Each row that was sent is seen by each of its tasks once, or stands in a queue; no other row is seen."""
    world, graph = facts.world, facts.graph
    for name, stream in facts.rows:
        if name.startswith("b"):
            strange = [n for n, count in Counter(facts.rows[name, stream]).items() if count > 1 or n not in world.sent]
            assert not strange, f"{name}/{stream} sent rows twice, or rows that nobody made: {strange}"
    missing, lost = Counter[str](), Counter[str]()
    known: set[tuple[str, int]] = set()
    for (source, stream), rows in facts.rows.items():
        for bolt, edge in graph.edges_from(source, stream):
            for n, tries in Counter(rows).items():
                wanted = tries * copies(edge, bolt, facts.origin(n).key)
                known.add((bolt.name, n))
                got = len(facts.calls[bolt.name, n])
                assert got <= wanted, f"{bolt.name} saw row {n} of {source}/{stream} {got} times, not {wanted}"
                missing[bolt.name] += wanted - got
                lost[bolt.name] += wanted - got if facts.may_be_lost(n) else 0
    for bolt in graph.bolts:
        most, queued = missing[bolt.name], facts.metrics[bolt.name]["queue"]
        assert most - lost[bolt.name] <= queued <= most, (bolt, most, lost, facts.metrics[bolt.name])
    unsent = [key for key, calls in facts.calls.items() if calls and key not in known]
    assert not unsent, f"seen but never sent: {unsent}"


def counters_are_exact(facts: Facts) -> None:
    """Semantics 37. What each bolt executed, failed, dropped, acked; what it sent."""
    world = facts.world
    ends: dict[str, Counter[str]] = defaultdict(Counter)
    for seen in world.seen:
        ends[seen.component][seen.end] += 1
    for bolt in facts.graph.bolts:
        row, end = facts.metrics[bolt.name], ends[bolt.name]
        assert row["executed"] == end.total(), (bolt, row, end)
        ended = row["failed"], row["dropped"], row["acked"]
        if bolt.kind == "ordered":  # what has ended out of turn is in flight still
            assert sum(ended) + row["in_flight"] == row["executed"], (bolt, row)
            assert all(a <= b for a, b in zip(ended, (end["failed"], end["dropped"], end["ok"]), strict=True)), (
                bolt,
                row,
            )
        else:
            assert ended == (end["failed"], end["dropped"], end["ok"]), (bolt, row, end)
        sent = {n for stream in STREAMS for n in facts.rows[bolt.name, stream]}
        assert row["emitted"] == len(sent), (bolt, row)
        done = {seen.number for seen in world.seen if seen.component == bolt.name and seen.end == "ok"}
        lost = [n for n, one in world.sent.items() if one.call in done and n not in sent]
        assert not lost or bolt.kind == "ordered", f"{bolt.name} gave rows that were not sent: {lost}"
    for part in (*facts.graph.spouts, *facts.graph.bolts):
        moved = lost = 0
        for stream in STREAMS:
            for bolt, edge in facts.graph.edges_from(part.name, stream):
                for n in facts.rows[part.name, stream]:
                    count = copies(edge, bolt, facts.origin(n).key)
                    moved, lost = moved + count, lost + (count if facts.may_be_lost(n) else 0)
        transferred = facts.metrics[part.name]["transferred"]
        assert moved - lost <= transferred <= moved, (part, facts.metrics[part.name], moved, lost)


def channels_are_first_in_first_out(facts: Facts) -> None:
    """Semantics 23: by source task, stream and destination task. Also: most bolts send in the order of their inputs."""
    place = {n: i for rows in facts.rows.values() for i, n in reversed(list(enumerate(rows)))}
    newest: dict[Any, int] = {}
    for seen in facts.world.seen:
        origin = facts.origin(seen.n)
        if (seen.n < 0 and facts.tries[seen.n] > 1) or seen.task < 0:
            continue  # a later try may come to another task
        source = origin.spout if isinstance(origin, Fed) else origin.component
        channel = source, origin.task, origin.stream, seen.component, seen.task
        assert newest.get(channel, -1) < place[seen.n], f"{channel} was overtaken by row {seen.n}"
        newest[channel] = place[seen.n]
    for bolt in facts.graph.bolts:
        for stream in STREAMS if bolt.kind in SYNCHRONOUS else ():
            for task in range(bolt.tasks):
                sent = [facts.world.sent[n] for n in facts.rows[bolt.name, stream]]
                calls = [one.call for one in sent if one.task == task and not one.path.startswith("shared")]
                assert calls == sorted(calls), f"{bolt.name} sent out of order: {calls}"


def groupings_hold(facts: Facts) -> None:
    """The API page, Topologies: which task sees which row."""
    owners: dict[Any, set[int]] = defaultdict(set)
    turns: dict[Any, Counter[int]] = defaultdict(Counter)
    for (component, n), calls in facts.calls.items():
        bolt, origin = facts.graph.part(component), facts.origin(n)
        source = origin.spout if isinstance(origin, Fed) else origin.component
        (edge,) = [edge for edge in bolt.edges if (edge.source, edge.stream) == (source, origin.stream)]
        tasks = [seen.task for seen in calls if seen.task >= 0]
        if edge.grouping in ("fields", "partial_key"):
            owners[component, edge, origin.key].update(tasks)
        elif edge.grouping == "all":
            most = max(1, facts.tries[n])
            assert all(count <= most for count in Counter(tasks).values()), (component, n, tasks)
        elif edge.grouping == "global":
            assert set(tasks) <= {0}, (component, n, tasks)
        elif edge.grouping == "custom":
            assert set(tasks) <= set(chosen(origin.key, bolt.tasks)), (component, n, tasks)
        elif edge.grouping == "direct" and isinstance(origin, Sent):
            assert set(tasks) <= {origin.to}, (component, n, tasks)
        elif edge.grouping in ("shuffle", "local_or_shuffle") and not facts.metrics[component]["queue"]:
            turns[component, edge, origin.task, bolt.tasks].update(seen.task for seen in calls)
    for (component, edge, key), tasks in owners.items():
        assert len(tasks) <= (1 if edge.grouping == "fields" else 2), (component, edge, key, tasks)
    for (component, edge, _, count), seen in turns.items():
        if -1 not in seen:
            assert max(seen.values()) - min(seen[i] for i in range(count)) <= 1, f"{component}, {edge}: {seen}"


@dataclass(frozen=True)
class Place:
    """A row as one bolt should see it."""

    component: str
    path: str
    count: int


def expected(graph: Graph, source: str, stream: str, key: int, path: str, skip: set[tuple[str, str]]) -> list[Place]:
    """All that must be worked on before a tree may end, from a row on; below what was dropped nothing must."""
    found: list[Place] = []
    for bolt, edge in graph.edges_from(source, stream):
        if not (count := copies(edge, bolt, key)):
            continue
        found.append(Place(bolt.name, path, count))
        if bolt.kind == "join" or (bolt.name, path) in skip:
            continue
        for output in outputs(bolt, key, path):
            if output.stream != "back":
                below = expected(graph, bolt.name, output.stream, output.key, output.path, skip)
                found += [Place(one.component, one.path, one.count * count) for one in below]
    return found


def trees_are_whole(facts: Facts) -> None:
    """What was acked was worked on everywhere, in its last try; what never failed, exactly as often as it should be."""
    world = facts.world
    ended, seen_of, skip = ("ok", "dropped"), defaultdict[str, list[Seen]](list), set[tuple[str, str]]()
    for seen in world.seen:
        for root in seen.roots:
            seen_of[root].append(seen)
        assert seen.rids is None or len(set(seen.rids)) >= len(set(seen.roots)), (
            f"{seen} does not hang on all its roots"
        )
        if seen.end == "dropped":
            skip.add((seen.component, seen.path))
    acked = {root for part in facts.graph.spouts for root in facts.acked[part.name]}
    failed = {root for part in facts.graph.spouts for root in facts.failed[part.name]}
    for root in acked - {None}:
        fed = world.fed[root]
        last = max((one.rids[0] for one in seen_of[root] if one.rids and len(one.rids) == 1), default=None, key=age_of)
        for place in expected(facts.graph, fed.spout, fed.stream, fed.key, fed.root, skip):
            there = [s for s in seen_of[root] if (s.component, s.path) == (place.component, place.path)]
            good = [seen for seen in there if seen.end in ended]
            assert len(good) >= place.count, f"{root} was acked, though {place} ended well {len(good)} times"
            if root not in failed and (place.component, place.path) not in skip:
                assert len(there) == place.count, f"{root} never failed, but {place} was seen {len(there)} times"
            if last is not None and all(seen.rids for seen in there) and good:
                newest = [seen for seen in good if last in (seen.rids or ())]
                assert len(newest) >= place.count, f"{root} was acked in tree {last:x}, but {place} ended before it"
        going_on = [seen for seen in seen_of[root] if seen.end in ("running", "held")]
        still = [seen for seen in going_on if root not in failed or last in (seen.rids or ())]
        assert not still, f"{root} was acked while {still} went on"


def timers_are_kept(facts: Facts) -> None:
    """Semantics 16: what is in user hands is counted as such."""
    for bolt in facts.graph.bolts:
        if bolt.kind in HANDS:
            held = sum(seen.end == "held" for seen in facts.world.seen if seen.component == bolt.name)
            assert facts.metrics[bolt.name]["held"] == held, (bolt, held, facts.metrics[bolt.name])


def check_end(world: World, *, all_fed: bool) -> None:
    """Semantics 35, 36: after a drain nothing is pending; every root is acked or dead; every row was seen.

    Args:
        all_fed: whether the spouts had the time to emit all that they were given.
    """
    check(world)
    facts = Facts(world)
    for part in facts.graph.spouts:
        row = facts.metrics[part.name]
        begun = {n for stream in STREAMS for n in facts.rows[part.name, stream]}
        fed = [fed for fed in world.fed.values() if fed.spout == part.name]
        assert not row["pending"], (part, row)
        assert not row["retrying"], (part, row)
        assert len(begun) == len(fed) or not all_fed, (part, row, len(fed))
        if all_fed or part.kind != "replaying":  # such a spout is told of a failure in a drain, but not asked any more
            assert row["acked"] + row["dead"] == len(begun), (part, row, len(begun))
    for bolt in facts.graph.bolts:
        assert not facts.metrics[bolt.name]["queue"], (bolt, facts.metrics[bolt.name])


def signature(world: World) -> list[Any]:
    """All that a run showed; two runs of one seed must agree in it. Ids of trees and rows included."""
    facts = Facts(world)
    return [
        world.seen,
        world.failures,
        facts.acked,
        facts.failed,
        facts.rows,
        [str(x) for x in facts.letters],
        world.told,
    ]
