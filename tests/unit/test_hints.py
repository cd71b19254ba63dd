"""What is worth a hint: calls on the loop that take long, seen more than once."""

from __future__ import annotations

from typing import Any

import pytest
from squall import Topology
from squall.planner.validate import validate
from squall.runtime.hints import Hints, slow_on_loop


def figures(mean_ms: float, executed: int) -> dict[str, Any]:
    return {"execute_ms": {"mean": mean_ms}, "executed": executed}


def test_hint_is_for_calls_that_take_long_and_have_taken_long_together() -> None:
    components = {"slow": figures(80, 20), "once": figures(900, 1), "quick": figures(0.1, 1_000_000)}
    assert slow_on_loop(components, components) == ["slow"]
    assert slow_on_loop([*components, "of another worker"], components) == ["slow"]


def test_hint_comes_once_and_only_for_components_on_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    topology = Topology("hints")
    numbers = topology.spout("numbers", lambda: iter(()), outputs=("n",))
    topology.bolt("waits", lambda n: None).shuffle(numbers)
    topology.bolt("elsewhere", lambda n: None, blocking=True).shuffle(numbers)
    hints = Hints(validate(topology).components.values())
    for _ in range(3):
        hints.look({"numbers": figures(80, 20), "waits": figures(80, 20), "elsewhere": figures(80, 20)})
    assert caplog.text.count("event=slow_on_loop mean_ms=80") == 1
    assert [record.component for record in caplog.records] == ["waits"]  # type: ignore[attr-defined]
    assert "blocking = True" in caplog.text


def test_component_that_runs_in_another_worker_is_passed_over() -> None:
    assert slow_on_loop(["slow", "elsewhere"], {"slow": figures(80, 20)}) == ["slow"]
