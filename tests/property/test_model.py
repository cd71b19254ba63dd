"""Random graphs, groupings, failures and timings in `LocalCluster`, against a model that is obviously right."""

from __future__ import annotations

import os
from typing import Any

import pytest
from driven import World
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mutants import MUTANTS, mutant
from naive_model import check, check_end, signature
from random_graphs import Graph, graphs
from records import TROUBLES
from squall.errors import EmissionError

MACHINES = int(os.environ.get("SQUALL_MODEL_MACHINES", "0"))
"""How many machines a long run tries, each with another seed; 0: the quick profile, always the same."""
QUICK = settings(
    max_examples=MACHINES or 100,
    stateful_step_count=30 if MACHINES else 15,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    derandomize=not MACHINES,
    suppress_health_check=list(HealthCheck),
)

WHICH = st.integers(0, 11)
KEYS = st.integers(0, 6)
KEY = st.none() | KEYS
SOME_KEYS = st.lists(KEYS, min_size=2, max_size=8)
TIMES = st.integers(1, 6)


class Machine(RuleBasedStateMachine):
    """Steps are plain data, so that a run can be told, and repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, ...]] = []
        self.world: World | None = None

    @initialize(graph=graphs(), seed=st.integers(0, 9), keys=SOME_KEYS, in_a_hurry=st.booleans())
    def begin(self, graph: Graph, seed: int, keys: list[int], in_a_hurry: bool) -> None:
        """`in_a_hurry`: the drain in the end finds much on its way."""
        self.graph, self.seed, self.in_a_hurry = graph, seed, in_a_hurry
        self.world = World(graph, seed)
        self.feed_all(keys)

    def feed_all(self, keys: list[int]) -> None:
        for which in range(len(self.graph.spouts)):
            self.step("feed", which, tuple(keys), which % 2 == 1)

    def step(self, *step: Any) -> None:
        assert self.world is not None
        self.steps.append(step)
        self.world.apply(step)

    @rule(which=WHICH, keys=SOME_KEYS, side=st.booleans())
    def feed(self, which: int, keys: list[int], side: bool) -> None:
        self.step("feed", which, tuple(keys), side)

    @rule(by_s=st.sampled_from((0.04, 0.1, 0.35, 1.0, 2.0, 5.0, 31.0)))
    def advance(self, by_s: float) -> None:
        self.step("advance", by_s)

    @rule(which=WHICH, kind=st.sampled_from(TROUBLES), key=KEY, times=TIMES)
    def trouble(self, which: int, kind: str, key: int | None, times: int) -> None:
        self.step("trouble", which, kind, key, times)

    @rule(
        which=WHICH,
        kind=st.sampled_from(("error", "again", "after", "dead", "drop", "mapped", "again")),
        key=KEY,
        times=TIMES,
    )
    def inject(self, which: int, kind: str, key: int | None, times: int) -> None:
        self.step("inject", which, kind, key, times)

    @rule(which=WHICH, kind=st.sampled_from(TROUBLES), key=KEY, times=TIMES, keys=SOME_KEYS)
    def trouble_at_once(self, which: int, kind: str, key: int | None, times: int, keys: list[int]) -> None:
        self.step("trouble", which, kind, key, times)
        self.feed_all(keys)

    @precondition(lambda self: self.world and self.world.holding)
    @rule(which=WHICH, how=st.sampled_from(("ack", "ack", "fail", "reset")))
    def release(self, which: int, how: str) -> None:
        self.step("release", which, how)

    @precondition(lambda self: self.world and self.world.gates)
    @rule(which=WHICH)
    def finish(self, which: int) -> None:
        self.step("finish", which)

    @invariant()
    def laws_hold(self) -> None:
        if self.world is not None:
            check(self.world)

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            self.step("let_all_go" if self.in_a_hurry else "settle_down")
            check(self.world)
            self.step("drain")
            check_end(self.world, all_fed=not self.in_a_hurry)
        finally:
            self.world.cluster.close()
        if len(self.steps) % 4 == 0:
            assert signature(self.world) == signature(repeated(self.graph, self.seed, self.steps)), "not deterministic"


def repeated(graph: Graph, seed: int, steps: list[tuple[Any, ...]]) -> World:
    """The same run once more."""
    world = World(graph, seed)
    for step in steps:
        world.apply(step)
        world.times_out()
    world.cluster.close()
    return world


TestModel = Machine.TestCase
TestModel.settings = QUICK
TestModel.pytestmark = [pytest.mark.timeout(0 if MACHINES else 120)]

BITE = settings(
    QUICK,
    max_examples=150,
    stateful_step_count=15,
    derandomize=True,
    phases=(Phase.generate,),
    report_multiple_bugs=False,
)


@pytest.mark.parametrize("name", MUTANTS)
def test_model_finds_a_defect(name: str) -> None:
    """Each within few machines: else the laws above would be words."""
    with mutant(name), pytest.raises((AssertionError, EmissionError)):
        run_state_machine_as_test(Machine, settings=BITE)
