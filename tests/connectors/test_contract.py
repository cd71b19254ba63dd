"""What every `Sink` has in common, on a system in a file: outages, rows that are refused, what people are told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from squall import Topology, Tuple
from squall.connectors.contract import Sink, Unavailable
from squall.errors import DeadLetter
from squall.testing import LocalCluster

from .shelf import Shelf, ShelfSink

ROWS = [(number, f"row {number}") for number in range(50)]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def cluster_of(sink: Sink, rows: Sequence[Any] = ROWS, **settings: Any) -> LocalCluster:
    topology = Topology("sinks")
    source = topology.spout("rows", lambda: iter(()), outputs=("number", "text"))
    topology.bolt("sink", lambda: sink).shuffle(source)
    return LocalCluster(topology, mock_sources={"rows": rows}, simulated_time=False, settings=settings)


def run_until(cluster: LocalCluster, condition: Callable[[], Any], within_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        cluster.advance(0.005)


def figures(cluster: LocalCluster) -> Any:
    return cluster.metrics()["sink"]["user"]


class Noting(ShelfSink):
    """Notes its calls; `trouble` may raise at a write."""

    def __init__(self, shelf: Shelf, trouble: Callable[[Sequence[Tuple]], None] = lambda _rows: None) -> None:
        super().__init__(shelf)
        self.calls: list[str] = []
        self.batches: list[list[int]] = []
        self.trouble = trouble

    def connect(self) -> None:
        self.calls.append("connect")
        super().connect()

    def disconnect(self) -> None:
        self.calls.append("disconnect")
        super().disconnect()

    def write(self, rows: Sequence[Tuple]) -> None:
        self.batches.append([row["number"] for row in rows])
        self.trouble(rows)
        super().write(rows)


def once(error: Exception) -> Callable[[Sequence[Tuple]], None]:
    errors = [error]

    def trouble(_rows: Sequence[Tuple]) -> None:
        if errors:
            raise errors.pop()

    return trouble


def test_rows_are_written_in_batches_and_in_their_order(shelf: Shelf) -> None:
    sink = Noting(shelf)
    with cluster_of(sink) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 50)
        assert figures(cluster) == {"rows": 50, "batches": len(sink.batches), "errors": 0, "waiting_s": 0.0}
        assert len(sink.batches) < 50
    assert shelf.numbers() == list(range(50))
    assert sink.calls == ["connect", "disconnect"]


def test_an_outage_at_the_start_is_waited_for_with_the_first_row(shelf: Shelf) -> None:
    sink = Noting(shelf)
    with shelf.unavailable():
        cluster = cluster_of(sink, ())
        cluster.open()
        cluster.run_until_idle()  # without a row nothing waits
    cluster.feed("rows", ROWS)
    run_until(cluster, lambda: len(cluster.acked("rows")) == 50)
    [error] = cluster.errors()
    assert error.error == "ClusterError: the shelf is not available: the shelf is locked"
    assert cluster.failed("rows") == []
    cluster.close()
    assert shelf.numbers() == list(range(50))


def test_an_outage_in_the_middle_fails_nothing_and_is_told_once(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    """The sink finds it away three times; nobody reads of it more than once, nor of its end."""
    away = [Unavailable("refused"), Unavailable("reset"), Unavailable("the pipe broke")]

    def trouble(rows: Sequence[Tuple]) -> None:
        if away and rows[-1]["number"] >= 60:
            raise away.pop()

    caplog.set_level(logging.INFO, "squall.connectors")
    sink = Noting(shelf, trouble)
    with cluster_of(sink) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 50)
        cluster.feed("rows", [(number, "late") for number in range(50, 100)])
        run_until(cluster, lambda: len(cluster.acked("rows")) == 100)
        assert cluster.failed("rows") == []
        [error] = cluster.errors()
        assert error.error == "ClusterError: the shelf is not available: the pipe broke"
        assert "code: sink_unavailable" in error.traceback
        assert figures(cluster)["waiting_s"] == 0.0
    assert shelf.numbers() == list(range(100))
    assert sink.calls == ["connect", "disconnect"] * 4
    assert caplog.text.count("event=available what='the shelf' after_s=0.") == 1


def test_each_outage_is_told_and_pauses_begin_anew(shelf: Shelf) -> None:
    sink = Noting(shelf)
    with cluster_of(sink, ()) as cluster:
        for number in range(3):
            sink.trouble = once(Unavailable(f"outage {number}"))
            cluster.feed("rows", [(number, "")])
            began_s = time.monotonic()
            run_until(cluster, lambda number=number: len(cluster.acked("rows")) == number + 1)
            assert time.monotonic() - began_s < 2  # 0.1 s each, not 0.1 + 0.2 + 0.4
        assert [report.error[-8:] for report in cluster.errors()] == ["outage 0", "outage 1", "outage 2"]


def test_how_long_it_waits_is_shown(shelf: Shelf) -> None:
    waited: list[float] = []

    def trouble(_rows: Sequence[Tuple]) -> None:
        waited.append(figures(cluster)["waiting_s"])
        if len(waited) < 4:
            raise Unavailable("not yet")

    with cluster_of(Noting(shelf, trouble)) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 50)
    assert waited[0] == 0.0
    assert waited[1:] == sorted(waited[1:])
    assert waited[3] > 0.2


@pytest.mark.parametrize("bad", [{0}, {49}, {7, 8}, {0, 13, 49}, set(range(50))])
def test_of_a_batch_only_the_rows_that_are_to_blame_fail(shelf: Shelf, bad: set[int]) -> None:
    rows = [(number, None if number in bad else "good") for number in range(50)]
    sink = Noting(shelf)
    with cluster_of(sink, rows) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) + len(cluster.dead_letters()) == 50)
        assert sorted(letter.values[0] for letter in cluster.dead_letters()) == sorted(bad)
        assert all("the shelf has no place for it" in letter.error for letter in cluster.dead_letters())
        assert all(letter.attempts == 1 for letter in cluster.dead_letters())
        assert figures(cluster)["errors"] == len(bad)
        assert figures(cluster)["rows"] == 50 - len(bad)
    assert shelf.numbers() == [number for number in range(50) if number not in bad]


def test_a_row_that_fails_otherwise_is_tried_again_and_counted(shelf: Shelf) -> None:
    def trouble(rows: Sequence[Tuple]) -> None:
        if any(row["number"] == 13 for row in rows):
            raise ValueError("no thirteens")

    with cluster_of(Noting(shelf, trouble), **{"topology.retries": 1}) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 49 and cluster.dead_letters())
        [letter] = cluster.dead_letters()
        assert (letter.values[0], letter.attempts) == (13, 2)
    assert shelf.numbers() == [number for number in range(50) if number != 13]


def test_an_outage_among_the_halves_of_a_batch_keeps_the_order(shelf: Shelf) -> None:
    calls = 0

    def trouble(rows: Sequence[Tuple]) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise Unavailable("now and then")
        if any(row["number"] == 20 for row in rows):
            raise DeadLetter("no twenties")

    with cluster_of(Noting(shelf, trouble)) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 49)
    assert shelf.numbers() == [number for number in range(50) if number != 20]


class Locked(ShelfSink):
    """Has a password that may be wrong."""

    password = "wrong"

    def connect(self) -> None:
        if self.password == "wrong":
            raise PermissionError("wrong password")
        super().connect()


def test_what_will_not_pass_by_itself_ends_the_run_at_its_start(shelf: Shelf) -> None:
    with pytest.raises(PermissionError, match="wrong password"), cluster_of(Locked(shelf)):
        pass


def test_what_will_not_pass_by_itself_is_waited_for_later_on(shelf: Shelf) -> None:
    """Whoever changed the password mends it while the topology runs; nothing is lost."""
    sink = Locked(shelf)
    sink.password = "right"
    with cluster_of(sink, ()) as cluster:
        cluster.run_until_idle()
        sink.password = "wrong"
        tries: list[float] = []
        connect = sink.connect

        def mended_at_the_third() -> None:
            tries.append(time.monotonic())
            if len(tries) == 3:
                sink.password = "right"
            connect()

        sink.connect = mended_at_the_third
        sink.write = lambda rows: (
            (_ for _ in ()).throw(Unavailable("logged out")) if not tries else ShelfSink.write(sink, rows)
        )
        cluster.feed("rows", ROWS)
        run_until(cluster, lambda: len(cluster.acked("rows")) == 50)
        assert len(tries) == 3
        assert tries[2] - tries[1] > tries[1] - tries[0] > 0.05
        [error] = cluster.errors()
        assert "logged out" in error.error
    assert shelf.numbers() == list(range(50))


def test_a_disconnect_that_raises_hides_nothing(shelf: Shelf) -> None:
    class Clumsy(Noting):
        def disconnect(self) -> None:
            raise OSError("not connected")

    with cluster_of(Clumsy(shelf, once(Unavailable("reset")))) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 50)
    assert shelf.numbers() == list(range(50))


def test_a_write_may_say_row_by_row_what_failed(shelf: Shelf) -> None:
    class Knowing(Noting):
        def write(self, rows: Sequence[Tuple]) -> list[Exception | None]:
            super().write([row for row in rows if row["text"] is not None])
            return [DeadLetter("no text") if row["text"] is None else None for row in rows]

    rows = [(number, None if number in (3, 4) else "good") for number in range(50)]
    sink = Knowing(shelf)
    with cluster_of(sink, rows) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) + len(cluster.dead_letters()) == 50)
        assert sorted(letter.values[0] for letter in cluster.dead_letters()) == [3, 4]
        assert (figures(cluster)["rows"], figures(cluster)["errors"]) == (48, 2)
    assert sum(map(len, sink.batches)) == 48  # none was halved
