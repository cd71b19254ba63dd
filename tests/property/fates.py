"""What must become of a root: its tries, their times, its dead letter."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from facts import Facts, age_of
from random_graphs import Graph, Part
from records import SLACK_S, Fed

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
    letters = {
        letter.root_values[1][0] if letter.root_values else letter.message_id: letter for letter in facts.letters
    }
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
            assert not free or call.at <= fate.due + SLACK_S, (
                f"{fed.root} was tried again at {call.at}, not at {fate.due}"
            )
