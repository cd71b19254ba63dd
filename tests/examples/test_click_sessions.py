"""`examples/click_sessions.py`: where a session ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from click_sessions import build
from squall.testing import LocalCluster

BEGAN = datetime(2025, 5, 12, 8, tzinfo=UTC)


def click(minute: float, user: str, page: str) -> str:
    return json.dumps({"at": (BEGAN + timedelta(minutes=minute)).isoformat(), "user": user, "page": page})


def sessions(*clicks: str, drain: bool = True) -> list[tuple[str, int, str]]:
    with LocalCluster(build(), mock_sources={"lines": clicks}) as cluster:
        cluster.run_until_idle()
        if drain:
            cluster.drain()
        assert sorted(cluster.acked("lines")) == sorted(clicks)
        return sorted((user, minutes, path) for user, _, minutes, path in cluster.emitted("sessions"))


def test_a_session_ends_by_a_longer_gap_and_not_by_one_of_its_length() -> None:
    assert sessions(click(0, "ada", "a"), click(30, "ada", "b"), click(60.1, "ada", "c")) == [
        ("ada", 0, "c"),
        ("ada", 30, "a > b"),
    ]


def test_a_quiet_user_needs_no_click_to_end_a_session() -> None:
    """The clicks of others move the clock: enough of them that both tasks have one."""
    others = [click(45, f"user{number}", "x") for number in range(8)]
    assert sessions(click(0, "ada", "a"), *others, drain=False) == [("ada", 0, "a")]


def test_a_user_who_goes_on_does_not_keep_the_others_open() -> None:
    """Eight of each, so that both tasks have some."""
    busy, quiet = ([f"{kind}{number}" for number in range(8)] for kind in ("busy", "quiet"))
    clicks = [*(click(0, user, "a") for user in busy), *(click(1, user, "x") for user in quiet)]
    clicks += [click(minute, user, "b") for minute in (25, 40) for user in busy]
    assert sessions(*clicks, drain=False) == [(user, 0, "x") for user in quiet]


def test_users_are_apart() -> None:
    assert sessions(click(0, "ada", "a"), click(1, "ben", "x"), click(2, "ada", "b")) == [
        ("ada", 2, "a > b"),
        ("ben", 0, "x"),
    ]


def test_a_late_click_stands_where_it_happened() -> None:
    assert sessions(click(0, "ada", "a"), click(9, "ada", "c"), click(5, "ada", "b")) == [("ada", 9, "a > b > c")]


def test_a_late_click_does_not_make_its_session_end_sooner() -> None:
    """By the clock of the clicks ada was last heard of at 20, so that 49 is within the gap."""
    late = [click(0, "ada", "a"), click(20, "ada", "c"), click(5, "ada", "b")]
    assert sessions(*late, click(49, "ada", "d")) == [("ada", 49, "a > b > c > d")]


def test_only_open_sessions_are_kept() -> None:
    clicks = [click(minute, f"user{minute}", "a") for minute in range(500)]
    with LocalCluster(build(), mock_sources={"lines": clicks}) as cluster:
        cluster.run_until_idle()
        ended = len(cluster.emitted("sessions"))
        assert 460 <= ended < 500


def test_a_line_that_is_no_click_is_a_dead_letter_at_once() -> None:
    with LocalCluster(build(), mock_sources={"lines": ["{}", click(0, "ada", "a")]}) as cluster:
        cluster.run_until_idle()
        [letter] = cluster.dead_letters()
        assert (letter.component, letter.attempts, letter.values) == ("parse", 1, ("{}",))
        assert len(cluster.acked("lines")) == 1
