"""Generators that are run again: what had ended is left out, by count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import pytest
from squall import Topology
from squall._core import Batch
from squall.errors import TopologyError
from squall.planner.validate import validate
from squall.runtime.generators import without


def outputs(*items: Any) -> list[Any]:
    """The roots that yielded values become, in order."""
    out: list[Any] = []
    for item in items:
        match item:
            case None:
                pass
            case Batch():
                out += item.outputs
            case list() | Iterator():
                out += outputs(*item)
            case _:
                out.append(item)
    return out


def given() -> Iterator[Any]:
    """Every form in which a generator may give outputs, 12 of them."""
    yield 0
    yield None
    yield [1, 2, [3, None], 4]
    yield (value for value in (5, 6))
    yield Batch([(7,), (8,)], ids=["a", "b"])
    yield ()
    yield [Batch([(9,), (10,)], ids=["c", "d"])]


@pytest.mark.parametrize("ended", range(1, 14))
def test_so_many_outputs_are_left_out_in_whatever_form_they_come(ended: int) -> None:
    assert outputs(*without(given(), ended, time.monotonic)) == outputs(*given())[ended:]


def test_what_comes_after_is_given_as_it_is() -> None:
    items = [item for item in without(iter([[1, 2], [3, 4], [5, 6], None, 7]), 3, time.monotonic) if item is not None]
    assert items == [[4], [5, 6], 7]


def test_while_outputs_are_left_out_others_have_their_turn() -> None:
    """Where the generator has nothing, and when some time has passed."""
    clock = count(step=0.004)
    items = list(islice(without(iter([0, 1, None, *range(2, 101)]), 100, lambda: next(clock)), 50))
    assert items[0] is None
    assert 30 <= items.count(None) < 40
    assert items[items.index(100) :] == [100]


def test_whether_it_gives_the_same_again_is_yes_or_no() -> None:
    def now() -> Iterator[int]:
        yield 1

    topology = Topology("t")
    now.replayable = "no"  # pyright: ignore[reportFunctionMemberAccess]
    topology.bolt("b", lambda n: None).shuffle(topology.spout("now", now, outputs=("n",)))
    with pytest.raises(TopologyError, match="spout \"now\" has `replayable` 'no'"):
        validate(topology)
