"""Semantics §1: outputs nested without end are an error of user code, not the end of the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from squall import Bolt, Emit, Spout, Topology
from squall.testing import LocalCluster
from topologies import Record, recorded


class Endless:
    """An iterator that gives itself."""

    def __iter__(self) -> Endless:
        return self

    def __next__(self) -> Endless:
        return self


def in_itself() -> list[Any]:
    outputs: list[Any] = []
    outputs.append(outputs)
    return outputs


def deep() -> list[Any]:
    outputs: list[Any] = ["bottom"]
    for _ in range(100_000):
        outputs = [outputs]
    return outputs


def in_each_other() -> list[Any]:
    return [iter([in_itself()])]


nested = pytest.mark.parametrize("make", [in_itself, deep, in_each_other, Endless])


def a_result(make: Callable[[], object]) -> Any:
    return lambda x: make() if x == "bad" else x


def yielded(make: Callable[[], object]) -> Any:
    def bolt(x: str) -> Iterator[object]:
        yield make() if x == "bad" else x

    return bolt


def awaited(make: Callable[[], object]) -> Any:
    async def bolt(x: str) -> object:
        return make() if x == "bad" else x

    return bolt


def an_entry(make: Callable[[], object]) -> Any:
    class Batched(Bolt):
        def process_batch(self, x: list[str]) -> list[object]:
            return [make() if one == "bad" else one for one in x]

    return Batched


@pytest.mark.parametrize("place", [a_result, yielded, awaited, an_entry])
@nested
def test_outputs_nested_without_end_fail_their_input(place: Callable[..., Any], make: Callable[[], object]) -> None:
    """Semantics 7. An output that cannot be routed, like any other; the next input is worked on."""
    topology = recorded(place(make), outputs=("y",), retries=0)
    with LocalCluster(topology, mock_sources={"s": ["bad", "good"]}) as cluster:
        cluster.run_until_idle()
        (letter,) = cluster.dead_letters()
        assert letter.values == ("bad",)
        assert letter.error.startswith("RecursionError")
        assert cluster.acked("s") == ["good"]
        assert cluster.task("sink", Record).rows == [("good",)]


class Once(Spout):
    """Gives something nested and then something else."""

    outputs = ("y",)
    make: Callable[[], object]

    def __init__(self) -> None:
        self.left = [Emit("good", id=1), self.make]

    def give(self) -> object:
        output = self.left.pop() if self.left else None
        return output() if callable(output) else output


def by_next_tuple(make: Callable[[], object]) -> type[Once]:
    return type("Once", (Once,), {"make": staticmethod(make), "next_tuple": Once.give})


def by_next_batch(make: Callable[[], object]) -> type[Once]:
    next_batch = lambda self, limit: [output] if (output := self.give()) else None  # noqa: E731
    return type("Once", (Once,), {"make": staticmethod(make), "next_batch": next_batch})


@pytest.mark.parametrize("form", [by_next_tuple, by_next_batch])
@nested
def test_a_spout_that_nests_without_end_is_polled_again(form: Callable[..., Any], make: Callable[[], object]) -> None:
    """The API page, Spouts: an exception is no end."""
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", form(make)))
    with LocalCluster(topology) as cluster:
        cluster.advance(1)
        (report,) = cluster.errors()
        assert (report.component, report.error.partition(":")[0]) == ("s", "RecursionError")
        assert cluster.task("b", Record).rows == [("good",)]
        assert cluster.acked("s") == [1]
