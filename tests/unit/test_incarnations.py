"""Numbers of workers' lives: none twice while a peer may hold it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from squall.cluster.incarnations import FIRST, LAST, Incarnations, forgotten, lost
from squall.cluster.incarnations import given as next_number


def taken(known: Incarnations, count: int) -> tuple[Incarnations, list[int]]:
    numbers: list[int] = []
    for _ in range(count):
        known, number = next_number(known)
        assert number is not None
        numbers.append(number)
    return known, numbers


def test_numbers_count_up_over_all_workers() -> None:
    assert taken(Incarnations(), 3)[1] == [1, 2, 3]


def test_numbers_fit_into_16_bits_and_leave_out_the_first_and_the_last() -> None:
    """Semantics 14."""
    known, numbers = taken(Incarnations(last=LAST - 1), 3)
    assert numbers == [65_534, 1, 2]
    assert known.last == 2


def test_living_number_is_passed_over_when_they_come_round() -> None:
    known, _ = taken(Incarnations(), 1)
    known = Incarnations(LAST, known.living)
    assert taken(known, 1)[1] == [2]


def test_lost_number_is_not_given_again_while_a_peer_may_hold_it() -> None:
    """Semantics 14."""
    known, _ = taken(Incarnations(), 3)
    known = lost(known, 1, known.living)
    again = Incarnations(LAST, known.living, known.remembered)
    assert taken(again, 1)[1] == [4]
    half = forgotten(again, 2, [1])
    assert taken(half, 1)[1] == [4]
    assert taken(forgotten(half, 3, [1]), 1)[1] == [1]


def test_peer_that_is_lost_itself_remembers_nothing() -> None:
    known, _ = taken(Incarnations(), 2)
    known = lost(lost(known, 1, [2]), 2, [])
    assert known.remembered == {}
    assert taken(Incarnations(LAST, known.living, known.remembered), 2)[1] == [1, 2]


def test_life_that_began_after_the_loss_never_knew() -> None:
    known, _ = taken(Incarnations(), 2)
    known, _ = taken(lost(known, 1, [2]), 1)
    assert known.remembered == {1: frozenset({2})}


def test_peer_that_was_not_told_of_a_life_does_not_keep_its_number_taken() -> None:
    """One that was still starting never met it."""
    known, _ = taken(Incarnations(), 3)
    assert lost(known, 1, [3]).remembered == {1: frozenset({3})}
    assert lost(known, 1, []).remembered == {}


def test_all_taken_is_told() -> None:
    everything = frozenset(range(FIRST, LAST + 1))
    assert next_number(Incarnations(5, everything)) == (Incarnations(5, everything), None)


@given(st.lists(st.tuples(st.sampled_from(["give", "lose", "forget"]), st.integers(0, 99)), max_size=80))
def test_number_has_one_owner_that_anybody_knows(moves: list[tuple[str, int]]) -> None:
    """Semantics 14, from just below the end, so that numbers come round."""
    known, holders = Incarnations(LAST - 3), dict[int, set[int]]()
    for move, which in moves:
        living = sorted(known.living)
        if move == "give":
            known, number = next_number(known)
            assert number is not None
            assert not any(number in held for held in holders.values())
            holders[number] = set(living)
            for held in holders.values():
                held.add(number)
        elif living and move == "lose":
            holders.pop(gone := living[which % len(living)])
            known = lost(known, gone, known.living)
        elif living and (old := sorted({*holders[peer := living[which % len(living)]]} - {*living})):
            holders[peer].discard(old[0])
            known = forgotten(known, peer, [old[0]])
