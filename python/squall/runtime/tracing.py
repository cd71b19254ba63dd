"""Where the trace of a worker's life goes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("squall.worker")


def open_trace(settings: Mapping[str, Any], run: str, worker: int, incarnation: int) -> tuple[int, int, int] | None:
    """What the core needs to write the trace of a life, in the folder of its run: descriptor, most bytes, worker.

    None: it is not to, or cannot, which is logged; tuples are worth more than their trace.
    """
    if settings["topology.trace.dir"] is None:
        return None
    file = Path(settings["topology.trace.dir"]) / run / f"worker-{worker}-life-{incarnation}.trace"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        log.error("event=trace_unwritable file=%s error=%s", file, error.strerror)
        return None
    return fd, settings["topology.trace.max.bytes"], worker
