"""On which outputs workers died, over their lives (semantics 9)."""

from __future__ import annotations

from squall.engines.embedded.suspicion import Suspicion


def test_an_output_of_a_generator_is_known_again_by_its_place_over_all_lives() -> None:
    suspicion = Suspicion()
    suspicion.died_on("numbers/0", 777)
    suspicion.next_life({"numbers/0": 700})
    assert suspicion.to_come() == {"numbers/0": {77: 1}}
    suspicion.died_on("numbers/0", 77)
    suspicion.next_life({"numbers/0": 777})
    assert suspicion.to_come() == {"numbers/0": {0: 2}}


def test_a_spout_with_positions_counts_from_where_the_life_began() -> None:
    suspicion = Suspicion()
    suspicion.positioned("lines/1", 40)
    suspicion.died_on("lines/1", 45)
    suspicion.next_life({})
    suspicion.died_on("lines/1", 5)
    suspicion.next_life({})
    assert suspicion.to_come() == {"lines/1": {5: 2}}


def test_what_has_ended_since_is_not_suspected_any_more() -> None:
    suspicion = Suspicion()
    suspicion.died_on("numbers/0", 3)
    suspicion.next_life({"numbers/0": 4})
    assert suspicion.to_come() == {"numbers/0": {}}
