"""Small topologies that many rules are shown with: a mocked spout "s", a bolt "b", what it emits kept by "sink"."""

from __future__ import annotations

from typing import Any

from squall import Bolt, BoltDeclarer, SpoutDeclarer, Topology, Tuple


class Record(Bolt):
    """Keeps every row it is given."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def process(self, tup: Tuple) -> None:
        self.rows.append(tup.values)


def source(topology: Topology, name: str = "s", fields: tuple[str, ...] = ("x",), **options: Any) -> SpoutDeclarer:
    """A spout that is only there to be mocked."""
    return topology.spout(name, lambda: iter(()), outputs=fields, **options)


def single(component: Any, *, fields: tuple[str, ...] = ("x",), **options: Any) -> Topology:
    """s → b."""
    topology = Topology("t")
    topology.bolt("b", component, **options).shuffle(source(topology, fields=fields))
    return topology


def recorded(
    component: Any, *, fields: tuple[str, ...] = ("x",), sinks: tuple[str, ...] = ("default",), **options: Any
) -> Topology:
    """s → b → sink, for each stream of b that is named."""
    topology = Topology("t")
    bolt = topology.bolt("b", component, **options).shuffle(source(topology, fields=fields))
    sink: BoltDeclarer = topology.bolt("sink", Record)
    for stream in sinks:
        sink.shuffle(bolt[stream])
    return topology
