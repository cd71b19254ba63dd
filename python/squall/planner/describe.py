"""A graph as plain data: what a topology is, without its code and the values that user code holds (semantics 39).

Parent and worker each build the topology from its file; they compare what they got before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

from squall.config.table import DEFAULTS, SETTINGS, Scope
from squall.model.graph import ComponentSpec, Graph, InputSpec

Description: TypeAlias = dict[str, Any]


def describe(graph: Graph) -> Description:
    """Names, kinds, outputs, groupings, parallelism, and settings where they are not the default, as JSON has them."""
    return {
        "topology": graph.name,
        "workers": graph.workers,
        "settings": settings_of(graph),
        "components": {name: _component(graph, spec) for name, spec in graph.components.items()},
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Where two descriptions differ: `path: value in one ≠ value in the other`."""
    for key in sorted({*one, *other}):
        below = f"{path}.{key}" if path else key
        mine, theirs = one.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            yield from differences(cast("Description", mine), cast("Description", theirs), below)
        elif mine != theirs:
            yield f"{below}: {mine!r} ≠ {theirs!r}"


def _component(graph: Graph, spec: ComponentSpec) -> dict[str, Any]:
    return {
        "kind": spec.kind.value,
        "parallelism": spec.parallelism,
        "tasks": spec.tasks,
        "outputs": {name: {"fields": [*one.fields], "direct": one.direct} for name, one in spec.streams.items()},
        "inputs": sorted(_input(graph, one) for one in spec.inputs),
        "settings": changed_settings(spec.settings, graph.settings),
    }


def _input(graph: Graph, one: InputSpec) -> str:
    fields = graph.components[one.source.component].streams[one.source.stream].fields
    return f"{one.grouping.value}({', '.join(fields[key] for key in one.keys)}) of {one.source}"


def settings_of(graph: Graph) -> dict[str, Any]:
    """The topology's settings where they are not the default."""
    return changed_settings(graph.settings, DEFAULTS)


def changed_settings(settings: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the level below; what belongs to a machine is no part of a topology."""
    return {
        key: value for key, value in settings.items() if value != below[key] and SETTINGS[key].scope is not Scope.LOCAL
    }
