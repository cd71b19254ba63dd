"""How far partitions have ended, and what is given of them (`connectors/kafka/offsets`, `outgoing`)."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from squall.connectors.kafka.offsets import Offsets
from squall.connectors.kafka.outgoing import Outgoing, Stretch
from squall.connectors.kafka.stalls import Circumstances, Group, Watch, why_without

A, B = ("orders", 0), ("orders", 1)


def two() -> Offsets:
    offsets = Offsets()
    offsets.begin(A, 100)
    offsets.begin(B, None)
    return offsets


def test_a_slow_record_holds_back_its_own_partition_only() -> None:
    offsets = two()
    offsets.given(A, 0, range(100, 103))
    offsets.given(B, 3, range(7, 9))
    offsets.settle(5, [1])
    assert offsets.to_commit() == {A: 101, B: 9}


def test_offsets_that_hold_no_record_are_stepped_over() -> None:
    """Storm stopped committing at gaps of compaction and transactions (STORM-2505, 2639)."""
    offsets = two()
    offsets.given(A, 0, [100, 105, 230])
    offsets.settle(3, [2])
    assert offsets.to_commit() == {A: 230}
    offsets.settle(3, [])
    assert offsets.to_commit() == {A: 231}
    offsets.skipped(A, 240)  # the end of the partition, after markers of transactions
    assert offsets.to_commit() == {A: 240}


def test_the_end_of_a_partition_is_not_committed_before_what_comes_before_it() -> None:
    offsets = two()
    offsets.given(A, 0, range(100, 103))
    offsets.skipped(A, 110)
    offsets.settle(3, [0])
    assert offsets.to_commit() == {A: 100}
    offsets.settle(3, [])
    assert offsets.to_commit() == {A: 110}


def test_what_was_returned_and_has_not_begun_has_not_ended() -> None:
    offsets = two()
    offsets.given(A, 0, range(100, 110))
    offsets.settle(4, [])
    assert offsets.to_commit() == {A: 104}


def test_commits_never_go_back() -> None:
    offsets = two()
    offsets.given(A, 0, range(100, 110))
    offsets.settle(10, [])
    offsets.committed(A, 110)
    assert offsets.to_commit() == {}
    offsets.given(A, 10, range(110, 111))
    offsets.settle(11, [10])
    assert offsets.to_commit() == {}


def test_outputs_from_before_a_seek_count_no_longer() -> None:
    """STORM-2343: after a seek back, what was acked before it moved the new position."""
    offsets = two()
    offsets.given(A, 0, range(100, 110))
    offsets.begin(A, 50)
    offsets.settle(10, [])
    assert offsets.partitions[A].ended == 50
    offsets.given(A, 10, range(50, 55))
    offsets.settle(15, [12])
    assert offsets.to_commit() == {A: 52}


def test_prefixes_are_those_of_a_naive_count() -> None:
    """Against a list of (partition, offset, ended), with gaps, partitions by turns, and ends in any order."""
    for seed in range(200):
        random, offsets = Random(seed), Offsets()
        keys = [("t", number) for number in range(random.randint(1, 4))]
        next_at = {key: random.randint(0, 50) for key in keys}
        for key in keys:
            offsets.begin(key, next_at[key])
        given: list[tuple[tuple[str, int], int]] = []
        open_numbers: set[int] = set()
        for _ in range(random.randint(1, 40)):
            key = random.choice(keys)
            run = []
            for _ in range(random.randint(1, 9)):
                next_at[key] += random.choice((0, 0, 0, 3))
                run.append(next_at[key])
                next_at[key] += 1
            is_whole = run[-1] - run[0] + 1 == len(run)
            offsets.given(key, len(given), range(run[0], run[-1] + 1) if is_whole else run)
            open_numbers |= set(range(len(given), len(given) + len(run)))
            given += [(key, offset) for offset in run]
            open_numbers -= set(random.sample(sorted(open_numbers), random.randint(0, len(open_numbers))))
            offsets.settle(len(given), sorted(open_numbers))
            for one in keys:
                waiting = [offset for number, (k, offset) in enumerate(given) if k == one and number in open_numbers]
                mine = [offset for k, offset in given if k == one]
                if waiting:
                    assert offsets.partitions[one].ended == min(waiting)
                elif mine:
                    assert offsets.partitions[one].ended == mine[-1] + 1


def outgoing(offsets: Offsets) -> tuple[Outgoing, list[Any]]:
    letters: list[Any] = []
    return Outgoing(offsets, lambda row, error: letters.append((row, str(error)))), letters


def test_bad_records_are_outputs_in_their_place() -> None:
    offsets = two()
    out, letters = outgoing(offsets)
    rows = [(n,) for n in range(5)]
    out.add(Stretch(A, rows, range(100, 105), {2: (("raw",), ValueError("no"))}))
    assert out.take(10) == [(0,), (1,)]
    assert letters == []
    assert out.take(2) == [(3,)]  # the letter counts
    assert letters == [(("raw",), "no")]
    assert out.take(10) == [(4,)]
    assert out.is_empty
    assert out.given == 5
    offsets.settle(5, [2])  # the letter is not on disk
    assert offsets.to_commit() == {A: 102}


def test_partitions_that_are_given_up_leave_nothing() -> None:
    offsets = two()
    out, _ = outgoing(offsets)
    out.add(Stretch(A, [(1,), (2,)], range(100, 102)))
    out.add(Stretch(B, [(3,)], range(7, 8)))
    assert out.take(1) == [(1,)]
    out.drop([A])
    assert out.take(5) == [(3,)]
    offsets.settle(2, [])
    assert offsets.to_commit() == {A: 101, B: 8}


def test_what_was_fetched_before_a_partition_is_begun_anew_is_given_first() -> None:
    """An offset that is gone says nothing of the records before it that were fetched already."""
    offsets = two()
    out, _ = outgoing(offsets)
    out.add(Stretch(A, [(1,), (2,)], range(100, 102)))
    out.add(Stretch(A, (), (), is_last=True))
    out.add(Stretch(A, [(3,)], range(500, 501)))
    assert out.take(2) == [(1,), (2,)]
    assert out.take(5) == [(3,)]
    offsets.settle(3, [])
    assert offsets.to_commit() == {A: 501}


def test_the_head_is_what_is_given_next_of_one_partition() -> None:
    offsets = two()
    out, _ = outgoing(offsets)
    assert out.head(5) is None
    out.add(Stretch(B, (), (), skip_to=9))
    out.add(Stretch(A, [(1,), (2,), (3,)], range(100, 103), {1: (("raw",), ValueError("no"))}))
    out.add(Stretch(B, [(4,)], range(9, 10)))
    told = []
    while (head := out.head(5)) is not None:
        told.append((*head, out.take(head[1])))
    assert told == [(A, 1, 101, [(1,)]), (A, 1, 102, []), (A, 1, 103, [(3,)]), (B, 1, 10, [(4,)])]


QUIET = Circumstances(None, frozenset(), {}, {})


def held(offsets: Offsets) -> None:
    offsets.given(A, 0, range(100, 103))
    offsets.settle(3, [1])


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(QUIET, busy={"slow": 3}), "held by slow (3)"),
        (replace(QUIET, paused=frozenset({A})), "waits for its next try, or is in another worker; nothing more"),
        (replace(QUIET, away_because="connection refused"), "no broker can be reached: connection refused"),
    ],
)
def test_a_partition_whose_record_does_not_end_says_why(now: Circumstances, words: str) -> None:
    offsets, watch = two(), Watch(10.0)
    held(offsets)
    assert watch.stalls(offsets, now, 1.0) == []
    assert watch.stalls(offsets, now, 10.9) == []
    (found,) = watch.stalls(offsets, now, 12.0)
    assert (found.key, found.since_s) == (A, 11.0)
    assert "offset 101" in found.why
    assert words in found.why
    offsets.settle(3, [2])
    assert watch.stalls(offsets, now, 13.0) == []


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (QUIET, "a transaction on it has not ended"),
        (replace(QUIET, away_because="connection refused"), "no broker can be reached"),
        (replace(QUIET, held_because="the schema registry is away"), "wait: the schema registry is away"),
    ],
)
def test_a_partition_whose_records_do_not_come_says_why(now: Circumstances, words: str) -> None:
    offsets, watch = two(), Watch(10.0)
    now = replace(now, ends={A: 250, B: 9})  # nothing is known yet of where the other one is begun
    assert watch.stalls(offsets, now, 1.0) == []
    (found,) = watch.stalls(offsets, now, 12.0)
    assert found.key == A
    assert words in found.why
    offsets.skipped(A, 250)
    assert watch.stalls(offsets, now, 13.0) == []
    assert watch.stalls(offsets, now, 99.0) == []  # nothing is there to move


def test_a_task_without_a_partition_is_noticed_after_a_while() -> None:
    watch, none = Watch(10.0), Offsets()
    assert not watch.has_long_had_none(none, 5.0)
    assert watch.has_long_had_none(none, 15.0)
    assert not watch.has_long_had_none(two(), 16.0)
    assert not watch.has_long_had_none(none, 17.0)


@pytest.mark.parametrize(
    ("partitions", "group", "seen", "why", "is_spare"),
    [
        (None, "g", "refused", "no broker can be reached: refused", False),
        (0, "g", "", "topics matching '^x': there is no such topic", False),
        (2, None, "", "topics matching '^x': 2 partitions, for 3 tasks", True),
        (
            1,
            "g",
            Group("STABLE", [1, 0]),
            """topics matching '^x': 1 partition, for 2 members of group "g\"""",
            True,
        ),
        (2, "g", Group("STABLE", [1]), '2 partitions; group "g" is stable, and its 1 members have 1 of them', False),
        (2, "g", Group("PREPARING_REBALANCING", [0, 0]), "its members have not agreed yet", False),
        (2, "g", "timed out", 'nobody says what becomes of group "g": timed out', False),
    ],
)
def test_why_a_task_has_no_partition(
    partitions: int | None, group: str | None, seen: Group | str, why: str, is_spare: bool
) -> None:
    told = why_without("topics matching '^x'", partitions, group, seen, 3)
    assert why in told[0]
    assert told[1] == is_spare
