"""Semantics §3: what ages in user hands, what does not, and what comes too late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest
from squall import Bolt, Topology, Tuple
from squall.testing import LocalCluster
from topologies import Record, recorded, single, source


class Slow(Record):
    """Takes one tuple each second."""

    def process(self, x: int) -> None:
        self.rows.append((x,))
        self.context.pause(1)


def test_a_generator_that_a_full_sink_pauses_does_not_age() -> None:
    """Semantics 16, 25. It waits for the engine, not the engine for it, also under `manual_ack`."""

    class Many(Bolt):
        outputs = ("x",)
        manual_ack = True

        def process(self, tup: Tuple) -> Iterator[int]:
            yield from range(200)
            self.ack(tup)

    topology = Topology("t", settings={"topology.executor.receive.buffer.size": 20})
    topology.bolt("slow", Slow).shuffle(topology.bolt("many", Many).shuffle(source(topology)))
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(150)
        assert cluster.acked("s") == []
        assert len(cluster.task("slow", Slow).rows) >= 150
        cluster.advance(100)
        assert cluster.acked("s") == ["a"]
        assert cluster.failed("s") == []
        assert len(cluster.task("slow", Slow).rows) == 200


def test_a_generator_that_goes_on_after_a_pause_ages_again() -> None:
    """Semantics 16: once its outputs are taken, the tuple that it did not ack is in user hands."""

    class Forgets(Bolt):
        outputs = ("x",)
        manual_ack = True

        def process(self, tup: Tuple) -> Iterator[int]:
            yield from range(50)

    topology = Topology("t", settings={"topology.executor.receive.buffer.size": 20})
    topology.bolt("slow", Slow).shuffle(topology.bolt("b", Forgets, retries=0).shuffle(source(topology)))
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(40)
        assert cluster.failed("s") == []
        cluster.advance(60)
        assert "code: held_too_long" in cluster.dead_letters()[0].traceback


class Patient(Bolt):
    """Takes a hundred seconds, in steps."""

    async def process(self, tup: Tuple) -> None:
        for _ in range(5):
            await asyncio.sleep(20)
            self.reset_timeout(tup)


class PatientBatch(Bolt):
    async def process_batch(self, tuples: list[Tuple]) -> None:
        for _ in range(5):
            await asyncio.sleep(20)
            self.reset_timeout(tuples[-1])


@pytest.mark.parametrize("kind", [Patient, PatientBatch])
def test_reset_timeout_starts_the_clock_of_an_async_call_anew(kind: type[Bolt]) -> None:
    """Semantics 16. Without `manual_ack` it is the call that is timed."""
    with LocalCluster(single(kind, retries=0), mock_sources={"s": ["a", "b"]}) as cluster:
        cluster.advance(99)
        assert cluster.acked("s") == []
        cluster.advance(2)
        assert sorted(cluster.acked("s")) == ["a", "b"]
        assert cluster.failed("s") == []


def test_reset_timeout_does_not_hold_a_call_for_ever() -> None:
    """Semantics 16: from the last reset on the time-out runs."""

    class Stuck(Bolt):
        async def process(self, tup: Tuple) -> None:
            await asyncio.sleep(20)
            self.reset_timeout(tup)
            await asyncio.sleep(1000)

    with LocalCluster(single(Stuck, retries=0), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(49)
        assert cluster.failed("s") == []
        cluster.advance(2)
        assert cluster.failed("s") == ["a"]


class LateOnce(Bolt):
    """Takes too long the first time, and says what it has to say all the same."""

    outputs = ("x",)

    async def late_once(self, tup: Tuple) -> None:
        if tup.attempt == 1:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(45)

    async def process(self, x: str, tup: Tuple) -> None:
        await self.late_once(tup)
        self.emit(x)


class LateOnceBatch(LateOnce):
    process = None
    batch_max = 1

    async def process_batch(self, x: list[str], tuples: list[Tuple]) -> None:
        await self.late_once(tuples[0])
        self.emit(x[0])


@pytest.mark.parametrize("kind", [LateOnce, LateOnceBatch])
def test_what_a_call_emits_after_it_timed_out_goes_nowhere(kind: type[Bolt]) -> None:
    """Semantics 16. Its inputs have failed, and their next try emits it again."""
    with LocalCluster(recorded(kind, retries=1), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(100)
        assert cluster.failed("s") == ["a"]
        assert cluster.acked("s") == ["a"]
        assert cluster.task("sink", Record).rows == [("a",)]


def test_an_async_call_that_timed_out_is_cancelled_also_in_simulated_time() -> None:
    """Semantics 16: its place is free for the next tuple, and it changes nothing any more."""
    ended: list[str] = []

    class Stuck(Bolt):
        max_in_flight = 1

        async def process(self, x: str) -> None:
            if x == "stuck":
                await asyncio.Event().wait()
            ended.append(x)

    with LocalCluster(single(Stuck, retries=0), mock_sources={"s": ["stuck", "a"]}) as cluster:
        cluster.advance(29)
        assert (cluster.failed("s"), cluster.acked("s")) == ([], [])
        cluster.advance(2)
        assert (cluster.failed("s"), cluster.acked("s")) == (["stuck"], ["a"])
        assert ended == ["a"]
