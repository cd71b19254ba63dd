"""Junk in every place of a topology's definition: all problems are told at once, as errors of the definition."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from squall import Bolt, Spout, SpoutDeclarer, Topology
from squall.cli.checking import drawn
from squall.cli.explaining import pages
from squall.config.table import SETTINGS
from squall.errors import ConfigError, SquallError, TopologyError
from squall.model.graph import Graph
from squall.planner.describe import describe
from squall.planner.plan import plan
from squall.planner.validate import validate

from .junk import JUNK

Put = Callable[[Any], Topology]
PAGES = set(pages())
WITHIN_S = 20.0


def numbers() -> Iterator[int]:
    yield 1


def show(n: int) -> None:
    del n


def with_spout() -> tuple[Topology, SpoutDeclarer]:
    topology = Topology("t")
    return topology, topology.spout("numbers", numbers, outputs=("n",))


def in_topology(argument: str) -> Put:
    def put(junk: Any) -> Topology:
        topology = Topology(**{"name": "t", argument: junk})
        topology.bolt("show", show).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
        return topology

    return put


def in_spout(argument: str) -> Put:
    def put(junk: Any) -> Topology:
        given = {"name": "numbers", "component": numbers, "outputs": ("n",), argument: junk}
        topology = Topology("t")
        topology.bolt("show", show).shuffle(topology.spout(given.pop("name"), given.pop("component"), **given))
        return topology

    return put


def in_bolt(argument: str) -> Put:
    def put(junk: Any) -> Topology:
        topology, spout = with_spout()
        given = {"name": "show", "component": show, argument: junk}
        topology.bolt(given.pop("name"), given.pop("component"), **given).shuffle(spout)
        return topology

    return put


def in_grouping(wire: Callable[[Any, Any, Any], object]) -> Put:
    def put(junk: Any) -> Topology:
        topology, spout = with_spout()
        wire(topology.bolt("show", show), spout, junk)
        return topology

    return put


class Emitter(Spout):
    outputs = ("n",)

    def next_batch(self, limit: int) -> object: ...


class Taker(Bolt):
    def process(self, n: int) -> object: ...


def in_class(base: type, attribute: str) -> Put:
    def put(junk: Any) -> Topology:
        component: Any = type("Component", (base,), {attribute: junk})
        topology = Topology("t")
        if issubclass(base, Spout):
            topology.bolt("show", show).shuffle(topology.spout("numbers", component))
        else:
            topology.bolt("show", component).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
        return topology

    return put


def in_setting(key: str) -> Put:
    return lambda junk: in_topology("settings")({key: junk})


BOTH = (
    "name", "component", "outputs", "streams", "parallelism", "tasks", "blocking", "on_error", "retries", "tick_every",
    "resources", "settings",
)  # fmt: skip
OF_BOTH = ("outputs", "streams", "blocking", "tick_every", "on_error", "retries", "open", "close", "tick")
OF_SPOUTS = (
    *OF_BOTH,
    "rate_per_s",
    "idle_wait",
    "next_batch",
    "next_tuple",
    "ack",
    "ack_many",
    "fail",
    "dead",
    "position",
)
OF_BOLTS = (
    *OF_BOTH, "process", "process_batch", "manual_ack", "hold_max", "batch_max", "batch_wait", "max_in_flight",
    "timeout", "ordered", "drain",
)  # fmt: skip
KEYS = ("shuffle", "local_or_shuffle", "all", "global_", "none", "direct", "fields", "partial_key")

PLACES: dict[str, Put] = {
    **{f"Topology {argument}": in_topology(argument) for argument in ("name", "workers", "settings")},
    **{f"spout {argument}": in_spout(argument) for argument in BOTH},
    **{f"bolt {argument}": in_bolt(argument) for argument in BOTH},
    **{f"class of spout {name}": in_class(Emitter, name) for name in OF_SPOUTS},
    **{f"class of bolt {name}": in_class(Taker, name) for name in OF_BOLTS},
    **{f"{name} stream": in_grouping(lambda b, _s, j, n=name: getattr(b, n)(j)) for name in KEYS},
    "fields key": in_grouping(lambda b, s, j: b.fields(s, j)),
    "partial_key key": in_grouping(lambda b, s, j: b.partial_key(s, "n", j)),
    "custom grouping": in_grouping(lambda b, s, j: b.custom(s, j)),
    "shuffle into": in_grouping(lambda b, s, j: b.shuffle(s, into=j)),
    "shuffle rename": in_grouping(lambda b, s, j: b.shuffle(s, rename=j)),
    "shuffle renamed to": in_grouping(lambda b, s, j: b.shuffle(s, rename={"n": j})),
    "named stream": in_grouping(lambda b, s, j: b.shuffle(s[j])),
    "dead letters of": in_grouping(lambda b, s, j: b.shuffle(s.topology.dead_letters(j))),
    **{f"setting {key}": in_setting(key) for key in SETTINGS},
}  # fmt: skip


def checked(declare: Callable[[], Topology]) -> Graph | SquallError:
    """The graph of a topology, or the error that it is; nothing else comes out."""
    try:
        return validate(declare())
    except (TopologyError, ConfigError) as error:
        return error


def told(put: Put, junk: Any) -> None:
    """What is wrong is told in one line each, with codes that have pages; a graph can be used."""
    found = checked(lambda: put(junk))
    if isinstance(found, SquallError):
        assert all(line.isprintable() and len(line) < 1200 for line in str(found).split("\n"))
        assert {defect.code for defect in found.defects} <= PAGES
    else:
        json.dumps(describe(found))
        assert drawn(found)
        assert plan(found).tasks


@pytest.mark.parametrize("place", PLACES)
def test_junk_is_an_error_of_the_definition_or_a_graph(place: str) -> None:
    for name, make in JUNK.items():
        began_s = time.monotonic()
        try:
            told(PLACES[place], make())
        except BaseException as error:
            raise AssertionError(f"{place}: {name}") from error
        assert time.monotonic() - began_s < WITHIN_S, f"{place}: {name}"


CASES = [f"{place}: {junk}" for place in PLACES for junk in JUNK]

# -- what hypothesis finds ------------------------------------------------------------------------------------------

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
ANYTHING = st.recursive(
    LEAVES | st.sampled_from([show, numbers, int, Taker, Emitter, Taker(), Emitter(), object()]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.tuples(below, below)
        | st.dictionaries(st.text(max_size=3) | st.integers(), below, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(sorted(PLACES)), junk=ANYTHING)
@example(place="class of bolt tick_every", junk=10**400)
def test_anything_is_an_error_of_the_definition_or_a_graph(place: str, junk: Any) -> None:
    told(PLACES[place], junk)
