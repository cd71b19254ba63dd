"""Which worker runs which executors: what is kept together, what is kept even, how many workers are worth it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from squall import Topology
from squall.cluster.placement import choose_workers, crossings, place, placed
from squall.model.graph import Graph
from squall.planner.validate import validate

KEY_RANGES = 1024


def graph(spout: int = 1, settings: dict[str, Any] | None = None, **bolts: tuple[str, str, int]) -> Graph:
    """A graph of one spout "s" and bolts: name → (source, grouping, parallelism); each with outputs ("x",)."""
    topology = Topology("t", settings=settings)
    made: dict[str, Any] = {"s": topology.spout("s", lambda: iter(()), outputs=("x",), parallelism=spout)}
    for name, (source, grouping, parallelism) in bolts.items():
        made[name] = topology.bolt(name, lambda x: (x,), outputs=("x",), parallelism=parallelism)
        subscribe: Callable[..., Any] = getattr(made[name], grouping)
        subscribe(made[source], *(["x"] if grouping in ("fields", "partial_key") else []))
    return validate(topology)


def workers(graph: Graph, count: int) -> dict[str, tuple[int, ...]]:
    return dict(place(graph, count).executors)


def share(graph: Graph, count: int, target: str) -> float:
    (one,) = [one for one in crossings(graph, place(graph, count)) if one.target == target]
    return round(one.share, 4)


WORDS = {"split": ("s", "local_or_shuffle", 2), "count": ("split", "fields", 2)}


def test_one_worker_runs_all_and_nothing_crosses() -> None:
    words = graph(2, **WORDS)
    assert workers(words, 1) == {"s": (1, 1), "split": (1, 1), "count": (1, 1)}
    assert {one.share for one in crossings(words, place(words, 1))} == {0.0}


def test_each_component_is_spread_over_all_workers() -> None:
    assert workers(graph(2, **WORDS), 2) == {"s": (1, 2), "split": (1, 2), "count": (1, 2)}


def test_local_or_shuffle_stays_at_home_and_keys_cross_by_half() -> None:
    assert share(graph(2, **WORDS), 2, "split") == 0.0
    assert share(graph(2, **WORDS), 2, "count") == 0.5


def test_equal_parallelism_puts_tasks_of_equal_number_together() -> None:
    found = workers(graph(5, a=("s", "shuffle", 5), b=("a", "shuffle", 5)), 5)
    assert found["s"] == found["a"] == found["b"] == (1, 2, 3, 4, 5)


def test_equal_parallelism_stays_together_where_it_does_not_fill_the_workers() -> None:
    words = graph(2, split=("s", "local_or_shuffle", 2), count=("split", "fields", 4), top=("count", "global_", 1))
    found = workers(words, 4)
    assert found["s"] == found["split"] == (1, 2)
    assert (found["count"], found["top"]) == ((1, 2, 3, 4), (3,))
    assert share(words, 4, "split") == 0.0


def test_long_chain_of_equal_parallelism_is_cut_where_workers_would_idle() -> None:
    chain = graph(2, a=("s", "shuffle", 2), b=("a", "shuffle", 2), c=("b", "shuffle", 2))
    assert workers(chain, 4) == {"s": (1, 2), "a": (1, 2), "b": (3, 4), "c": (3, 4)}


def test_chain_of_single_tasks_is_cut_once() -> None:
    chain = graph(a=("s", "shuffle", 1), b=("a", "shuffle", 1), c=("b", "shuffle", 1))
    assert workers(chain, 2) == {"s": (1,), "a": (1,), "b": (2,), "c": (2,)}
    assert [one.share for one in crossings(chain, place(chain, 2))] == [0.0, 1.0, 0.0]


def test_single_tasks_go_where_their_input_comes_from() -> None:
    topology = Topology("t")
    for side in ("left", "right"):
        source = topology.spout(side, lambda: iter(()), outputs=("x",))
        topology.bolt(f"after-{side}", lambda x: None).shuffle(source)
    found = place(validate(topology), 2)
    assert found.executors == {"left": (1,), "after-left": (1,), "right": (2,), "after-right": (2,)}
    assert found.reasons["after-right"] == "beside right"


def test_single_task_goes_to_the_larger_half_of_what_feeds_it() -> None:
    """Of three tasks in two workers two are in one; the single one goes there if that leaves all even."""
    found = place(graph(3, other=("s", "shuffle", 2), top=("s", "global_", 1), last=("top", "shuffle", 1)), 2)
    assert found.executors["s"] == (1, 1, 2)
    assert found.executors["top"] == (1,)
    assert found.executors["last"] == (2,)


def test_fewer_executors_than_workers_use_fewer_and_say_so() -> None:
    found = place(graph(a=("s", "shuffle", 1)), 8)
    assert found.workers == 2
    assert found.note == "there are 2 executors, so 2 of 8 workers are used"


def test_asked_for_is_what_the_topology_says() -> None:
    assert place(graph(2, {"topology.workers": 2}, **WORDS)).workers == 2


def test_global_crosses_from_everywhere_but_its_worker() -> None:
    assert share(graph(4, top=("s", "global_", 1)), 4, "top") == 0.75


def test_all_crosses_with_every_copy_but_the_one_at_home() -> None:
    assert share(graph(4, each=("s", "all", 4)), 4, "each") == 0.75


def test_tasks_of_an_executor_stay_together() -> None:
    """Semantics: an executor is one thread in Storm; its tasks are a contiguous range."""
    topology = Topology("t")
    numbers = topology.spout("s", lambda: iter(()), outputs=("x",))
    topology.bolt("b", lambda x: None, parallelism=2, tasks=6).shuffle(numbers)
    plan = placed(validate(topology), 2)
    assert [(task.index, task.executor, task.worker) for task in plan.tasks_of("b")] == [
        (index, index // 3, 1 + index // 3) for index in range(6)
    ]
    assert plan.workers == (1, 2)
    assert {task.component for task in plan.tasks_in(2)} == {"b"}


def test_loop_is_placed_like_any_graph() -> None:
    topology = Topology("t")
    numbers = topology.spout("s", lambda: iter(()), outputs=("x",))
    again = topology.bolt("again", lambda x: (x,), outputs=("x",)).shuffle(numbers)
    back = topology.bolt("back", lambda x: (x,), outputs=("x",)).shuffle(again)
    again.shuffle(back)
    assert place(validate(topology), 3).executors == {"s": (1,), "again": (2,), "back": (3,)}


def test_long_row_of_doublings_is_placed() -> None:
    topology = Topology("t")
    left = right = topology.spout("s", lambda: iter(()), outputs=("x",))
    for number in range(1100):
        before = (left, right)
        left, right = (
            topology.bolt(f"{side}{number}", lambda x: (x,), outputs=("x",)).shuffle(before[0]).shuffle(before[1])
            if number
            else topology.bolt(f"{side}{number}", lambda x: (x,), outputs=("x",)).shuffle(before[0])
            for side in "ab"
        )
    assert place(validate(topology), 7).workers == 7


def test_largest_that_is_allowed_is_placed_in_time() -> None:
    wide = graph(1023, a=("s", "fields", 1023), b=("a", "shuffle", 1023))
    assert place(wide, 1024).workers == 1024


components = st.lists(
    st.tuples(
        st.sampled_from(["shuffle", "local_or_shuffle", "fields", "partial_key", "all", "global_", "none"]),
        st.integers(1, 9),
        st.integers(0, 8),
    ),
    max_size=8,
)


@given(spout=st.integers(1, 9), bolts=components, count=st.integers(1, 12))
def test_all_is_even_and_the_same_each_time(spout: int, bolts: list[tuple[str, int, int]], count: int) -> None:
    """Each worker has as many executors of each component, give or take one, and something to do.

    In sum workers differ by no more than what is kept together.
    """
    names = ["s"]
    wired: dict[str, tuple[str, str, int]] = {}
    for number, (grouping, parallelism, source) in enumerate(bolts):
        wired[f"b{number}"] = (names[source % len(names)], grouping, parallelism)
        names.append(f"b{number}")
    found = place(one := graph(spout, **wired), count)
    assert found == place(one, count)
    everywhere = range(1, found.workers + 1)
    for executors in found.executors.values():
        assert list(executors) == sorted(executors)
        sizes = [executors.count(worker) for worker in everywhere]
        assert max(sizes) - min(sizes) <= 1
    loads = Counter(worker for executors in found.executors.values() for worker in executors)
    assert set(loads) == set(everywhere)
    left = sum(spec.parallelism % found.workers for spec in one.components.values())
    assert max(loads.values()) - min(loads.values()) <= max(1, -(-left // found.workers))
    for crossing in crossings(one, found):
        assert 0.0 <= crossing.share <= 1.0
        tasks = min(one.components[name].parallelism for name in (crossing.source, crossing.target))
        if crossing.input.grouping.value == "local_or_shuffle" and tasks >= found.workers:
            assert crossing.share == 0.0


@given(parallelism=st.integers(1, 64), count=st.integers(1, 16))
def test_key_ranges_are_balanced_over_workers(parallelism: int, count: int) -> None:
    """Semantics 30. task = range × tasks / 1024; no worker has more than an even share and one task's ranges."""
    plan = placed(graph(16, count=("s", "fields", parallelism)), count)
    owner = [task.worker for task in plan.tasks_of("count")]
    ranges = Counter(owner[number * parallelism // KEY_RANGES] for number in range(KEY_RANGES))
    most = max(ranges.values())
    assert most <= KEY_RANGES / min(count, parallelism) + -(-KEY_RANGES // parallelism)


@pytest.mark.parametrize(
    ("spout", "parallelism", "cpus", "count", "reason"),
    [
        (1, 1, 8, 1, "no component that runs on the loop has more than one executor"),
        (2, 4, 8, 4, '"split" has 4 executors, no other component on the loop has more'),
        (1, 4, 2, 2, '"split" has 4 executors, and 2 cores are free for them'),
        (1, 4, 1, 1, '"split" has 4 executors, and 1 core is free for them'),
    ],
)
def test_chosen_workers_are_those_that_can_work_at_once(
    spout: int, parallelism: int, cpus: int, count: int, reason: str
) -> None:
    choice = choose_workers(graph(spout, split=("s", "shuffle", parallelism)), cpus)
    assert (choice.workers, choice.reason) == (count, reason)


def test_what_waits_outside_of_the_loop_needs_no_worker_of_its_own() -> None:
    topology = Topology("t")

    async def ask(x: int) -> None: ...

    topology.bolt("ask", ask, parallelism=8).shuffle(topology.spout("s", lambda: iter(()), outputs=("x",)))
    assert choose_workers(validate(topology), 8).workers == 1
