"""Task numbers and executors.

Source: Storm 1.2.1 `daemon/common.clj`: components by name, tasks counted from 1, contiguous executors, larger first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from squall.model.graph import Graph, Plan, TaskSpec

ONLY_WORKER = 1


def plan(graph: Graph, placed: Mapping[str, Sequence[int]] | None = None) -> Plan:
    """Numbers the tasks of a graph and puts them into executors and workers.

    Args:
        placed: the worker of each executor, by component; None: one worker runs them all. What belongs to workers
            (the spout of dead letters) may have more executors there than the graph knows of, a task each.
    """
    tasks: list[TaskSpec] = []
    for name in sorted(graph.components):
        spec = graph.components[name]
        wanted = spec.parallelism if placed is None else len(placed[name])
        executors = split(max(spec.tasks, wanted), wanted)
        first = len(tasks) + 1
        for index, executor in enumerate(executors):
            worker = placed[name][executor] if placed is not None else ONLY_WORKER
            tasks.append(TaskSpec(first + index, name, index, executor, worker))
    return Plan(graph, tuple(tasks))


def split(tasks: int, executors: int) -> list[int]:
    """The executor of each task: contiguous ranges whose sizes differ by at most one, larger ranges first."""
    size, larger = divmod(tasks, executors)
    sizes = [size + (number < larger) for number in range(executors)]
    return [number for number, count in enumerate(sizes) for _ in range(count)]
