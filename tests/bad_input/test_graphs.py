"""Graphs that are wrong, or large: everything is told at once, and in bounded time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from squall import Topology
from squall.cli.checking import drawn
from squall.errors import SquallError, TopologyError
from squall.planner.describe import describe
from squall.planner.validate import validate

from .test_definitions import WITHIN_S, checked, numbers, show, with_spout

# -- graphs that are wrong ------------------------------------------------------------------------------------------


def everything_wrong() -> tuple[Topology, list[str]]:
    """A topology with one defect of each kind, and their codes."""
    topology = Topology("every thing", workers=0, settings={"topology.retires": 1})
    spout = topology.spout("numbers", numbers, outputs=("n",), parallelism=0)
    topology.spout("numbers", numbers, outputs=("n",))
    topology.spout("twice", numbers, outputs=("n", "n"))
    topology.bolt("a/b", show).shuffle(spout)
    topology.bolt("alone", show)
    topology.bolt("stream", show).shuffle(spout["late"])
    topology.bolt("key", show).fields(spout, "m")
    topology.bolt("keys", show).fields(spout)
    topology.bolt("parameter", lambda m: None).shuffle(spout)
    topology.bolt("foreign", show).shuffle(Topology("other").spout("x", numbers, outputs=("n",)))
    topology.bolt("direct", show).direct(spout)
    topology.bolt("no bolt", 5).shuffle(spout)  # type: ignore[arg-type]
    topology.bolt("again", show).shuffle(spout).all(spout)
    topology.bolt("retries", show, retries=-1, on_error="ignore", tick_every=0).shuffle(spout)  # type: ignore[arg-type]
    first = topology.bolt("first", show, outputs=("n",))
    first.shuffle(topology.bolt("second", show, outputs=("n",)).shuffle(first))
    codes = [
        "name_invalid", "setting_invalid", "setting_unknown", "parallelism_invalid", "name_twice", "fields_repeated",
        "bolt_without_input", "stream_unknown", "grouping_field_missing", "grouping_no_field", "parameter_unknown",
        "stream_foreign", "grouping_direct", "component_invalid", "input_twice", "retries_invalid", "on_error_invalid",
        "tick_invalid", "bolt_unreachable",
    ]  # fmt: skip
    return topology, codes


def test_all_problems_are_told_at_once() -> None:
    topology, codes = everything_wrong()
    with pytest.raises(TopologyError) as caught:
        validate(topology)
    assert {defect.code for defect in caught.value.defects} == set(codes)


def loop_of_its_own() -> tuple[Topology, str]:
    topology, spout = with_spout()
    loop = topology.bolt("loop", show, outputs=("n",)).shuffle(spout)
    loop.shuffle(loop)
    return topology, ""


def loop_of_two() -> tuple[Topology, str]:
    topology, spout = with_spout()
    one = topology.bolt("one", show, outputs=("n",)).shuffle(spout)
    one.shuffle(topology.bolt("two", show, outputs=("n",)).shuffle(one))
    return topology, ""


def loop_without_a_spout() -> tuple[Topology, str]:
    topology, _ = with_spout()
    loop = topology.bolt("loop", show, outputs=("n",))
    loop.shuffle(loop)
    return topology, "bolt_unreachable"


def nothing() -> tuple[Topology, str]:
    return Topology("t"), "no_spout"


def bolts_alone() -> tuple[Topology, str]:
    topology = Topology("t")
    topology.bolt("show", show)
    return topology, "no_spout"


def fewer_tasks_than_executors() -> tuple[Topology, str]:
    topology, spout = with_spout()
    topology.bolt("show", show, parallelism=4, tasks=2).shuffle(spout)
    return topology, ""


def crossed_watermarks() -> tuple[Topology, str]:
    return Topology("t", settings={"backpressure.disruptor.low.watermark": 0.95}), "watermarks_crossed"


GRAPHS = {
    "loop of its own": loop_of_its_own,
    "loop of two": loop_of_two,
    "loop without a spout": loop_without_a_spout,
    "nothing": nothing,
    "bolts alone": bolts_alone,
    "fewer tasks than executors": fewer_tasks_than_executors,
    "crossed watermarks": crossed_watermarks,
}


@pytest.mark.parametrize("declare", GRAPHS.values(), ids=GRAPHS)
def test_graph_is_told_or_taken(declare: Callable[[], tuple[Topology, str]]) -> None:
    """Loops and fewer tasks than executors are allowed, as in Storm; what can never get a tuple is not."""
    topology, code = declare()
    if code:
        with pytest.raises(TopologyError) as caught:
            validate(topology)
        assert code in {defect.code for defect in caught.value.defects}
    else:
        assert drawn(validate(topology))


# -- sizes ----------------------------------------------------------------------------------------------------------

MANY = 10_000


def chain() -> Topology:
    topology, last = with_spout()
    for number in range(MANY):
        last = topology.bolt(f"b{number}", show, outputs=("n",)).shuffle(last)
    return topology


def star() -> Topology:
    topology, spout = with_spout()
    for number in range(MANY):
        topology.bolt(f"b{number}", show, parallelism=2).shuffle(spout)
    return topology


def gather() -> Topology:
    topology = Topology("t")
    last = topology.bolt("last", show)
    for number in range(MANY):
        last.shuffle(topology.spout(f"s{number}", numbers, outputs=("n",)))
    return topology


def ring() -> Topology:
    topology, _ = with_spout()
    bolts = [topology.bolt(f"b{number}", show, outputs=("n",)) for number in range(MANY)]
    for one, other in zip(bolts, bolts[1:] + bolts[:1], strict=True):
        other.shuffle(one)
    return topology


def wrong_streams() -> Topology:
    topology = Topology("t")
    spout = topology.spout("s", numbers, streams={f"stream-{number}": ("n",) for number in range(MANY)})
    for number in range(MANY):
        topology.bolt(f"b{number}", show).shuffle(spout[f"steam-{number}"])
    return topology


def unfed() -> Topology:
    topology, _ = with_spout()
    for number in range(MANY):
        topology.bolt(f"b{number}", show, outputs=("n",))
    return topology


def same_name() -> Topology:
    topology, spout = with_spout()
    for _ in range(MANY):
        topology.bolt("b", show).shuffle(spout)
    return topology


def many_fields() -> Topology:
    topology = Topology("t")
    names = tuple(f"f{number}" for number in range(MANY))
    topology.bolt("b", lambda f1: None).fields(topology.spout("s", numbers, outputs=(*names, "f0")), *names, *names)
    return topology


SIZES = {one.__name__.replace("_", " "): one for one in (
    chain, star, gather, ring, wrong_streams, unfed, same_name, many_fields)}  # fmt: skip


@pytest.mark.parametrize("declare", SIZES.values(), ids=SIZES)
def test_ten_thousand_take_bounded_time(declare: Callable[[], Topology]) -> None:
    began_s = time.monotonic()
    found = checked(declare)
    if isinstance(found, SquallError):
        assert len(str(found)) < 20_000_000
    else:
        assert len(drawn(found)) >= MANY
        json.dumps(describe(found))
    assert time.monotonic() - began_s < WITHIN_S


CASES = [*GRAPHS, *SIZES, "everything wrong"]
