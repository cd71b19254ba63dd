"""Where the tasks of a topology run, as `squall check` shows it; and how many workers `-w` asks for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from squall.cluster.placement import Placement, choose_workers, crossings
from squall.config.load import checked
from squall.config.table import Scope
from squall.errors import one_line
from squall.model.graph import Graph, InputSpec, TaskSpec
from squall.planner.plan import plan

AUTO = "auto"
KEY = "topology.workers"
MOST_COLUMNS = 8
"""Workers that get a column each."""
NOTHING = "·"


def workers_asked(text: str | None) -> int | str | None:
    """What `-w` says: a number, `auto`, or nothing.

    Raises:
        ConfigError: `setting_invalid`: neither a number that the setting allows nor `auto`.
    """
    return text if text in (None, AUTO) else checked(KEY, text, f"--workers {text}", Scope.LOCAL)


def with_workers(graph: Graph, asked: int | str | None) -> tuple[Graph, str]:
    """The graph for as many workers as are asked for, whatever it says itself; and why, if that was chosen for it."""
    if asked is None:
        return graph, ""
    count, reason = asked, ""
    if not isinstance(count, int):
        choice = choose_workers(graph, len(os.sched_getaffinity(0)))
        count, reason = choice.workers, choice.reason
    return replace(graph, workers=count, settings={**graph.settings, KEY: count}), reason


def placement_lines(graph: Graph, placement: Placement) -> list[str]:
    """Tasks by worker, and the edges whose tuples go from one to another; nothing for one worker."""
    if placement.workers == 1:
        return []
    planned = plan(graph, placement.executors)
    names = [*(spout.name for spout in graph.spouts), *graph.order]
    tasks: dict[str, list[TaskSpec]] = {name: [] for name in names}
    for task in planned.tasks:
        tasks[task.component].append(task)
    if placement.workers <= MOST_COLUMNS:
        head = ["tasks in worker", *map(str, planned.workers), ""]
        rows = [
            [one_line(name), *(_numbers(tasks[name], worker) for worker in planned.workers), placement.reasons[name]]
            for name in names
        ]
    else:
        head = ["tasks in worker", "", ""]
        rows = [[one_line(name), _spread(tasks[name], placement.workers), placement.reasons[name]] for name in names]
    return ["", *_aligned([head, *rows]), *_crossing(graph, placement)]


def _crossing(graph: Graph, placement: Placement) -> list[str]:
    edges = crossings(graph, placement)
    rows = [
        [
            f"{one_line(one.source)} → {one_line(one.target)}",
            one_line(grouping_told(graph, one.input)),
            f"{one.share:.0%}{', if its targets are chosen evenly' if one.is_guess else ''}",
        ]
        for one in edges
        if one.share > 0
    ]
    if not rows:
        return ["", "no tuple goes from one worker to another"]
    return ["", "tuples that go to another worker", *_aligned(rows)]


def grouping_told(graph: Graph, one: InputSpec) -> str:
    """A subscription as one reads it: stream, grouping, keys, whether it closes a loop."""
    stream = graph.components[one.source.component].streams[one.source.stream]
    keys = f"({', '.join(stream.fields[key] for key in one.keys)})" if one.keys else ""
    name = "" if one.source.stream == "default" else f"{one.source.stream}: "
    loop = " ↺" if one.closes_loop else ""
    return f"{name}{one.grouping.value}{keys}{loop}"


def _numbers(tasks: Sequence[TaskSpec], worker: int) -> str:
    """The tasks of one worker: numbers that follow each other."""
    return _range([task.task_id for task in tasks if task.worker == worker])


def _spread(tasks: Sequence[TaskSpec], workers: int) -> str:
    used = sorted({task.worker for task in tasks})
    where = "each" if len(used) == workers else f"{len(used)} of them" if len(used) > 1 else f"worker {used[0]}"
    return f"{_range([task.task_id for task in tasks])} in {where}"


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return NOTHING
    first, last = min(numbers), max(numbers)
    return str(first) if first == last else f"{first}–{last}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns below each other, two spaces between; the last one as it is."""
    widths = [max(len(cell) for cell in column) for column in list(zip(*rows, strict=True))[:-1]]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
