"""A graph for those who draw it: components, edges, and the settings that differ, as JSON has them."""

from __future__ import annotations

from typing import Any

from squall.model.graph import ComponentSpec, Graph, InputSpec
from squall.planner.describe import changed_settings, settings_of


def shape(graph: Graph) -> dict[str, Any]:
    """Out: `components` in the order that tuples go: name → `kind`, `mode`, `tasks`, `inputs`, `outputs` (stream →
    fields), `settings` (where they differ from the topology's) · `settings` (where they differ from the defaults).
    """
    order = [*(spout.name for spout in graph.spouts), *graph.order]
    return {
        "components": {name: _component(graph, graph.components[name]) for name in order},
        "settings": settings_of(graph),
    }


def _component(graph: Graph, spec: ComponentSpec) -> dict[str, Any]:
    return {
        "kind": spec.kind.value,
        "mode": spec.mode.value,
        "tasks": spec.tasks,
        "inputs": [_input(graph, one) for one in spec.inputs],
        "outputs": {name: [*stream.fields] for name, stream in spec.streams.items()},
        "settings": changed_settings(spec.settings, graph.settings),
    }


def _input(graph: Graph, one: InputSpec) -> dict[str, Any]:
    fields = graph.components[one.source.component].streams[one.source.stream].fields
    return {
        "source": one.source.component,
        "stream": one.source.stream,
        "grouping": one.grouping.value,
        "keys": [fields[key] for key in one.keys],
        "closes_loop": one.closes_loop,
    }
