"""What a run tells of itself beside what its worker says."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

from squall import _core
from squall.engines.embedded.runs import CONTROL_SOCKET
from squall.engines.embedded.worker_process import Wanted
from squall.errors import Defect
from squall.model.graph import Graph
from squall.planner.shape import shape


def started(
    graph: Graph,
    wanted: Wanted,
    workers: Sequence[Mapping[str, int]],
    addresses: Mapping[str, str],
    urls: Mapping[str, str],
) -> dict[str, Any]:
    """The first event: the graph, the processes, where it listens, its log, where it takes commands.

    Args:
        urls: where its metrics are, by what reads them.
    """
    return {
        "event": "started",
        "topology": graph.name,
        "workers": [dict(worker) for worker in workers],
        "listening": dict(addresses),
        "log": str(wanted.log_file),
        "control": str(wanted.run_dir / CONTROL_SOCKET),
        "pid": os.getpid(),
        "version": _core.BUILD["version"],
        "python": platform.python_version(),
        "metrics": dict(urls),
        "at_epoch_ms": int(time.time() * 1000),
        "graph": shape(graph),
    }


def worker(number: int, pid: int, state: str, cause: Defect | None) -> dict[str, Any]:
    """A worker's process is `started`, `ready` (all its components are open) or `lost`, for a `cause` with a `code`."""
    text, code = (None, None) if cause is None else (cause.message, cause.code)
    return {"event": "worker", "id": number, "pid": pid, "state": state, "cause": text, "code": code}
