"""What is refused when a topology is declared, whatever its components do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from squall import Bolt, SpoutDeclarer, Topology
from squall.config.table import DEFAULTS
from squall.errors import TopologyError
from squall.planner.validate import validate


def numbers() -> Iterator[int]:
    yield 1


def show(n: int) -> None:
    del n


def declared(**bolt: Any) -> Topology:
    topology = Topology("t")
    topology.bolt("show", show, **bolt).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
    return topology


def codes_of(topology: Topology) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        validate(topology)
    return [defect.code for defect in caught.value.defects]


def test_a_name_is_given_once() -> None:
    """Across spouts and bolts, as in Storm; the error names both places."""
    topology = declared()
    topology.bolt("numbers", show).shuffle(topology.spout("others", numbers, outputs=("n",)))
    with pytest.raises(TopologyError, match=r'"numbers" has a name that is taken[^"]*first: .*:\d+[^"]*again: .*:\d+'):
        validate(topology)


def test_a_field_is_declared_once() -> None:
    topology = declared()
    topology.spout("twice", numbers, outputs=("n", "n"))
    assert codes_of(topology) == ["fields_repeated"]


class Blocking(Bolt):
    def process(self, n: int) -> None: ...


@pytest.mark.parametrize("blocking", [NotImplemented, 1, "yes", [], float("nan")])
@pytest.mark.filterwarnings("error")
def test_blocking_is_true_or_false_wherever_it_is_said(blocking: Any) -> None:
    """`NotImplemented` has no truth: to ask for it is an error of Python's own."""
    assert codes_of(declared(blocking=blocking)) == ["attribute_invalid"]
    topology = Topology("t")
    own = topology.bolt("own", type("Own", (Blocking,), {"blocking": blocking}))
    own.shuffle(topology.spout("numbers", numbers, outputs=("n",)))
    assert codes_of(topology) == ["attribute_invalid"]


@pytest.mark.parametrize("parallelism", [0, -1, 1.5, True, "2", 1025])
def test_parallelism_is_a_whole_number_in_bounds(parallelism: Any) -> None:
    assert codes_of(declared(parallelism=parallelism)) == ["parallelism_invalid"]


@pytest.mark.parametrize(
    ("tasks", "most", "expected"),
    [(None, None, (4, 4)), (8, None, (4, 8)), (2, None, (2, 2)), (8, 3, (3, 3))],
)
def test_tasks_bound_executors_and_the_setting_bounds_both(
    tasks: int | None, most: int | None, expected: tuple[int, int]
) -> None:
    graph = validate(declared(parallelism=4, tasks=tasks), {**DEFAULTS, "topology.max.task.parallelism": most})
    component = graph.components["show"]
    assert (component.parallelism, component.tasks) == expected


def test_a_stream_is_taken_once_by_a_bolt() -> None:
    """A second `into=` would replace the first; the error names both places."""

    class Both(Bolt):
        def one(self, n: int) -> None: ...

        def other(self, n: int) -> None: ...

    topology = Topology("t")
    spout = topology.spout("s", numbers, outputs=("n",), streams={"more": ("n",)})
    both = topology.bolt("both", Both).shuffle(spout, into=Both.one).shuffle(spout["more"], into=Both.other)
    validate(topology)
    both.all(spout, into=Both.other)
    twice = r'bolt "both" takes stream "s/default" twice\s+first: .*:\d+\s+again: .*:\d+'
    with pytest.raises(TopologyError, match=twice) as caught:
        validate(topology)
    assert caught.value.code == "input_twice"


def test_a_wrong_parameter_is_one_defect() -> None:
    topology = Topology("t")
    topology.bolt("b", lambda m: None).shuffle(topology.spout("s", numbers, outputs=("n",)))
    assert codes_of(topology) == ["parameter_unknown"]


def strange_topologies() -> Iterator[Any]:
    def case(name: str, codes: list[str], declare: Callable[[Topology, SpoutDeclarer], object]) -> Any:
        return pytest.param(declare, codes, id=name)

    yield case("settings of a bolt", ["settings_invalid"], lambda t, s: t.bolt("b", show, settings=5).shuffle(s))
    yield case("key", ["setting_unknown"], lambda t, s: t.bolt("b", show, settings={5: 1}).shuffle(s))
    yield case("rename", ["rename_invalid"], lambda t, s: t.bolt("b", show).shuffle(s, rename=["n"]))
    yield case("renamed to", ["rename_invalid"], lambda t, s: t.bolt("b", show).shuffle(s, rename={"n": 1}))
    yield case("dead letters", ["stream_invalid"], lambda t, _: t.dead_letters("s"))
    yield case("of no component", ["stream_invalid"], lambda t, s: t.dead_letters(s["default"], s))
    yield case("name", ["name_invalid"], lambda t, s: t.bolt(["b"], show).shuffle(s))
    yield case("names", ["name_invalid"] * 2, lambda t, _: t.bolt(None, show).shuffle(t.spout(["z"], numbers)))
    yield case("stream", ["stream_unknown"], lambda t, s: t.bolt("b", show).shuffle(s[["n"]]))
    yield case("keys", ["grouping_field_missing"], lambda t, s: t.bolt("b", show).fields(s, ["n"]))


@pytest.mark.parametrize(("declare", "codes"), list(strange_topologies()))
def test_declaring_never_raises_and_the_checks_tell(declare: Callable[..., object], codes: list[str]) -> None:
    topology = Topology("t")
    declare(topology, topology.spout("s", numbers, outputs=("n",)))
    assert codes_of(topology) == codes


def test_settings_of_a_topology_that_are_none() -> None:
    topology = Topology("t", settings=5)  # type: ignore[arg-type]
    topology.spout("s", numbers, outputs=("n",))
    assert codes_of(topology) == ["settings_invalid"]
