"""`examples/chat_moderation.py`: rules, floods and mutes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from chat_moderation import Moderate, build
from squall.testing import LocalCluster

BEGAN = datetime(2025, 5, 12, 20, tzinfo=UTC)


def say(second: float, user: str, text: str, moderator: bool = False) -> str:
    at = (BEGAN + timedelta(seconds=second)).isoformat()
    return json.dumps({"at": at, "user": user, "text": text, "moderator": moderator})


def moderated(lines: Iterable[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
    """What is shown, and what is removed; each user's in order."""
    with LocalCluster(build(), mock_sources={"lines": lines}) as cluster:
        cluster.run_until_idle()
        shown = sorted(cluster.emitted("moderate"), key=lambda row: row[0])
        removed = sorted(cluster.emitted("moderate", "removed"), key=lambda row: row[1])
        return shown, removed  # type: ignore[return-value]


def test_a_rule_of_a_moderator_holds_for_all_users_from_then_on() -> None:
    """Eight users, so that both tasks have some: each must have heard of the rule."""
    users = [f"user{number}" for number in range(8)]
    before = [say(0, user, "casino before") for user in users]
    after = [say(20, user, "CASINO, after!") for user in users]
    with LocalCluster(
        build(), mock_sources={"lines": [*before, say(10, "mia", "/ban Casino", True), *after]}
    ) as cluster:
        cluster.run_until_idle()
        assert [cluster.task("moderate", Moderate, index).banned for index in (0, 1)] == [{"casino"}] * 2
        assert sorted(cluster.emitted("moderate")) == [(user, "casino before") for user in users]
        removed = cluster.emitted("moderate", "removed")
        assert sorted(removed) == [("BANNED WORD", user, "CASINO, after!") for user in users]
        assert all(cluster.task("moderate", Moderate, index).strikes_of for index in (0, 1))


def test_a_word_may_be_allowed_again_and_only_whole_words_count() -> None:
    shown, removed = moderated(
        [
            say(0, "mia", "/ban spam", True),
            say(10, "leo", "spammers"),
            say(20, "leo", "spam"),
            say(30, "mia", "/allow spam", True),
            say(40, "leo", "spam again"),
        ]
    )
    assert shown == [("leo", "spammers"), ("leo", "spam again")]
    assert removed == [("BANNED WORD", "leo", "spam")]


def test_only_moderators_make_rules() -> None:
    shown, removed = moderated([say(0, "leo", "/ban hello"), say(10, "zoe", "hello")])
    assert shown == [("leo", "/ban hello"), ("zoe", "hello")]
    assert removed == []


def test_the_fourth_message_within_five_seconds_is_a_flood() -> None:
    shown, removed = moderated([say(second, "kim", f"at {second}") for second in (0, 1.6, 3.2, 4.9, 20)])
    assert removed == [("FLOOD", "kim", "at 4.9")]
    assert len(shown) == 4
    shown, removed = moderated([say(second, "kim", f"at {second}") for second in (0, 1.6, 3.3, 5.0, 20)])
    assert removed == []


def test_the_third_strike_mutes_for_a_minute() -> None:
    strikes = [say(10 * number, "kim", "spam") for number in range(3)]
    later = [say(second, "kim", f"at {second}") for second in (21, 79, 80, 90)]
    shown, removed = moderated([say(0, "mia", "/ban spam", True), *strikes, *later, say(50, "leo", "hi")])
    assert removed[3:] == [("MUTED", "kim", "at 21"), ("MUTED", "kim", "at 79")]
    assert shown == [("kim", "at 80"), ("kim", "at 90"), ("leo", "hi")]


def test_what_a_muted_user_says_is_no_new_strike() -> None:
    strikes = [say(10 * number, "kim", "spam") for number in range(3)]
    muted = [say(30 + 10 * number, "kim", "spam") for number in range(3)]
    _, removed = moderated([say(0, "mia", "/ban spam", True), *strikes, *muted, say(85, "kim", "spam")])
    assert [why for why, _, _ in removed] == ["BANNED WORD"] * 3 + ["MUTED"] * 3 + ["BANNED WORD"]


def test_after_a_mute_it_takes_three_strikes_again() -> None:
    strikes = [say(10 * number, "kim", "spam") for number in range(3)]
    later = [say(85, "kim", "spam"), say(95, "kim", "sorry"), say(105, "kim", "spam"), say(115, "kim", "spam")]
    shown, removed = moderated([say(0, "mia", "/ban spam", True), *strikes, *later, say(125, "kim", "really")])
    assert shown == [("kim", "sorry")]
    assert removed[-1] == ("MUTED", "kim", "really")
