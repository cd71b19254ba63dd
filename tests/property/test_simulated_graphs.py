"""Random topologies over simulated workers that die and lose their links: the laws of delivery, from seeds.

`make sim-topologies SEEDS=5000` runs more; `SEED=n` is one.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest
from simulated_graphs import broken_laws, random_graph
from squall.cluster.legacy import Legacy
from squall.errors import SquallError
from squall.runtime.stages import Stages
from squall.testing.simulation.cables import Way
from squall.testing.simulation.fed import ReplayedSpout

FIRST = int(os.environ.get("SQUALL_SIM_SEED", "0"))
SEEDS = int(os.environ.get("SQUALL_SIM_SEEDS", "800"))
SLICE = 25


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, SLICE))
def test_laws_hold_in_every_history(first: int) -> None:
    for seed in range(first, min(first + SLICE, FIRST + SEEDS)):
        assert broken_laws(seed) == [], f"seed {seed}: {random_graph(Random(seed))}"


def forgets_a_value(patch: pytest.MonkeyPatch) -> None:
    """A new life leaves out one output more than had ended."""
    ended = Legacy.ended
    patch.setattr(Legacy, "ended", lambda self, keys: {key: count + 1 for key, count in ended(self, keys).items()})


def skips_a_row(patch: pytest.MonkeyPatch) -> None:
    """A source that is begun again begins behind what was lost."""
    init = ReplayedSpout.__init__

    def begins_later(self: Any, feed: Any, begins_at: int) -> None:
        init(self, feed, begins_at + 1 if begins_at else 0)

    patch.setattr(ReplayedSpout, "__init__", begins_later)


def rests_always(patch: pytest.MonkeyPatch) -> None:
    """Workers say that they rest, whatever they have to do, or wait for."""
    patch.setattr(Stages, "_rests", lambda _self, _standing: True)
    patch.setattr(Stages, "_is_timed", lambda _self, _standing: False)


def loses_bytes(patch: pytest.MonkeyPatch) -> None:
    """A stream gives less than it took."""
    deliver = Way.deliver
    patch.setattr(Way, "deliver", lambda self, data: deliver(self, data[:-1] if len(data) > 400 else data))


@pytest.mark.parametrize("mutant", [forgets_a_value, skips_a_row, rests_always, loses_bytes])
def test_laws_bite(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert any(is_broken(seed) for seed in range(40))


def is_broken(seed: int) -> bool:
    try:
        return bool(broken_laws(seed))
    except (SquallError, TimeoutError):
        return True
