"""The API page, "Topologies" and "Life": what a component is, wiring, settings, contexts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from squall import Bolt, Emit, Fields, Spout, Topology, TopologyContext
from squall.errors import TopologyError
from squall.testing import LocalCluster
from topologies import Record, recorded, single, source


class Click(NamedTuple):
    user: str
    url: str


@dataclass
class Flush(Bolt):
    """A dataclass that is not hashable and never calls `super().__init__`."""

    rows: list[str]
    limit: int = 3
    seen: list[str] = field(default_factory=list)

    def process(self, x: str) -> None:
        self.seen.append(x)


class NoSuper(Bolt):
    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[str] = []

    def process(self, x: str) -> None:
        self.seen.append(x)


class Slotted(Bolt):
    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: list[str] = []

    def process(self, x: str) -> None:
        self.seen.append(x)


@pytest.mark.parametrize(
    ("component", "kind"),
    [
        (Flush([]), Flush),
        (lambda: Flush([]), Flush),
        (NoSuper("n"), NoSuper),
        (lambda: NoSuper("n"), NoSuper),
        (Slotted, Slotted),
        (Slotted(), Slotted),
    ],
    ids=["dataclass", "factory", "no super", "factory without super", "slots class", "slots"],
)
def test_a_component_is_an_instance_a_class_or_a_factory(component: object, kind: type[Any]) -> None:
    with LocalCluster(single(component, parallelism=2), mock_sources={"s": ["a", "b"]}) as cluster:
        cluster.run_until_idle()
        tasks = [cluster.task("b", kind, index) for index in range(2)]
        assert tasks[0] is not tasks[1]
        assert sorted(tasks[0].seen + tasks[1].seen) == ["a", "b"]


def test_a_factory_shares_what_it_closes_over_and_an_instance_is_copied() -> None:
    rows: list[str] = []
    for component, shared in [(lambda: Flush(rows), True), (Flush(rows), False)]:
        with LocalCluster(single(component), mock_sources={"s": []}) as cluster:
            assert (cluster.task("b", Flush).rows is rows) == shared


def test_what_cannot_be_copied_says_so() -> None:
    with pytest.raises(TopologyError) as caught:
        LocalCluster(single(Flush(threading.Lock())), mock_sources={"s": []})  # type: ignore[arg-type]
    assert caught.value.code == "component_copy"
    assert '"b"' in str(caught.value)


def numbers() -> Iterator[int]:
    yield from range(3)


class Numbers(Spout):
    outputs = ("x",)

    def __init__(self, start: int = 0) -> None:
        self.left = list(range(start, 3))

    def next_tuple(self) -> int | None:
        return self.left.pop(0) if self.left else None


def with_context(context: TopologyContext) -> Iterator[str]:
    return iter([context.component])


@pytest.mark.parametrize(
    ("component", "rows"),
    [
        (numbers, [0, 1, 2]),
        (lambda: iter([5]), [5]),
        (Numbers, [0, 1, 2]),
        (Numbers(1), [1, 2]),
        (lambda: Numbers(2), [2]),
        (with_context, ["s"]),
    ],
    ids=["generator", "iterator", "class", "instance", "factory", "context"],
)
def test_a_spout_is_called_once_a_task_and_gives_a_spout_or_an_iterator(component: Any, rows: list[object]) -> None:
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", component, outputs=("x",)))
    with LocalCluster(topology) as cluster:
        cluster.advance(0.01)
        assert cluster.emitted("s") == [(row,) for row in rows]


@pytest.mark.parametrize(
    "outputs",
    [("user", "url"), {"user": str, "url": str}, Click, Fields(Click), Fields(("user", "url"))],
    ids=["names", "types", "NamedTuple", "Fields of NamedTuple", "Fields"],
)
def test_outputs_are_names_types_or_a_named_tuple(outputs: Any) -> None:
    topology = recorded(lambda x: Click(x, "/"), outputs=outputs)
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.emitted("b") == [("a", "/")]


def test_wiring_is_stronger_than_the_class() -> None:
    """wiring > class attribute > `-c` > default."""

    class Own(Record):
        outputs = ("of_class",)
        on_error = "dead"
        tick_every = 5.0
        ticks = 0

        def tick(self) -> None:
            self.ticks += 1

    with LocalCluster(single(Own), mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", ValueError("no"))
        cluster.advance(10)
        assert len(cluster.dead_letters()) == 1
        assert cluster.task("b", Own).ticks == 2
    options: dict[str, Any] = {"on_error": "drop", "tick_every": 1, "outputs": ("of_wiring",)}
    with LocalCluster(single(Own, **options), mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", ValueError("no"))
        cluster.advance(10)
        assert cluster.dead_letters() == []
        assert cluster.task("b", Own).ticks == 10
        (spec,) = [spec for spec in cluster.components if spec.name == "b"]
        assert spec.streams["default"].fields == ("of_wiring",)
    options = {"settings": {"topology.tick.tuple.freq.secs": 2}}
    with LocalCluster(single(Own, **options), mock_sources={"s": []}) as cluster:
        cluster.advance(10)
        assert cluster.task("b", Own).ticks == 5


def test_settings_of_the_topology_are_stronger_than_those_of_the_command() -> None:
    topology = Topology("t", settings={"topology.retries": 1})
    topology.bolt("b", Record, settings={"topology.max.spout.pending": 9}).shuffle(source(topology))
    settings = {"topology.retries": 7, "topology.message.timeout.secs": 5}
    with LocalCluster(topology, mock_sources={"s": []}, settings=settings) as cluster:
        seen = cluster.task("b", Record).context.settings
        assert (seen["topology.retries"], seen["topology.message.timeout.secs"]) == (1, 5.0)
        assert seen["topology.max.spout.pending"] == 9


def test_loops_can_be_wired() -> None:
    """Grouping methods change the bolt and return it."""

    def down(x: int) -> Emit | None:
        return Emit(x - 1) if x else None

    topology = Topology("t")
    bolt = topology.bolt("b", down, outputs=("x",))
    assert bolt.shuffle(source(topology)) is bolt
    assert bolt.shuffle(bolt) is bolt
    with LocalCluster(topology, mock_sources={"s": [5]}) as cluster:
        cluster.run_until_idle()
        assert cluster.emitted("b") == [(4,), (3,), (2,), (1,), (0,)]
        assert cluster.acked("s") == [5]


def test_tasks_may_be_more_than_executors() -> None:
    topology = single(Record, parallelism=2, tasks=4)
    with LocalCluster(topology, mock_sources={"s": range(8)}) as cluster:
        cluster.run_until_idle()
        assert [len(cluster.task("b", Record, index).rows) for index in range(4)] == [2, 2, 2, 2]


def test_a_context_tells_the_place_of_its_task() -> None:
    contexts: list[TopologyContext] = []

    class Look(Record):
        def open(self, context: TopologyContext) -> None:
            assert self.context is context
            contexts.append(context)

    topology = single(Look, parallelism=3)
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        assert [c.task_index for c in contexts] == [0, 1, 2]
        assert {(c.topology, c.component, c.task_count, c.worker) for c in contexts} == {("t", "b", 3, 1)}
        assert [c.task_id for c in contexts] == list(contexts[0].tasks("b"))
        assert contexts[0].topology_id == "t-1-0"
        assert len({c.work_dir for c in contexts}) == 3
        (contexts[0].work_dir / "file").write_text("kept while it runs")
        folder = contexts[0].work_dir
        cluster.run_until_idle()
    assert not folder.exists()


def test_shared_is_made_once_a_worker() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    class Shares(Record):
        def open(self, context: TopologyContext) -> None:
            self.model = context.shared("model", make)

    topology = Topology("t")
    numbers = source(topology)
    for name in ("b", "c"):
        topology.bolt(name, Shares, parallelism=2).shuffle(numbers)
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        models = {id(cluster.task(name, Shares, index).model) for name in ("b", "c") for index in range(2)}
        assert models == {id(made[0])}
        assert len(made) == 1


def test_what_is_shared_may_be_made_of_what_is_shared() -> None:
    class Shares(Record):
        def open(self, context: TopologyContext) -> None:
            self.pool = context.shared("pool", lambda: [context.shared("limits", dict)])

    with LocalCluster(single(Shares), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.task("b", Shares).pool == [{}]


def test_report_error_shows_an_error_and_fails_nothing() -> None:
    class Reports(Record):
        def process(self, x: str) -> None:
            self.context.report_error(LookupError(f"odd {x}"))

    with LocalCluster(single(Reports), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.acked("s") == ["a"]
        assert [(report.component, report.error) for report in cluster.errors()] == [("b", "LookupError: odd a")]


def test_error_reports_are_limited_as_storm_limits_them() -> None:
    """Storm 1.2.1 §2.2: five of a task in ten seconds, counted from the first one."""
    with LocalCluster(single(Record, retries=0), mock_sources={"s": range(20)}) as cluster:
        cluster.inject("b", ValueError("no"), times=60)
        cluster.run_until_idle()
        for wait_s, reports in ((9.9, 5), (0.1, 10)):
            cluster.advance(wait_s)
            cluster.feed("s", range(20))
            cluster.run_until_idle()
            assert len(cluster.errors()) == reports
        assert cluster.metrics()["b"]["errors"] == 60


def test_dropped_tuples_are_counted_and_reported_nowhere() -> None:
    with LocalCluster(single(Record, on_error="drop"), mock_sources={"s": range(20)}) as cluster:
        cluster.inject("b", ValueError("no"), times=20)
        cluster.run_until_idle()
        assert len(cluster.acked("s")) == 20
        assert cluster.metrics()["b"]["dropped"] == 20


def test_plain_logging_and_prints_work(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    def talk(x: str) -> None:
        print("printed", x)
        logging.getLogger("mine").warning("event=logged x=%s", x)

    with LocalCluster(single(talk), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
    assert "printed a" in capsys.readouterr().out
    (record,) = [record for record in caplog.records if record.name == "mine"]
    assert record.component == "b"


def bad_name(name: str) -> Callable[[], Topology]:
    def make() -> Topology:
        topology = Topology("t")
        topology.bolt(name, Record).shuffle(source(topology))
        return topology

    return make


def everything_wrong() -> Topology:
    topology = Topology("t")
    numbers = source(topology)
    topology.bolt("field", Record).fields(numbers, "y")
    topology.bolt("stream", Record).shuffle(numbers["nowhere"])
    topology.bolt("alone", Record)
    topology.bolt("few", Record, parallelism=0).shuffle(numbers)
    topology.bolt("direct", Record).direct(numbers)
    topology.bolt("string", Record, outputs=("word")).shuffle(numbers)  # type: ignore[arg-type]
    return topology


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a.b", "a:b", "a\\b", "__a", "a" * 101, "漢" * 67, "\ud800"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(TopologyError) as caught:
        LocalCluster(bad_name(name)())
    assert caught.value.code == "name_invalid"


@pytest.mark.parametrize("name", ["1", "a" * 100, "漢" * 66, "ä-b_c", "a__"])
def test_good_names_are_taken(name: str) -> None:
    with LocalCluster(bad_name(name)(), mock_sources={"s": []}) as cluster:
        assert cluster.task(name, Record).rows == []


def test_all_defects_are_told_at_once_each_with_its_component() -> None:
    """Declaring never raises for a defect of the graph; `LocalCluster` does."""
    topology = everything_wrong()
    with pytest.raises(TopologyError) as caught:
        LocalCluster(topology)
    codes = {defect.code for defect in caught.value.defects}
    assert {
        "grouping_field_missing",
        "stream_unknown",
        "bolt_without_input",
        "parallelism_invalid",
        "grouping_direct",
        "outputs_invalid",
    } <= codes
    for name in ("field", "stream", "alone", "few", "direct", "string"):
        assert f'"{name}"' in str(caught.value)
