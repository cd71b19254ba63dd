"""Which workers know each other, and what each is told of the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from squall.cluster.acquaintance import Acquaintance, Meet, Part, Word, link_lost, lost, ready


def ready_all(*incarnations: int) -> tuple[Acquaintance, list[Word]]:
    """Workers 1, 2, … with these lives."""
    known, words = Acquaintance(), list[Word]()
    for worker, incarnation in enumerate(incarnations, 1):
        known, more = ready(known, worker, incarnation)
        words += more
    return known, words


def test_two_that_are_ready_meet_in_a_session_of_their_own() -> None:
    _, words = ready_all(7, 8, 9)
    assert words == [
        Meet(2, 1, 7, 1),
        Meet(1, 2, 8, 1),
        Meet(3, 1, 7, 2),
        Meet(1, 3, 9, 2),
        Meet(3, 2, 8, 3),
        Meet(2, 3, 9, 3),
    ]


def test_loss_is_told_to_all_that_knew_the_life() -> None:
    """Semantics 19. They fail what waits for it, and emit again when the next life is ready."""
    known, _ = ready_all(7, 8, 9)
    known, words = lost(known, 2, 8)
    assert words == [Part(1, 2, 8), Part(3, 2, 8)]
    assert ready(known, 2, 10)[1][1] == Meet(1, 2, 10, 4)


def test_life_that_was_never_ready_is_known_to_nobody() -> None:
    known, _ = ready_all(7, 8)
    assert lost(known, 3, 9) == (known, [])


def test_broken_link_is_begun_anew_once_though_both_ends_tell_of_it() -> None:
    known, _ = ready_all(7, 8)
    known, words = link_lost(known, 1, 8, 1)
    assert words == [Part(1, 2, 8), Part(2, 1, 7), Meet(1, 2, 8, 2), Meet(2, 1, 7, 2)]
    assert link_lost(known, 2, 7, 1) == (known, [])
    assert link_lost(known, 2, 7, 2)[1] != []


def test_broken_link_to_a_life_that_is_lost_is_no_news() -> None:
    known, _ = ready_all(7, 8)
    known, _ = lost(known, 2, 8)
    assert link_lost(known, 1, 8, 1) == (known, [])


@given(st.lists(st.tuples(st.sampled_from(["ready", "lost", "link"]), st.integers(1, 4), st.integers(1, 4))))
def test_two_know_of_each_other_the_same_life_and_session(moves: list[tuple[str, int, int]]) -> None:
    """Whatever happens in whatever order, what each of two living workers was told last agrees with the other's."""
    known, lives, told = Acquaintance(), dict[int, int](), dict[tuple[int, int], Meet]()
    for incarnation, (move, worker, other) in enumerate(moves, 1):
        words: list[Word] = []
        match move:
            case "ready" if worker not in lives:
                lives[worker] = incarnation
                known, words = ready(known, worker, incarnation)
            case "lost" if worker in lives:
                known, words = lost(known, worker, lives.pop(worker))
                told = {pair: word for pair, word in told.items() if pair[0] != worker}
            case "link" if worker in lives and (meet := told.get((worker, other))):
                known, words = link_lost(known, worker, meet.incarnation, meet.session)
            case _:
                pass
        for word in words:
            assert word.to in lives
            if isinstance(word, Meet):
                assert (word.to, word.worker) not in told  # the one before was parted from first
                told[word.to, word.worker] = word
            else:
                assert told.pop((word.to, word.worker)).incarnation == word.incarnation
    assert {pair: word.incarnation for pair, word in told.items()} == {
        (one, other): lives[other] for one in lives for other in lives if one != other
    }
    assert all(word.session == told[other, one].session for (one, other), word in told.items())
