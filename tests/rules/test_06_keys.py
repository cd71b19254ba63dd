"""Semantics §6: which task a key belongs to; and how the other groupings spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from squall import Bolt, Emit, Fields, Topology, TopologyContext, _core, register_type
from squall.errors import TopologyError
from squall.runtime import keys
from squall.testing import LocalCluster
from topologies import Record, single, source


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass(frozen=True)
class Place:
    city: str
    number: int


class Point(NamedTuple):
    x: int
    y: int


class Opaque:
    """Has no stable meaning."""


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


keys.install()
register_type(Money, key=lambda money: money.cents)
GOLDEN = Path(__file__).parents[2] / "crates/squall-core/tests/golden_keys.txt"
OSLO = timezone(timedelta(hours=2))
SAME: list[tuple[str, list[Any]]] = [
    ("one", [1, 1.0, True, Decimal(1), Decimal("1.00"), Fraction(1), np.int64(1), np.float32(1), np.bool_(True)]),
    ("a half", [0.5, Decimal("0.5"), Fraction(1, 2), np.float64(0.5), np.float16(0.5)]),
    ("zero", [0, -0.0, False, Decimal("-0")]),
    ("large", [10**40, Decimal(10**40), Fraction(10**40)]),
    ("negative", [-7, -7.0, Decimal(-7), np.int8(-7)]),
    ("nan", [math.nan, -math.nan, float("nan"), np.float64("nan"), Decimal("NaN")]),
    ("infinite", [math.inf, Decimal("Infinity"), np.float32("inf")]),
    ("enum", [Colour.RED, "red"]),
    ("int enum", [Level.HIGH, 3, 3.0]),
    ("bytes", [b"ab", bytearray(b"ab"), memoryview(b"ab")]),
    ("text", ["ä", np.str_("ä")]),
    ("sequence", [(1, 2), [1, 2], Point(1, 2), (1.0, Decimal(2))]),
    ("set", [{"a", "b", "c"}, frozenset({"c", "b", "a"})]),
    ("dict", [{"a": 1, "b": 2}, {"b": 2.0, "a": True}]),
    ("instant", [datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 14, tzinfo=OSLO)]),
    ("dataclass", [Place("Oslo", 1), Place("Oslo", 1)]),
    ("registered", [Money(5), Money(5)]),
]
DIFFERENT: list[tuple[Any, Any]] = [
    (1, "1"),
    (0, None),
    ("", None),
    ("a", b"a"),
    ("\ud800", "\udfff"),
    ("\ud800", "?"),
    ((1, 2), (2, 1)),
    ((1, (2,)), ((1, 2),)),
    ((), None),
    ({1}, (1,)),
    (datetime(2026, 1, 1, 12), datetime(2026, 1, 1, 12, tzinfo=UTC)),
    (date(2026, 1, 1), datetime(2026, 1, 1)),
    (time(1), timedelta(hours=1)),
    (UUID(int=1), 1),
    (Place("Oslo", 1), Place("Oslo", 2)),
    (2**61 - 1, 1),
    (0.1, Fraction(1, 10)),
]


@pytest.mark.parametrize("equal", [keys for _, keys in SAME], ids=[name for name, _ in SAME])
def test_equal_keys_hash_alike_whatever_their_type(equal: list[Any]) -> None:
    """Semantics 29."""
    assert len({_core.stable_hash(key) for key in equal}) == 1
    assert len({_core.stable_hash((key, "with others")) for key in equal}) == 1


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=repr)
def test_different_keys_hash_differently(one: object, other: object) -> None:
    """Semantics 29."""
    assert _core.stable_hash(one) != _core.stable_hash(other)


def golden() -> dict[str, str]:
    lines = GOLDEN.read_text().splitlines()
    return dict(line.split("\t") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(("literal", "expected"), golden().items())
def test_the_product_hashes_as_the_golden_vectors_say(literal: str, expected: str) -> None:
    """Semantics 29."""
    assert f"{_core.stable_hash(eval(literal)):016x}" == expected


NAMED: list[tuple[str, object, str]] = [
    ("TAG_INSTANT", datetime(2026, 1, 1, 14, 30, 0, 5, tzinfo=OSLO), "4a8be54ecee1ad88"),
    ("TAG_DATETIME", datetime(2026, 1, 1, 12), "b3dc0a0dd1dcf051"),
    ("TAG_DATE", date(2026, 1, 1), "c14fb4bb1b42da4b"),
    ("TAG_TIME", time(1, 2, 3, 4), "d3562573f0d769e6"),
    ("TAG_DURATION", timedelta(days=-1, microseconds=5), "cd2bf8c7990b1ece"),
    ("TAG_UUID", UUID(int=7), "1243b79df0b1322c"),
    ("TAG_DATACLASS", Place("Oslo", 1), "8fd4644708c46cff"),
    ("TAG_REGISTERED", Money(5), "a59571dd6e237500"),
]
"""Values that Python names for the core, by a tag of the core's one table. A line is never changed."""


