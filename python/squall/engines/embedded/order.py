"""What `squall run` was asked for, and what that means for its workers."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from squall.cluster.placement import Placement
from squall.config.load import local_dir
from squall.engines.embedded.outcome import DRAIN_AT_LEAST_S
from squall.engines.embedded.worker_process import Wanted
from squall.model.graph import Graph
from squall.planner.describe import describe
from squall.runtime.dead_log import log_path


@dataclass(frozen=True, slots=True)
class Order:
    """What `squall run` was asked for.

    `stdout_fd`: where sinks write that write to standard output. `from_start`: whether to forget where the spouts of
    the last run stopped.
    """

    file: str
    name: str | None
    parameters: list[str]
    settings: dict[str, Any]
    for_s: float | None
    drain_s: float
    stdout_fd: int = 1
    from_start: bool = False
    workers: int | None = None

    def wanted(self, graph: Graph, placement: Placement) -> Wanted:
        """What all workers of a run that begins now are to run, and where they keep their files."""
        base, second = local_dir(self.settings), int(time.time())
        stamp = f"{graph.name}-{os.getpid()}"
        return Wanted(
            file=self.file,
            name=self.name,
            parameters=self.parameters,
            described=describe(graph),
            placed=placement.executors,
            settings=self.settings,
            topology_id=f"{graph.name}-1-{second}",
            run_dir=base / "runs" / stamp,
            log_file=base / "logs" / f"{stamp}-{second}.log",
            dead_log=log_path(base, graph.name),
            drain_s=max(self.drain_s, DRAIN_AT_LEAST_S),
            stdout_fd=self.stdout_fd,
        )
