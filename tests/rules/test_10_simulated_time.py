"""Semantics §10: time in `LocalCluster`; and what the API page says of time in "Life"."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from squall import Bolt, Spout, Topology, TopologyContext
from squall.errors import TopologyError
from squall.testing import LocalCluster
from squall.testing.seen import BEGAN_AT
from topologies import Record, recorded, single


def test_everything_runs_on_the_callers_thread() -> None:
    """Semantics 40. Async and blocking code too."""
    threads: set[int] = set()

    class Where(Bolt):
        outputs = ("x",)

        def open(self, context: TopologyContext) -> None:
            threads.add(threading.get_ident())

        def process(self, x: str) -> str:
            threads.add(threading.get_ident())
            return x

    class Blocking(Where):
        blocking = True

    class Async(Where):
        async def process(self, x: str) -> str:
            threads.add(threading.get_ident())
            threads.add(await asyncio.to_thread(threading.get_ident))
            return x

    before = threading.active_count()
    for kind in (Where, Blocking, Async):
        with LocalCluster(single(kind), mock_sources={"s": ["a"]}) as cluster:
            cluster.run_until_idle()
            assert cluster.acked("s") == ["a"]
            assert threading.active_count() == before
    assert threads == {threading.get_ident()}


def test_run_until_idle_never_moves_time() -> None:
    """Semantics 40: a pending back-off, a tick, a sleep, a batch that waits are idle."""

    class Everything(Bolt):
        tick_every = 0.001

        async def process(self, x: str) -> None:
            await asyncio.sleep(0.001)

        def tick(self) -> None:
            raise AssertionError("time has moved")

    with LocalCluster(single(Everything), mock_sources={"s": ["a"]}) as cluster:
        for _ in range(10):
            cluster.run_until_idle()
        assert cluster.worker.monotonic() == 0
        assert cluster.acked("s") == []
        assert cluster.errors() == []


def test_idle_means_that_each_spout_had_nothing_to_give_once() -> None:
    """Semantics 40."""

    class Bursts(Spout):
        outputs = ("x",)
        polls = 0

        def next_tuple(self) -> int | None:
            self.polls += 1
            return self.polls if self.polls % 4 else None

    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", Bursts))
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        assert cluster.task("b", Record).rows == [(1,), (2,), (3,)]
        cluster.run_until_idle()
        assert len(cluster.task("b", Record).rows) == 3
        cluster.advance(0.001)
        assert len(cluster.task("b", Record).rows) == 6


def test_the_message_id_of_a_fed_value_is_the_value() -> None:
    """Semantics 40: bare if one field, else the tuple; or what the test says."""
    with LocalCluster(single(Record), mock_sources={"s": ["a", ("b",)]}) as cluster:
        assert cluster.feed("s", ["c"]) == ["c"]
        assert cluster.feed("s", ["d", "e"], ids=[1, None]) == [1, None]
        cluster.run_until_idle()
        assert cluster.acked("s") == ["a", "b", "c", 1, None]
    with LocalCluster(single(Record, fields=("x", "y")), mock_sources={"s": [(1, 2)]}) as cluster:
        cluster.run_until_idle()
        assert cluster.acked("s") == [(1, 2)]


def test_values_need_not_be_hashable_to_be_fed() -> None:
    """Semantics 40: the engine keeps the values and needs no id to find them."""
    with LocalCluster(single(Record), mock_sources={"s": [{"a": 1}, [1, 2]]}) as cluster:
        cluster.inject("b", ValueError("no"))
        cluster.advance(1)
        assert cluster.acked("s") == [[1, 2], {"a": 1}]


@pytest.mark.parametrize("by", [90, 90.0, timedelta(minutes=1, seconds=30)])
def test_the_contexts_clocks_are_virtual(by: float | timedelta) -> None:
    """Semantics 40, the API page, Life. `now`, `monotonic`."""
    real = time.monotonic()
    with LocalCluster(single(Record), mock_sources={"s": []}) as cluster:
        context = cluster.task("b", Record).context
        assert (context.now(), context.monotonic()) == (BEGAN_AT, 0.0)
        cluster.advance(by)
        assert (context.now(), context.monotonic()) == (BEGAN_AT + timedelta(seconds=90), 90.0)
    assert time.monotonic() - real < 30


class Timers(Bolt):
    outputs = ("name", "at")

    def open(self, context: TopologyContext) -> None:
        self.once = context.after(1.5, self.note, "once", 1)
        self.again = context.every(timedelta(seconds=1), self.note, "again", 2)
        self.never = context.after(3, self.note, "never", 3)

    def note(self, name: str, number: int) -> tuple[str, float]:
        return f"{name}{number}", self.context.monotonic()

    def process(self, x: str) -> None:
        {"again": self.again, "never": self.never, "once": self.once}[x].cancel()


def test_timers_run_at_their_time_and_can_be_cancelled() -> None:
    """The API page, Life: `after`, `every` follow simulated time; what they return is emitted, unanchored."""
    with LocalCluster(recorded(Timers), mock_sources={"s": []}) as cluster:
        cluster.advance(2.5)
        expected = [("again2", 1.0), ("once1", 1.5), ("again2", 2.0)]
        assert cluster.emitted("b") == expected
        cluster.feed("s", ["never", "once"])
        cluster.advance(1)
        assert cluster.emitted("b") == [*expected, ("again2", 3.0)]
        cluster.feed("s", ["again"])
        cluster.advance(60)
        assert cluster.emitted("b") == [*expected, ("again2", 3.0)]
        assert sorted(cluster.acked("s")) == ["again", "never", "once"]
        assert cluster.task("sink", Record).rows == cluster.emitted("b")


def test_periodic_timers_do_not_drift() -> None:
    """Semantics 40: after ten thousand of them the last still comes exactly when it is due."""
    ticks: list[float] = []

    class Ticking(Bolt):
        tick_every = 0.1

        def process(self, x: str) -> None: ...

        def tick(self) -> None:
            ticks.append(self.context.monotonic())

    with LocalCluster(single(Ticking), mock_sources={"s": []}) as cluster:
        for _ in range(1000):
            cluster.advance(1)
        assert len(ticks) == 10_000
        assert ticks[-1] == 1000.0


def test_what_is_due_together_runs_in_one_order() -> None:
    """Semantics 40: everything deterministic, in the order in which it was asked for."""
    order: list[str] = []

    class Many(Bolt):
        def open(self, context: TopologyContext) -> None:
            for name in "abc":
                context.after(1.0, order.append, name)
            context.after(0.5, lambda: context.after(0.5, order.append, "d"))

        def process(self, x: str) -> None: ...

    with LocalCluster(single(Many), mock_sources={"s": []}) as cluster:
        cluster.advance(1.0)
        assert order == ["a", "b", "c", "d"]


class Sleeper(Bolt):
    outputs = ("x",)

    async def process(self, x: float) -> float:
        await asyncio.sleep(x)
        return round(asyncio.get_running_loop().time(), 6)


def test_sleeps_of_async_code_move_by_advance() -> None:
    """Semantics 40. The event loop's clock is the worker's."""
    with LocalCluster(recorded(Sleeper), mock_sources={"s": [2.0, 1.0, 0.0]}) as cluster:
        cluster.run_until_idle()
        assert cluster.emitted("b") == [(0.0,)]
        cluster.advance(0.999)
        assert len(cluster.emitted("b")) == 1
        cluster.advance(0.002)
        assert cluster.emitted("b") == [(0.0,), (1.0,)]
        cluster.advance(1)
        assert cluster.emitted("b") == [(0.0,), (1.0,), (2.0,)]


def test_asyncio_works_as_usual_on_the_virtual_loop() -> None:
    """Semantics 40: tasks, events, queues, gather, wait_for."""

    class Usual(Bolt):
        outputs = ("x",)

        async def open(self, context: TopologyContext) -> None:
            self.queue: asyncio.Queue[str] = asyncio.Queue()
            self.done = asyncio.Event()
            self.background = asyncio.create_task(self.move())

        async def move(self) -> None:
            while True:
                value = await self.queue.get()
                await asyncio.sleep(0.5)
                self.last = value.upper()
                self.done.set()

        async def process(self, x: str) -> list[object]:
            await self.queue.put(x)
            await asyncio.wait_for(self.done.wait(), timeout=1)
            slow, quick = await asyncio.gather(asyncio.sleep(0.2, "slow"), asyncio.sleep(0.1, "quick"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(9), timeout=0.1)
            return [self.last, slow, quick]

    with LocalCluster(recorded(Usual), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(0.75)
        assert cluster.acked("s") == []
        cluster.advance(0.1)
        assert cluster.emitted("b") == [("A",), ("slow",), ("quick",)]
        assert cluster.acked("s") == ["a"]


def test_async_code_that_wants_the_world_is_told_so() -> None:
    """Semantics 40: nothing waits for sockets in simulated time, so nothing hangs."""

    async def connect(x: str) -> None:
        await asyncio.open_connection("127.0.0.1", 9)

    async def start(x: str) -> None:
        await asyncio.create_subprocess_exec("true")

    for bolt in (connect, start):
        with LocalCluster(single(bolt, retries=0), mock_sources={"s": ["a"]}) as cluster:
            cluster.run_until_idle()
            assert "code: simulated_world" in cluster.dead_letters()[0].traceback

    class Waits(Bolt):
        async def open(self, context: TopologyContext) -> None:
            await asyncio.Event().wait()

        async def process(self, x: str) -> None: ...

    with pytest.raises(TopologyError, match="simulated_world"):
        LocalCluster(single(Waits), mock_sources={"s": []}).open()


def test_windows_of_the_metrics_follow_simulated_time() -> None:
    """Semantics 40: what was counted eleven minutes ago is not of the last ten."""
    with LocalCluster(single(Record), mock_sources={"s": range(100)}) as cluster:
        cluster.run_until_idle()
        windows = cluster.metrics()["b"]["windows"]
        assert {name: counts["executed"] for name, counts in windows.items()} == {
            "600": 100,
            "10800": 100,
            "86400": 100,
            ":all-time": 100,
        }
        cluster.advance(700)
        windows = cluster.metrics()["b"]["windows"]
        assert windows["600"]["executed"] == 0
        assert windows["10800"]["executed"] == 100


def test_log_stamps_are_virtual_and_name_component_and_task(caplog: pytest.LogCaptureFixture) -> None:
    """Semantics 40, the API page, Life: plain `logging` gets component, task and worker."""

    class Logs(Bolt):
        tick_every = 60.0

        def process(self, x: str) -> None:
            self.context.log.warning("event=seen x=%s", x)

        def tick(self) -> None:
            logging.getLogger("mine").warning("event=tick")

    def records(name: str) -> list[Any]:
        return [record for record in caplog.records if record.message.startswith(f"event={name}")]

    with LocalCluster(single(Logs), mock_sources={"s": ["a"]}) as cluster:
        task_id = cluster._built.of("b")[0].task.task_id
        cluster.advance(60)
        logging.getLogger("mine").warning("event=test")
    for name, seconds in [("seen", 0.0), ("tick", 60.0)]:
        (record,) = records(name)
        assert (record.component, record.task, record.worker) == ("b", task_id, 1)
        assert record.created == pytest.approx(BEGAN_AT.timestamp() + seconds)
    assert abs(records("test")[0].created - time.time()) < 60


def test_time_time_is_not_patched() -> None:
    """Semantics 40."""
    with LocalCluster(recorded(lambda x: time.time(), outputs=("x",)), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(86_400)
        assert abs(cluster.emitted("b")[0][0] - time.time()) < 60


def test_two_clusters_have_clocks_of_their_own() -> None:
    """Semantics 40."""
    with (
        LocalCluster(single(Record), mock_sources={"s": []}) as one,
        LocalCluster(single(Record), mock_sources={"s": []}) as other,
    ):
        one.advance(10)
        other.advance(5)
        assert (one.worker.monotonic(), other.worker.monotonic()) == (10.0, 5.0)


def test_a_cluster_can_be_driven_from_within_a_running_event_loop() -> None:
    """Semantics 40: a test may itself be async."""

    async def test() -> None:
        with LocalCluster(recorded(Sleeper), mock_sources={"s": [1.0]}) as cluster:
            cluster.advance(2)
            assert cluster.acked("s") == [1.0]
        await asyncio.sleep(0)

    asyncio.run(test())