@pytest.mark.parametrize(("tag", "key", "expected"), NAMED, ids=[tag for tag, _, _ in NAMED])
def test_named_values_hash_as_they_always_did(tag: str, key: object, expected: str) -> None:
    """Semantics 29. State is looked for in the task that the hash chose when it was stored."""
    assert keys.reduce(key)[0] == getattr(_core, tag)
    assert f"{_core.stable_hash(key):016x}" == expected


def test_equal_keys_meet_in_one_task() -> None:
    """Semantics 29, 30."""
    topology = Topology("t")
    topology.bolt("b", Record, parallelism=8).fields(source(topology, fields=("key", "n")), "key")
    fed = [(key, number) for number, (_, equal) in enumerate(SAME) for key in equal]
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        cluster.feed("s", fed, ids=range(len(fed)))
        cluster.run_until_idle()
        tasks_of: dict[int, set[int]] = {}
        for index in range(8):
            for _, number in cluster.task("b", Record, index).rows:
                tasks_of.setdefault(number, set()).add(index)
        assert tasks_of.keys() == set(range(len(SAME)))
        assert all(len(tasks) == 1 for tasks in tasks_of.values())


@pytest.mark.parametrize(
    "key", [Opaque(), object(), (1, Opaque()), {"k": Opaque()}, 1j, np.arange(3)], ids=lambda key: type(key).__name__
)
def test_a_key_without_a_stable_meaning_fails_its_tuple(key: object) -> None:
    """Semantics 29. `key_type_unstable`."""
    topology = Topology("t")
    made = topology.bolt("make", lambda x: (key,), outputs=("key",), retries=0).shuffle(source(topology))
    topology.bolt("b", Record, parallelism=2).fields(made, "key")
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        (letter,) = cluster.dead_letters()
        assert letter.component == "make"
        assert "code: key_type_unstable" in letter.traceback


@pytest.mark.parametrize("tasks", [1, 2, 3, 7, 1024])
def test_a_key_belongs_to_the_task_of_its_range(tasks: int) -> None:
    """Semantics 30. Range = multiply-high(hash, 1024), task = range × tasks / 1024."""
    for key in [0, "a", (1, "b"), None, b"x", 3.5, *range(100)]:
        number = _core.stable_hash(key)
        assert _core.task_of(number, tasks) == ((number * 1024) >> 64) * tasks // 1024


def test_several_fields_hash_as_a_tuple() -> None:
    """Semantics 30."""
    topology = Topology("t")
    topology.bolt("b", Record, parallelism=5).fields(source(topology, fields=("a", "b", "c")), "c", "a")
    rows = [(a, b, c) for a in range(5) for b in range(2) for c in range(5)]
    with LocalCluster(topology, mock_sources={"s": rows}) as cluster:
        cluster.run_until_idle()
        for index in range(5):
            for a, _, c in cluster.task("b", Record, index).rows:
                assert index == _core.task_of(_core.stable_hash((c, a)), 5)


def test_parallelism_above_1024_is_refused() -> None:
    """Semantics 30."""
    with pytest.raises(TopologyError, match="parallelism") as caught:
        LocalCluster(single(Record, parallelism=1025))
    assert caught.value.code == "parallelism_invalid"


def test_a_partial_key_has_two_tasks_that_share_it() -> None:
    """Semantics 30. Never the same task when there are two; the one that was sent less gets the tuple."""
    topology = Topology("t")
    topology.bolt("b", Record, parallelism=4).partial_key(source(topology, fields=("key", "n")), "key")
    with LocalCluster(topology, mock_sources={"s": [("hot", n) for n in range(100)]}) as cluster:
        cluster.run_until_idle()
        counts = [len(cluster.task("b", Record, index).rows) for index in range(4)]
        assert sorted(counts) == [0, 0, 50, 50]


def spread(grouping: str, *, parallelism: int = 4, count: int = 400, by: Sequence[str] = ()) -> list[int]:
    """How many of `count` tuples each task got."""
    topology = Topology("t")
    bolt = topology.bolt("b", Record, parallelism=parallelism)
    getattr(bolt, grouping)(source(topology), *by)
    with LocalCluster(topology, mock_sources={"s": range(count)}) as cluster:
        cluster.run_until_idle()
        assert len(cluster.acked("s")) == count
        return [len(cluster.task("b", Record, index).rows) for index in range(parallelism)]


