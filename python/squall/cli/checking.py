"""`squall check`: validates a topology and draws it."""

from __future__ import annotations

import typer

from squall.cli.exits import exits_told
from squall.cli.streams import STDERR, printing_to
from squall.config.load import load
from squall.model.graph import Graph, InputSpec, Kind, Mode
from squall.planner.load import load_topology, split_target
from squall.planner.plan import plan
from squall.planner.validate import validate


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
    lines: list[str] = []
    seen: set[str] = set()

    def walk(name: str, prefix: str, label: str, last: bool, top: bool) -> None:
        spec = graph.components[name]
        branch = "" if top else ("└─ " if last else "├─ ")
        mode = {Mode.ASYNC: " async", Mode.BLOCKING: " blocking", Mode.LOOP: ""}[spec.mode]
        times = f" ×{spec.tasks}" if spec.tasks > 1 else ""
        again = " (above)" if name in seen else ""
        lines.append(f"{prefix}{branch}{label}{name}{times}  [{spec.kind.value}{mode}]{again}")
        if name in seen:
            return
        seen.add(name)
        targets = [
            (other.name, one)
            for other in graph.components.values()
            for one in other.inputs
            if one.source.component == name
        ]
        below = prefix if top else prefix + ("   " if last else "│  ")
        for number, (target, one) in enumerate(targets):
            walk(target, below, f"{_grouping(graph, one)} → ", number == len(targets) - 1, False)

    for spec in graph.components.values():
        if spec.kind is Kind.SPOUT:
            walk(spec.name, "", "", True, True)
    return lines


def _grouping(graph: Graph, one: InputSpec) -> str:
    stream = graph.components[one.source.component].streams[one.source.stream]
    keys = f"({', '.join(stream.fields[key] for key in one.keys)})" if one.keys else ""
    name = "" if one.source.stream == "default" else f"{one.source.stream}: "
    loop = " ↺" if one.closes_loop else ""
    return f"{name}{one.grouping.value}{keys}{loop}"


def workers_of(graph: Graph, component: str | None = None) -> set[int]:
    """The workers that the plan gives the tasks of a component, or of all."""
    return {task.worker for task in plan(graph).tasks if component in (None, task.component)}


def missing_workers(graph: Graph) -> list[str]:
    """A warning where fewer workers will run than were asked for."""
    planned = len(workers_of(graph))
    if planned >= graph.workers:
        return []
    return [f"topology.workers is {graph.workers}, but this version runs all tasks in {planned} worker for now"]


def shared_cores(graph: Graph) -> list[str]:
    """A warning for each component whose parallelism cannot bring a second core."""
    return [
        f'"{spec.name}" has {spec.tasks} tasks in one worker: they share one core'
        for spec in graph.components.values()
        if spec.tasks > 1 and spec.mode is Mode.LOOP and len(workers_of(graph, spec.name)) == 1
    ]
