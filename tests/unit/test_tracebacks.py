"""Tracebacks of what user code raised: they begin where the engine called it."""

from __future__ import annotations

import pytest
from squall import Bolt, Topology, TopologyContext
from squall.runtime import failures
from squall.runtime.failures import traceback_text
from squall.testing import LocalCluster


def tears(n: int) -> None:
    raise ValueError(f"no {n}")


class Async(Bolt):
    async def process(self, n: int) -> None:
        tears(n)


class Blocking(Bolt):
    blocking = True

    def process(self, n: int) -> None:
        tears(n)


@pytest.mark.parametrize("bolt", [tears, Async, Blocking])
def test_a_dead_letters_traceback_begins_in_the_users_code(bolt: object) -> None:
    topology = Topology("tearing")
    numbers = topology.spout("numbers", lambda: iter([7]), outputs=("n",))
    topology.bolt("tears", bolt, retries=0).shuffle(numbers)  # pyright: ignore[reportArgumentType, reportCallIssue]
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        [letter] = cluster.dead_letters()
    files = [line for line in letter.traceback.splitlines() if line.startswith("  File ")]
    assert files
    assert all(__file__ in line for line in files)


def test_what_the_users_code_calls_of_the_engine_is_shown() -> None:
    class Opens(Bolt):
        def open(self, context: TopologyContext) -> None:
            context.every(-1.0, lambda: None)

        def process(self, n: int) -> None: ...

    topology = Topology("opening")
    topology.bolt("opens", Opens).shuffle(topology.spout("numbers", lambda: iter([7]), outputs=("n",)))
    with pytest.raises(Exception) as raised, LocalCluster(topology) as cluster:  # noqa: PT011
        cluster.run_until_idle()
    error = raised.value.__cause__ or raised.value
    text = traceback_text(error)
    assert "in open\n" in text


def test_what_the_engine_itself_raised_is_shown_whole() -> None:
    with pytest.raises(AttributeError) as raised:
        failures.classify(ValueError(), None)  # pyright: ignore[reportArgumentType]
    assert "in classify" in traceback_text(raised.value)