def test_groupings_spread_as_they_say() -> None:
    """The API page, Topologies; Storm 1.2.1 §2.6: shuffle evenly, all to each, global to the lowest id."""
    assert spread("shuffle") == [100] * 4
    assert spread("local_or_shuffle") == [100] * 4
    assert spread("all") == [400] * 4
    assert spread("global_") == [400, 0, 0, 0]
    assert all(count == pytest.approx(100, abs=50) for count in spread("none"))
    assert all(count == pytest.approx(100, abs=50) for count in spread("fields", by=["x"]))


class Chooser:
    """Sends each value to the tasks whose numbers it holds."""

    def prepare(self, context: TopologyContext, stream: str, tasks: Sequence[int]) -> None:
        self.seen = (context.component, stream, list(tasks))
        self.tasks = tasks

    def choose(self, source_task: int, values: tuple[Any, ...]) -> list[int]:
        assert self.seen[:2] == ("s", "default")
        return [self.tasks[number] for number in values[0]]


def test_a_custom_grouping_chooses_none_one_or_several() -> None:
    """The API page, Topologies: `Grouping.prepare` once an emitting task, `choose` for each tuple."""
    topology = Topology("t")
    topology.bolt("b", Record, parallelism=3).custom(source(topology), Chooser())
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        cluster.feed("s", [([],), ([0],), ([1, 2],)], ids=["none", "one", "two"])
        cluster.run_until_idle()
        assert [len(cluster.task("b", Record, index).rows) for index in range(3)] == [1, 1, 1]
        assert sorted(cluster.acked("s")) == ["none", "one", "two"]


def test_a_custom_grouping_that_chooses_a_stranger_fails_the_tuple() -> None:
    """Semantics 7. An output that cannot be routed."""

    class Wrong(Chooser):
        def choose(self, source_task: int, values: tuple[Any, ...]) -> list[int]:
            return [source_task]

    topology = Topology("t")
    topology.bolt("b", Record).custom(source(topology), Wrong())
    with LocalCluster(topology, mock_sources={"s": ["a"]}, settings={"topology.retries": 0}) as cluster:
        cluster.run_until_idle()
        assert "code: emit_task_unknown" in cluster.dead_letters()[0].traceback


COMMANDS = {"commands": Fields(("x",), direct=True)}


class Direct(Bolt):
    """Sends each tuple to the task that it names."""

    streams = COMMANDS

    def process(self, x: int) -> Emit:
        tasks = self.context.tasks("b")
        return Emit(x, stream="commands", task=tasks[x] if x < len(tasks) else x)


def test_a_direct_stream_goes_to_the_task_that_the_emitter_names() -> None:
    """The API page, Topologies."""
    topology = Topology("t")
    direct = topology.bolt("direct", Direct, retries=0).shuffle(source(topology))
    topology.bolt("b", Record, parallelism=3).direct(direct["commands"])
    with LocalCluster(topology, mock_sources={"s": [2, 0, 2, 99]}) as cluster:
        cluster.run_until_idle()
        assert [cluster.task("b", Record, index).rows for index in range(3)] == [[(0,)], [], [(2,), (2,)]]
        assert [letter.values for letter in cluster.dead_letters()] == [(99,)]
        assert "code: emit_task_unknown" in cluster.dead_letters()[0].traceback


def test_an_emit_without_task_on_a_direct_stream_is_refused() -> None:
    """The API page, Topologies."""

    def bolt(x: str) -> Emit:
        return Emit(x, stream="commands")

    with LocalCluster(single(bolt, streams=COMMANDS, retries=0), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert "code: emit_direct_needs_task" in cluster.dead_letters()[0].traceback


def test_shuffle_turns_away_from_a_busy_task() -> None:
    """Storm 1.2.1 §2.6: load-aware unless `topology.disable.loadaware.messaging`."""

    class Uneven(Record):
        def open(self, context: TopologyContext) -> None:
            if context.task_index == 0:
                context.pause(1000)

    topology = Topology("t")
    topology.bolt("b", Uneven, parallelism=2).shuffle(source(topology))
    for disabled in (False, True):
        settings = {"topology.disable.loadaware.messaging": disabled}
        with LocalCluster(topology, mock_sources={"s": range(600)}, settings=settings) as cluster:
            cluster.advance(2)
            cluster.feed("s", range(400))
            cluster.run_until_idle()
            waiting = cluster.metrics()["b"]["queue"]
            turned_away = 300 + 400 * 72 / (72 + 101)  # weight 101 - 100 × load, of a mailbox that is 300/1024 full
            assert waiting == (500 if disabled else pytest.approx(turned_away, abs=5))
