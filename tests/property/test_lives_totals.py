"""Laws of the totals of many workers under any order of reports, deaths and new lives."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from squall.cluster.totals import Totals, begun, lost, merged, reported
from squall.runtime import stats

ZEROS = {name: stats.empty(kind, 1) for name, kind in (("lines", "spout"), ("others", "spout"), ("count", "bolt"))}
SPOUTS = ("lines", "others")


@dataclass
class Counting:
    """One life's spouts, counted naively."""

    emitted: Counter[str]
    acked: Counter[str]
    failed: Counter[str]

    def report(self) -> dict[str, Any]:
        components = {name: {**zero} for name, zero in ZEROS.items()}
        for name in SPOUTS:
            emitted, acked, failed = self.emitted[name], self.acked[name], self.failed[name]
            pending = emitted - acked - failed
            components[name] |= {"emitted": emitted, "acked": acked, "failed": failed, "pending": pending}
        totals = {key: sum(components[name][key] for name in SPOUTS) for key in ("emitted", "acked", "failed")}
        pending = totals["emitted"] - totals["acked"] - totals["failed"]
        return {**totals, "pending": pending, "dead": 0, "out": 0, "components": components}

    @property
    def page(self) -> tuple[int, int, int, int]:
        return self.emitted.total(), self.acked.total(), self.failed.total(), 0


steps = st.tuples(st.sampled_from(["emit", "ack", "fail", "report", "die"]), st.integers(0, 2), st.sampled_from(SPOUTS))


@given(st.lists(steps, max_size=60))
def test_emitted_is_acked_failed_and_pending_and_no_death_loses_a_total(moves: list[tuple[str, int, str]]) -> None:
    """Semantics 36: at every instant, by spout and in all; totals never sink."""
    lives = {worker: Counting(Counter(), Counter(), Counter()) for worker in range(3)}
    numbers = {worker: worker + 1 for worker in range(3)}
    totals, dead, seen = Totals(ZEROS), Counter[str](), 0
    for number in numbers.values():
        totals = begun(totals, number, tuple(ZEROS))
    for move, worker, spout in moves:
        life = lives[worker]
        has_pending = life.emitted[spout] > life.acked[spout] + life.failed[spout]
        if move == "emit":
            life.emitted[spout] += 1
        elif move == "ack" and has_pending:
            life.acked[spout] += 1
        elif move == "fail" and has_pending:
            life.failed[spout] += 1
        elif move == "report":
            totals = reported(totals, numbers[worker], life.report())
        elif move == "die":
            totals = lost(totals, numbers[worker], life.page)
            emitted, acked, _, _ = life.page
            dead.update(emitted=emitted, acked=acked, failed=emitted - acked)
            lives[worker] = Counting(Counter(), Counter(), Counter())
            numbers[worker] = max(numbers.values()) + 1
            totals = begun(totals, numbers[worker], tuple(ZEROS))
        whole = merged(totals)
        for one in (whole, *(whole["components"][name] for name in SPOUTS)):
            assert one["emitted"] == one["acked"] + one["failed"] + one["pending"]
        assert whole["emitted"] >= seen
        seen = whole["emitted"]
    for worker, life in lives.items():
        totals = reported(totals, numbers[worker], life.report())
    whole = merged(totals)
    expected = {"emitted": dead["emitted"], "acked": dead["acked"], "failed": dead["failed"]}
    for life in lives.values():
        for key, count in zip(expected, life.page[:3], strict=True):
            expected[key] += count
    assert {key: whole[key] for key in expected} == expected
