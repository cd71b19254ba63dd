"""`LocalCluster` as a tool: what it refuses, what it shows, how it cleans up, real time."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from squall import Bolt, Spout, Topology, TopologyContext, Tuple
from squall.connectors.tcp import TcpSpout
from squall.errors import ConfigError, TopologyError
from squall.testing import Faults, LocalCluster, complete_topology
from squall.testing import pace as pace_module

from .conftest import free_port, wait_until


class Keep(Bolt):
    outputs = ("y",)

    def __init__(self) -> None:
        self.rows: list[object] = []
        self.closed = False

    def process(self, x: object) -> object:
        self.rows.append(x)
        return x

    def close(self) -> None:
        self.closed = True


def topology(component: object = Keep, **options: object) -> Topology:
    made = Topology("t")
    made.bolt("b", component, **options).shuffle(made.spout("s", lambda: iter(()), outputs=("x",)))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("use", "code", "hint"),
    [
        (lambda c: c.feed("b", [1]), "feed_unmocked", "mocked: s"),
        (lambda c: c.feed("s", [1], stream="other"), "stream_unknown", "default"),
        (lambda c: c.feed("s", [(1, 2)]), "feed_shape", "x"),
        (lambda c: c.feed("s", [1, 2], ids=[1]), "feed_ids", "one id for each"),
        (lambda c: c.task("bb", Keep), "component_unknown", "components: b, s"),
        (lambda c: c.emitted("b", "other"), "stream_unknown", "default"),
        (lambda c: c.acked("x"), "component_unknown", "b, s"),
        (lambda c: c.inject("s", ValueError()), "inject_spout", "bolt"),
        (lambda c: c.inject("nobody", ValueError()), "component_unknown", "b, s"),
    ],
)
def test_wrong_use_says_what_was_wrong(use: object, code: str, hint: str) -> None:
    with LocalCluster(topology(), mock_sources={"s": []}) as cluster, pytest.raises(TopologyError) as caught:
        use(cluster)  # type: ignore[operator]
    assert caught.value.code == code
    assert hint in str(caught.value)


def test_a_wrong_mock_and_wrong_settings_are_refused_at_once() -> None:
    with pytest.raises(TopologyError, match='did you mean "s"') as mocked:
        LocalCluster(topology(), mock_sources={"ss": []})
    assert mocked.value.code == "mock_unknown"
    with pytest.raises(ConfigError) as settings:
        LocalCluster(topology(), settings={"topology.retrys": 1, "topology.message.timeout.secs": "soon"})
    assert [defect.code for defect in settings.value.defects] == ["setting_unknown", "setting_invalid"]


def test_task_checks_the_class() -> None:
    with LocalCluster(topology(), mock_sources={"s": []}) as cluster:
        with pytest.raises(TypeError, match='task 0 of "b" is a Keep, not a dict'):
            cluster.task("b", dict)
        with pytest.raises(IndexError):
            cluster.task("b", Keep, 7)


def test_what_was_seen_can_be_asked_after_the_end() -> None:
    with LocalCluster(topology(), mock_sources={"s": ["a", "b"]}) as cluster:
        cluster.inject("b", ValueError("no"), times=4, when=lambda tup: tup["x"] == "b")
        cluster.advance(60)
    assert cluster.emitted("s") == [("a",), ("b",), ("b",), ("b",), ("b",)]
    assert (cluster.acked("s"), cluster.failed("s")) == (["a"], ["b"] * 4)
    assert len(cluster.dead_letters()) == 1
    assert len(cluster.errors()) == 4
    assert cluster.metrics()["s"]["dead"] == 1
    assert cluster.task("b", Keep).closed


@pytest.mark.parametrize(
    "use",
    [
        lambda c: c.feed("s", ["late"]),
        lambda c: c.run_until_idle(),
        lambda c: c.advance(1),
        lambda c: c.finish(),
        lambda c: c.drain(),
        lambda c: c.inject("b", ValueError()),
        lambda c: c.__enter__(),
    ],
    ids=["feed", "run", "advance", "finish", "drain", "inject", "with"],
)
@pytest.mark.parametrize("opened", [True, False])
def test_nothing_is_done_with_a_closed_cluster(use: Callable[[LocalCluster], object], opened: bool) -> None:
    cluster = LocalCluster(topology(), mock_sources={"s": []})
    if opened:
        cluster.open()
    cluster.close()
    with pytest.raises(TopologyError) as caught:
        use(cluster)
    assert caught.value.code == "cluster_closed"
    assert cluster.acked("s") == []


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize("by", [float("nan"), float("inf"), -1.0, timedelta(seconds=-1)])
def test_time_moves_by_a_finite_duration_and_never_back(by: float | timedelta, simulated: bool) -> None:
    with LocalCluster(topology(), mock_sources={"s": []}, simulated_time=simulated) as cluster:
        with pytest.raises(TopologyError, match="advance"):
            cluster.advance(by)
        cluster.advance(0)


def listening(address: str, **options: object) -> Topology:
    made = Topology("t")
    made.bolt("b", Keep).shuffle(made.spout("s", TcpSpout.listen(address), **options), rename={"line": "x"})  # type: ignore[arg-type]
    return made


def test_spout_that_listens_is_mocked_in_simulated_time() -> None:
    """Semantics 40: sources with sockets need `mock_sources`; no port is bound."""
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(TopologyError, match=r'spout "s" listens') as caught:
        LocalCluster(listening(address))
    assert caught.value.code == "simulated_world"
    with LocalCluster(listening(address), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.task("b", Keep).rows == ["a"]


def test_tasks_of_a_spout_that_listens_share_its_address_in_real_time() -> None:
    port = free_port()
    with LocalCluster(listening(f"127.0.0.1:{port}", parallelism=2), simulated_time=False) as cluster:
        cluster.open()
        for number in range(8):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(b"%d\n" % number)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1) != b"":
                    cluster.advance(0.01)
        wait_until(lambda: cluster.advance(0.01) or len(cluster.task("b", Keep).rows) == 8)
        assert sorted(cluster.task("b", Keep).rows) == [str(number) for number in range(8)]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


def test_without_a_with_block_the_first_use_opens() -> None:
    cluster = LocalCluster(topology(), mock_sources={"s": ["a"]})
    cluster.run_until_idle()
    assert cluster.acked("s") == ["a"]
    cluster.close()
    cluster.close()
    assert cluster.task("b", Keep).closed


def test_spouts_that_are_mocked_are_never_made_or_opened() -> None:
    """No port is bound, no generator is started."""

    def never() -> object:
        raise AssertionError("made")
        yield

    class Opens(Keep):
        opened: bool = False

        def open(self, context: TopologyContext) -> None:
            self.opened = True

    made = Topology("t")
    made.bolt("b", Opens).shuffle(made.spout("s", never, outputs=("x",)))
    with LocalCluster(made, mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.task("b", Opens).opened
        assert cluster.acked("s") == ["a"]


def test_fed_values_go_to_the_tasks_of_a_spout_in_turn() -> None:
    made = Topology("t")

    def where(x: int, tup: Tuple) -> tuple[int, int]:
        return tup.source_task, x

    made.bolt("b", where, outputs=("task", "x")).shuffle(
        made.spout("s", lambda: iter(()), outputs=("x",), parallelism=2)
    )
    with LocalCluster(made, mock_sources={"s": [0]}) as cluster:
        for value in (1, 2, 3):
            cluster.feed("s", [value])
        cluster.run_until_idle()
        by_task: dict[int, list[int]] = {}
        for task, x in cluster.emitted("b"):
            by_task.setdefault(task, []).append(x)
        assert sorted(by_task.values()) == [[0, 2], [1, 3]]


def test_feed_takes_another_stream_and_named_tuples() -> None:
    made = Topology("t")
    spout = made.spout("s", lambda: iter(()), outputs=("x",), streams={"pairs": ("a", "b")})
    made.bolt("b", Keep).shuffle(spout)
    made.bolt("pairs", lambda b, a: f"{a}{b}", outputs=("y",)).shuffle(spout["pairs"])
    with LocalCluster(made, mock_sources={"s": ["x"]}) as cluster:
        assert cluster.feed("s", [(1, 2), (3, 4)], stream="pairs") == [(1, 2), (3, 4)]
        cluster.feed("s", ["y"])
        cluster.run_until_idle()
        assert cluster.emitted("pairs") == [("12",), ("34",)]
        assert cluster.emitted("s", "pairs") == [(1, 2), (3, 4)]
        assert cluster.task("b", Keep).rows == ["x", "y"]


def test_inject_counts_inputs_that_when_accepts_and_keeps_its_orders_apart() -> None:
    with LocalCluster(topology(on_error="drop"), mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("even"), times=2, when=lambda tup: tup["x"] % 2 == 0)
        cluster.inject("b", KeyError("any"))
        cluster.feed("s", range(6))
        cluster.run_until_idle()
        assert cluster.task("b", Keep).rows == [3, 4, 5]
        assert cluster.metrics()["b"]["dropped"] == 3


def test_a_closed_cluster_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    class Async(Keep):
        async def process(self, x: object) -> object:
            await asyncio.sleep(1000)
            return x

    threads = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in (Keep, Async):
            for simulated in (True, False):
                with LocalCluster(topology(kind), mock_sources={"s": ["a"]}, simulated_time=simulated) as cluster:
                    cluster.worker.run(until_idle=True, deadline=cluster.worker.monotonic() + 0.01)
                    instance = weakref.ref(cluster.task("b", kind))
                del cluster
                gc.collect()
                assert instance() is None
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []


def test_an_open_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    class Fails(Keep):
        def open(self, context: TopologyContext) -> None:
            raise OSError("no")

    with pytest.raises(OSError, match="no"), LocalCluster(topology(Fails), mock_sources={"s": []}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_real_time_is_real_and_threads_are_threads() -> None:
    class Blocking(Keep):
        blocking = True

        def process(self, x: object) -> object:
            return threading.current_thread().name

    class Async(Keep):
        async def process(self, x: object) -> object:
            await asyncio.sleep(0.05)
            return threading.current_thread().name

    for kind in (Blocking, Async):
        with LocalCluster(topology(kind), mock_sources={"s": ["a"]}, simulated_time=False) as cluster:
            began = time.monotonic()
            cluster.run_until_idle()
            assert cluster.acked("s") == ["a"]
            assert time.monotonic() - began < 5
            assert cluster.emitted("b") != [(threading.current_thread().name,)]
            assert cluster.feed("s", ["b"]) == ["b"]
            cluster.run_until_idle()
            assert cluster.acked("s") == ["a", "b"]


def test_real_time_gives_up_on_code_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "REAL_IDLE_WITHIN_S", 0.2)
    release = threading.Event()

    class Hangs(Keep):
        blocking = True

        def process(self, x: object) -> None:
            release.wait()

    with LocalCluster(topology(Hangs), mock_sources={"s": ["a"]}, simulated_time=False) as cluster:
        try:
            with pytest.raises(TimeoutError, match='"b" has 0 tuples queued and 1 in its hands'):
                cluster.run_until_idle()
        finally:
            release.set()


def test_advance_in_real_time_waits_and_runs_what_comes_due() -> None:
    with LocalCluster(topology(), mock_sources={"s": []}, simulated_time=False) as cluster:
        cluster.inject("b", ValueError("once"))
        cluster.feed("s", ["a"])
        began = time.monotonic()
        cluster.advance(0.3)
        assert time.monotonic() - began >= 0.3
        assert cluster.acked("s") == ["a"]


def test_complete_topology_in_one_line() -> None:
    assert complete_topology(topology(), {"s": ["a", "b"]}) == {"s": [("a",), ("b",)], "b": [("a",), ("b",)]}


def test_complete_topology_names_a_spout_that_never_ends() -> None:
    def endless() -> object:
        while True:
            yield None

    made = Topology("t")
    made.bolt("b", Keep).shuffle(made.spout("s", endless, outputs=("x",)))
    with pytest.raises(TimeoutError, match='spout "s" is not exhausted'):
        complete_topology(made, {})


def in_process(attempt: Callable[[], None]) -> Topology:
    def bolt(x: object) -> object:
        attempt()
        return x

    return topology(bolt, outputs=("y",))


def in_a_blocking_call(attempt: Callable[[], None]) -> Topology:
    def bolt(x: object) -> object:
        attempt()
        return x

    return topology(bolt, outputs=("y",), blocking=True)


def in_a_generator(attempt: Callable[[], None]) -> Topology:
    def bolt(x: object) -> Iterator[object]:
        attempt()
        gc.collect()
        yield x

    return topology(bolt, outputs=("y",))


def in_a_tick(attempt: Callable[[], None]) -> Topology:
    class Ticks(Keep):
        tick_every = 1.0

        def tick(self) -> None:
            attempt()

    return topology(Ticks)


@pytest.mark.parametrize("place", [in_process, in_a_blocking_call, in_a_generator, in_a_tick])
def test_code_that_the_worker_runs_cannot_close_it(place: Callable[..., Topology]) -> None:
    """It would let go of the very task that runs; the attempt raises, and the run goes on."""
    refused: list[str] = []

    def attempt() -> None:
        with pytest.raises(RuntimeError) as caught:
            cluster.worker.close()
        refused.append(str(caught.value))

    cluster = LocalCluster(place(attempt), mock_sources={"s": ["a", "b"]})
    with cluster:
        cluster.advance(1)
        assert len(refused) >= 1
        assert "its own code cannot close it" in refused[0]
        assert cluster.errors() == []
        cluster.feed("s", ["c"])
        cluster.run_until_idle()
        assert cluster.acked("s") == ["a", "b", "c"]
        assert cluster.emitted("b") == [("a",), ("b",), ("c",)]


def test_code_that_the_worker_runs_cannot_run_it() -> None:
    """Not a second loop within the first: that raises, and the run goes on."""

    def nested(x: object) -> object:
        with pytest.raises(RuntimeError, match="its own code cannot run it"):
            cluster.run_until_idle()
        return x

    cluster = LocalCluster(topology(nested, outputs=("y",)), mock_sources={"s": ["a", "b"]})
    with cluster:
        cluster.run_until_idle()
        assert cluster.errors() == []
        assert cluster.acked("s") == ["a", "b"]


def test_a_tuple_that_was_kept_tells_what_it_is_after_the_end() -> None:
    kept: list[Tuple] = []

    def keep(tup: Tuple) -> None:
        kept.append(tup)

    with LocalCluster(topology(keep), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
    del cluster
    gc.collect()
    (tup,) = kept
    assert (tup.values, tup["x"], tup[0], tup.fields) == (("a",), "a", "a", ("x",))
    assert (tup.source, tup.stream, tup.attempt, len(tup.roots)) == ("s", "default", 1, 1)


def test_clusters_leave_no_descriptors() -> None:
    def open_descriptors() -> int:
        topology = Topology("t")
        topology.bolt("b", lambda n: None).shuffle(topology.spout("s", lambda: iter(()), outputs=("n",)))
        with LocalCluster(topology, mock_sources={"s": [1]}) as cluster:
            cluster.finish()
        with LocalCluster(topology, mock_sources={"s": [1]}, workers=2, faults=Faults(crash=0.5, most=3)) as cluster:
            cluster.finish()
        del cluster
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = open_descriptors()
    assert [open_descriptors() for _ in range(3)] == [before] * 3


def test_commit_tells_a_spout_that_its_position_is_kept() -> None:
    class Counting(Spout):
        outputs = ("n",)
        committed: ClassVar[list[bytes]] = []

        def open(self, context: Any) -> None:
            self.given = 0

        def next_batch(self, limit: int) -> list[int]:
            new = list(range(self.given, min(3, self.given + limit)))
            self.given += len(new)
            return new

        def position(self) -> bytes:
            return b"%d" % self.context.ended_prefix()

        def seek(self, position: bytes) -> None:
            self.given = int(position)

        def commit(self, position: bytes) -> None:
            self.committed.append(position)

    topology = Topology("positions")
    topology.bolt("sink", lambda n: None).shuffle(topology.spout("numbers", Counting))
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        assert cluster.commit("numbers") == b"3"
    assert Counting.committed == [b"3"]


def test_a_position_that_another_system_keeps_is_committed_there_and_told_to_nobody() -> None:
    class Elsewhere(Spout):
        outputs = ("n",)

        def next_tuple(self) -> None:
            pass

        def position(self) -> None:
            return None

        def commit(self, position: bytes) -> None:
            raise AssertionError

    topology = Topology("positions")
    topology.bolt("sink", lambda n: None).shuffle(topology.spout("numbers", Elsewhere))
    with LocalCluster(topology) as cluster:
        assert cluster.position("numbers") is None
        assert cluster.commit("numbers") is None
