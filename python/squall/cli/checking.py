"""`squall check`: validates a topology and draws it."""

from __future__ import annotations

import typer

from squall.cli.exits import exits_told
from squall.cli.streams import STDERR, printing_to
from squall.config.load import load
from squall.errors import one_line
from squall.model.graph import ComponentSpec, Graph, InputSpec, Kind, Mode
from squall.planner.load import load_topology, split_target
from squall.planner.plan import plan
from squall.planner.validate import validate

BRANCH = 3
"""Characters of a level."""
MOST_LEVELS, LAST_LEVELS = 100, 10
"""Levels that are drawn; of a deeper component only the last ones are."""


def check_topology(target: str, parameters: list[str], overrides: list[str]) -> None:
    """Prints the graph of a valid topology."""
    file, name = split_target(target)
    settings = load(overrides)
    with printing_to(STDERR), exits_told():
        graph = validate(load_topology(file, name, parameters), settings)
    for line in drawn(graph):
        typer.echo(line)
    for warning in [*missing_workers(graph), *shared_cores(graph)]:
        typer.echo(f"warning: {warning}", err=True)
    components = len(graph.components)
    tasks = sum(spec.tasks for spec in graph.components.values())
    workers = len(workers_of(graph))
    typer.echo(f'\n"{graph.name}" is valid: {components} components, {tasks} tasks, {workers} worker(s)')


def drawn(graph: Graph) -> list[str]:
    """The graph as text: each component under what feeds it."""
    below: dict[str, list[tuple[str, str]]] = {}
    for spec in graph.components.values():
        for one in spec.inputs:
            label = f"{_grouping(graph, one)} → "
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


def _grouping(graph: Graph, one: InputSpec) -> str:
    stream = graph.components[one.source.component].streams[one.source.stream]
    keys = f"({', '.join(stream.fields[key] for key in one.keys)})" if one.keys else ""
    name = "" if one.source.stream == "default" else f"{one.source.stream}: "
    loop = " ↺" if one.closes_loop else ""
    return f"{name}{one.grouping.value}{keys}{loop}"


def workers_of(graph: Graph) -> set[int]:
    """The workers that the plan gives the tasks."""
    return {task.worker for task in plan(graph).tasks}


def missing_workers(graph: Graph) -> list[str]:
    """A warning where fewer workers will run than were asked for."""
    planned = len(workers_of(graph))
    if planned >= graph.workers:
        return []
    return [f"topology.workers is {graph.workers}, but this version runs all tasks in {planned} worker for now"]


def shared_cores(graph: Graph) -> list[str]:
    """A warning for each component whose parallelism cannot bring a second core."""
    workers: dict[str, set[int]] = {}
    for task in plan(graph).tasks:
        workers.setdefault(task.component, set()).add(task.worker)
    return [
        f'"{spec.name}" has {spec.tasks} tasks in one worker: they share one core'
        for spec in graph.components.values()
        if spec.tasks > 1 and spec.mode is Mode.LOOP and len(workers[spec.name]) == 1
    ]
