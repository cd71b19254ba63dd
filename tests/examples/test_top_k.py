"""`examples/top_k.py`: the order, ties, and the sliding window."""

from __future__ import annotations

import json

from squall.testing import LocalCluster, complete_topology
from top_k import Count, build


def post(*tags: str) -> str:
    return json.dumps({"text": "look: " + " ".join(tags)})


def posts(uses: dict[str, int]) -> list[str]:
    return [post(tag) for tag, n in uses.items() for _ in range(n)]


def last_ranking(lines: list[str], k: int = 5) -> list[tuple[int, str, int]]:
    rows = complete_topology(build(k=k), {"posts": lines})["merge"]
    return rows[max(i for i, row in enumerate(rows) if row[0] == 1) :]  # type: ignore[return-value]


def test_the_most_used_come_first_and_ties_are_broken_by_the_tag() -> None:
    uses = {"#d": 3, "#b": 3, "#e": 1, "#a": 9, "#c": 3, "#f": 1}
    assert last_ranking(posts(uses)) == [(1, "#a", 9), (2, "#b", 3), (3, "#c", 3), (4, "#d", 3), (5, "#e", 1)]


def test_the_ranking_is_that_of_all_tasks_together() -> None:
    """More tags than a task tells: what is best in one task may be worst of all."""
    uses = {f"#t{number:02}": number for number in range(1, 41)}
    with LocalCluster(build(k=3), mock_sources={"posts": posts(uses)}) as cluster:
        cluster.advance(10)
        assert all(cluster.task("count", Count, index).slots[0] for index in (0, 1))
        assert cluster.emitted("merge") == [(1, "#t40", 40), (2, "#t39", 39), (3, "#t38", 38)]


def test_a_tag_counts_once_a_post_in_any_case() -> None:
    assert last_ranking([post("#Jazz", "#jazz", "#rain"), post("#JAZZ")]) == [(1, "#jazz", 2), (2, "#rain", 1)]


def test_a_ranking_comes_at_a_tick_and_only_when_it_is_new() -> None:
    with LocalCluster(build(), mock_sources={"posts": [post("#a")]}) as cluster:
        cluster.advance(9.9)
        assert cluster.emitted("merge") == []
        cluster.advance(20)
        assert cluster.emitted("merge") == [(1, "#a", 1)]


def test_uses_leave_with_their_slot() -> None:
    """A minute of six slots: what came before the first tick is in the rankings at 10, 20, …, 60 s."""
    with LocalCluster(build(), mock_sources={"posts": posts({"#old": 5})}) as cluster:
        cluster.advance(15)
        cluster.feed("posts", posts({"#new": 3}))
        cluster.advance(40)
        assert cluster.emitted("merge")[1:] == [(1, "#old", 5), (2, "#new", 3)]
        cluster.advance(6)
        assert cluster.emitted("merge")[3:] == []
        cluster.advance(10)
        assert cluster.emitted("merge")[3:] == [(1, "#new", 3)]
        cluster.advance(60)
        assert [len(cluster.task("count", Count, index).slots) for index in (0, 1)] == [6, 6]
        assert not any(any(cluster.task("count", Count, index).slots) for index in (0, 1))


def test_what_came_after_the_last_tick_is_in_the_ranking_at_the_end() -> None:
    with LocalCluster(build(), mock_sources={"posts": [post("#a")]}) as cluster:
        cluster.advance(12)
        cluster.feed("posts", posts({"#b": 2}))
        cluster.run_until_idle()
        cluster.drain()
        assert cluster.emitted("merge") == [(1, "#a", 1), (1, "#b", 2), (2, "#a", 1)]
