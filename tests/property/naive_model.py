"""What must be true of a run at every instant: laws over what user code saw, and what the cluster says of it.

Plain counting over lists, as slow as it likes; nothing of the product is used but what it tells a test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from driven import Fed, Seen, Sent, World
from random_graphs import Graph, Part, chosen, copies, outputs

STREAMS = ("default", "side", "to", "back")
SYNCHRONOUS = ("function", "bare", "plain", "batch", "shared", "blocking", "ordered")
"""Kinds whose outputs leave in the order of their inputs."""
HANDS = ("hold", "join")
SLACK_S = 1e-6


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


def roots_are_conserved(facts: Facts) -> None:
    """Semantics 36: each try of a root is one emission: emitted = acked + failed + pending; and who is told what."""
    for part in facts.graph.spouts:
        row = facts.metrics[part.name]
        emitted = sum(len(facts.rows[part.name, stream]) for stream in STREAMS)
        assert row["emitted"] == emitted == row["acked"] + row["failed"] + row["pending"], (part, row)
        assert row["acked"] == len(facts.acked[part.name]) + facts.world.untracked[part.name], (part, row)
        assert row["failed"] == len(facts.failed[part.name]) - row["burying"] if "burying" in row else True
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
            assert all(a <= b for a, b in zip(ended, (end["failed"], end["dropped"], end["ok"]), strict=True)), (bolt, row)
        else:
            assert ended == (end["failed"], end["dropped"], end["ok"]), (bolt, row, end)
        sent = {n for stream in STREAMS for n in facts.rows[bolt.name, stream]}
        assert row["emitted"] == len(sent), (bolt, row)
        done = {seen.number for seen in world.seen if seen.component == bolt.name and seen.end == "ok" and not seen.late}
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
        if seen.n < 0 and facts.tries[seen.n] > 1 or seen.task < 0:
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
        assert seen.rids is None or len(set(seen.rids)) >= len(set(seen.roots)), f"{seen} does not hang on all its roots"
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


def age_of(rid: int) -> tuple[int, int]:
    """Trees in the order in which they were opened, as long as no slot is used twice (semantics 14)."""
    return rid >> 20 & (1 << 28) - 1, rid & (1 << 20) - 1


BACK_OFF_S, BACK_OFF_MAX_S = 0.1, 10.0


@dataclass
class Fate:
    """What must have become of a root after its failures."""

    attempt: int = 1
    dead_at: str | None = None
    """The component that gave it up."""
    due: float = 0.0
    """When its next try is due."""
    failed: int = 0


def fate_of(failures: list[Any], graph: Graph) -> Fate:
    """Semantics 7, 8, 10, told in order."""
    fate, alone = Fate(), False
    for failure in failures:
        part: Part = graph.part(failure.component)
        fate.failed += 1
        together = failure.together and failure.counts
        fate.due = failure.at
        if together and not alone:
            alone = True
            continue
        alone = alone or together
        if failure.action == "dead" or (failure.counts and fate.attempt > part.retries):
            fate.dead_at = failure.component
            return fate
        if failure.counts:
            pause = min(BACK_OFF_S * 2 ** (fate.attempt - 1), BACK_OFF_MAX_S)
            fate.attempt += 1
        else:
            pause = 0.0
        fate.due += pause if failure.after_s is None else failure.after_s
    return fate


def tries_follow_from_failures(facts: Facts) -> None:
    """Semantics 7 and 8: no try fails without a reason, tries end at the limit, letters tell the truth."""
    world = facts.world
    letters = {letter.root_values[1][0] if letter.root_values else letter.message_id: letter for letter in facts.letters}
    assert len(letters) == len(facts.letters), "a root has two dead letters"
    reasons: dict[str, list[Any]] = defaultdict(list)
    for failure in sorted(world.failures, key=lambda failure: failure.at):
        for root in failure.roots:
            reasons[root].append(failure)
    failed = Counter(root for part in facts.graph.spouts for root in facts.failed[part.name])
    acked = {root for part in facts.graph.spouts for root in facts.acked[part.name]}
    for root, fed in world.fed.items():
        part, why, letter = facts.graph.part(fed.spout), reasons[root], letters.get(root)
        if part.kind == "anonymous":
            continue  # its acks and fails tell no id
        open_tries = facts.tries[fed.n] - failed[root] - (root in acked)
        if fed.tracked:
            assert open_tries in (0, 1), f"{root}: {facts.tries[fed.n]} tries, {failed[root]} failed"
        assert failed[root] <= len(why), f"{root} failed {failed[root]} times for {len(why)} reasons: {why}"
        assert not (letter and root in acked), f"{root} is dead and acked"
        if letter:
            assert not open_tries, f"{root} is dead and goes on"
            assert any(letter.component == reason.component for reason in why), (root, letter, why)
            assert 1 <= letter.attempts <= 1 + max(bolt.retries for bolt in facts.graph.bolts), (root, letter)
        if failed[root] != len(why):
            continue  # several reasons for one try: which of them came first is the engine's affair
        fate = fate_of(why, facts.graph)
        assert fate.failed == failed[root], f"{root} was tried again after its last try: {why}"
        dead = (letter.component, letter.attempts) if letter else None
        assert dead == ((fate.dead_at, fate.attempt) if fate.dead_at else None), (root, dead, fate, why)
        if failed[root] and not letter and not world.draining:
            again = facts.tries[fed.n] > failed[root]
            if again:
                next_try_is_in_time(facts, fed, fate)
                assert world.now >= fate.due - SLACK_S, f"{root} was tried again at {world.now}, before {fate.due}"
            elif part.kind == "fed" and all(facts.graph.part(reason.component).kind != "ordered" for reason in why):
                assert world.now < fate.due + SLACK_S, f"{root} was not tried again at {fate.due}: it is {world.now}"


def next_try_is_in_time(facts: Facts, fed: Fed, fate: Fate) -> None:
    """Semantics 8: it begins when the back-off is over, and at once then, where nothing can hold it up."""
    calls = [call for (_, n), there in facts.calls.items() if n == fed.n for call in there if call.rids]
    if len(trees := sorted({call.rids[0] for call in calls if call.rids}, key=age_of)) <= fate.failed:
        return
    for call in calls:
        bolt = facts.graph.part(call.component)
        if call.rids == (trees[-1],) and bolt.kind in ("plain", "generator", "blocking"):
            assert call.at >= fate.due - SLACK_S, f"{fed.root} was tried again at {call.at}, not at {fate.due}"
            free = facts.graph.inbox > 1000 and not bolt.pauses and facts.graph.part(fed.spout).kind == "fed"
            assert not free or call.at <= fate.due + SLACK_S, f"{fed.root} was tried again at {call.at}, not at {fate.due}"


def timers_are_kept(facts: Facts) -> None:
    """Semantics 16: what is in user hands is counted as such."""
    for bolt in facts.graph.bolts:
        if bolt.kind in HANDS:
            held = sum(seen.end == "held" for seen in facts.world.seen if seen.component == bolt.name)
            assert facts.metrics[bolt.name]["held"] == held, (bolt, held, facts.metrics[bolt.name])


def check_end(world: World) -> None:
    """Semantics 35, 36: after a drain nothing is pending; what was fed is acked or dead; every row was seen."""
    check(world)
    facts = Facts(world)
    for part in facts.graph.spouts:
        row = facts.metrics[part.name]
        fed = [fed for fed in world.fed.values() if fed.spout == part.name]
        assert not row["pending"], (part, row)
        assert not row["retrying"], (part, row)
        assert row["acked"] + row["dead"] == len(fed), (part, row, len(fed))
    for bolt in facts.graph.bolts:
        assert not facts.metrics[bolt.name]["queue"], (bolt, facts.metrics[bolt.name])


def signature(world: World) -> list[Any]:
    """All that a run showed; two runs of one seed must agree in it. Ids of trees and rows included."""
    facts = Facts(world)
    return [world.seen, world.failures, facts.acked, facts.failed, facts.rows, [str(x) for x in facts.letters], world.told]
