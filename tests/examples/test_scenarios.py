"""The scenarios, whole: each starts its servers, feeds its topology, and checks what came out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCENARIOS = Path(__file__).parents[2] / "examples/scenarios"


@pytest.mark.parametrize(
    ("script", "options", "checks"),
    [("run_telecom.py", ["--records", "15000"], 5), ("run_watch.py", ["--lines", "10000"], 8)],
)
def test_a_scenario_plays_and_all_of_it_is_right(script: str, options: list[str], checks: int) -> None:
    command = [sys.executable, str(SCENARIOS / script), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout.count("] right: "), done.stdout.count("] WRONG: ")) == (checks, 0)


def test_a_failure_that_comes_again_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCENARIOS))
    from telecom import ALARM_FROM, WINDOW_MS, SlidingCount

    count = SlidingCount()
    alarms = [count.process(7, serial, 1000 * serial, 1) for serial in range(ALARM_FROM)]
    assert alarms[:-1] == [None] * (ALARM_FROM - 1)
    assert alarms[-1] == count.process(7, ALARM_FROM - 1, 1000 * (ALARM_FROM - 1), 1)
    assert count.process(7, 99, 1000 * ALARM_FROM + WINDOW_MS, 1) is None
