"""What the lives of workers leave to those after them: how far they got, and on what they died (semantics 9, 31)."""

from __future__ import annotations

from squall.cluster.legacy import Legacy


def test_an_output_of_a_generator_is_known_again_by_its_place_over_all_lives() -> None:
    legacy = Legacy()
    legacy.life_ended({"numbers/0": 700}, [("numbers/0", 777)])
    assert legacy.ended(["numbers/0"]) == {"numbers/0": 700}
    assert legacy.suspects(["numbers/0"]) == {"numbers/0": {77: 1}}
    legacy.life_ended({"numbers/0": 77}, [("numbers/0", 77)])
    assert legacy.ended(["numbers/0"]) == {"numbers/0": 777}
    assert legacy.suspects(["numbers/0"]) == {"numbers/0": {0: 2}}


def test_a_spout_with_positions_counts_from_where_the_life_began() -> None:
    legacy = Legacy()
    legacy.positioned("lines/1", 40)
    legacy.life_ended({"lines/1": 0}, [("lines/1", 45)])
    legacy.life_ended({"lines/1": 0}, [("lines/1", 5)])
    assert legacy.suspects(["lines/1"]) == {"lines/1": {5: 2}}


def test_a_death_on_several_outputs_of_a_record_is_one_death() -> None:
    """What a journal gives again is known by its record, of which a decoder may make any number of outputs."""
    legacy = Legacy()
    legacy.life_ended({"numbers/0": 0}, [("numbers/0", 3), ("numbers/0", 3), ("numbers/0", 4)])
    assert legacy.suspects(["numbers/0"]) == {"numbers/0": {3: 1, 4: 1}}


def test_a_death_of_another_worker_moves_nothing() -> None:
    """Its own life goes on: what it has stored since it began counts when that ends."""
    legacy = Legacy()
    legacy.positioned("lines/1", 40)
    legacy.life_ended({"lines/0": 0}, [])
    legacy.life_ended({"lines/1": 0}, [("lines/1", 45)])
    assert legacy.suspects(["lines/0", "lines/1"]) == {"lines/1": {5: 1}}


def test_what_has_ended_since_is_forgotten() -> None:
    legacy = Legacy()
    legacy.life_ended({"numbers/0": 0}, [("numbers/0", 3)])
    legacy.life_ended({"numbers/0": 4}, [])
    assert legacy.suspects(["numbers/0"]) == {}
