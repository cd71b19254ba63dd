"""`squall check`: validates a topology and draws it."""

from __future__ import annotations

import typer

from squall.cli.exits import exits_told
from squall.cli.placing import grouping_told, placement_lines, with_workers, workers_asked
from squall.cli.streams import STDERR, printing_to
from squall.cluster.placement import Placement, place
from squall.config.load import load
from squall.errors import one_line
from squall.model.graph import ComponentSpec, Graph, Kind, Mode
from squall.planner.load import load_topology, split_target
from squall.planner.validate import validate

BRANCH = 3
"""Characters of a level."""
MOST_LEVELS, LAST_LEVELS = 100, 10
"""Levels that are drawn; of a deeper component only the last ones are."""


def check_topology(target: str, parameters: list[str], overrides: list[str], workers: str | None = None) -> None:
    """Prints the graph of a valid topology, and where its tasks run.

    Args:
        workers: what `-w` says: a number, or `auto`.
    """
    file, name = split_target(target)
    settings, asked = load(overrides), workers_asked(workers)
    with printing_to(STDERR), exits_told():
        graph = validate(load_topology(file, name, parameters), settings)
    graph, chosen = with_workers(graph, asked)
    placement = place(graph)
    for line in [*drawn(graph), *placement_lines(graph, placement)]:
        typer.echo(line)
    for warning in [*([placement.note] if placement.note else []), *shared_cores(graph, placement)]:
        typer.echo(f"warning: {warning}", err=True)
    components = len(graph.components)
    tasks = sum(spec.tasks for spec in graph.components.values())
    because = f" ({chosen})" if chosen else ""
    typer.echo(
        f'\n"{graph.name}" is valid: {components} components, {tasks} tasks, {placement.workers} worker(s){because}'
    )


def drawn(graph: Graph) -> list[str]:
    """The graph as text: each component under what feeds it."""
    below: dict[str, list[tuple[str, str]]] = {}
    for spec in graph.components.values():
        for one in spec.inputs:
            label = f"{grouping_told(graph, one)} → "
            below.setdefault(one.source.component, []).append((spec.name, label))
    lines: list[str] = []
    seen: set[str] = set()
    spouts = [name for name, spec in graph.components.items() if spec.kind is Kind.SPOUT]
    # A stack, not recursion: a chain may be longer than Python's.
    waiting = [(name, "", "", "") for name in reversed(spouts)]
    while waiting:
        name, branch, label, prefix = waiting.pop()
        again = " (above)" if name in seen else ""
        lines.append(f"{branch}{one_line(label)}{_titled(graph.components[name])}{again}")
        if name in seen:
            continue
        seen.add(name)
        targets = below.get(name, [])
        for number, (target, its_label) in reversed(list(enumerate(targets, start=1))):
            fork, trunk = ("└─ ", "   ") if number == len(targets) else ("├─ ", "│  ")
            waiting.append((target, _cut(prefix) + fork, its_label, prefix + trunk))
    return lines


def _cut(prefix: str) -> str:
    """The lines that lead to a component; of a very deep one the last ones."""
    levels = len(prefix) // BRANCH
    return prefix if levels <= MOST_LEVELS else f"… {levels:,} below … " + prefix[-BRANCH * LAST_LEVELS :]


def _titled(spec: ComponentSpec) -> str:
    mode = {Mode.ASYNC: " async", Mode.BLOCKING: " blocking", Mode.LOOP: ""}[spec.mode]
    times = f" ×{spec.tasks}" if spec.tasks > 1 else ""
    return f"{spec.name}{times}  [{spec.kind.value}{mode}]"


def shared_cores(graph: Graph, placement: Placement) -> list[str]:
    """A warning for each component whose parallelism cannot bring a second core."""
    return [
        f'"{spec.name}" has {spec.tasks} tasks in one worker: they share one core'
        for spec in graph.components.values()
        if spec.tasks > 1 and spec.mode is Mode.LOOP and len(set(placement.executors[spec.name])) == 1
    ]
