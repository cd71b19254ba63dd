"""What the operating system knows of a process: its share of a core, its memory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessFigures:
    """Figures of the worker in one process. Cost: two small reads from /proc each time."""

    def __init__(self, number: int, pid: int) -> None:
        self._number, self._folder = number, Path(f"/proc/{pid}")
        self._began_s = self._last_s = time.monotonic()
        self._cpu_s = 0.0
        self._pid = pid

    def now(self) -> dict[str, Any]:
        """Out: `id`, `pid` · `cpu_ratio`: cores used since the last call · `rss_bytes` · `uptime_s`."""
        now_s = time.monotonic()
        cpu_s, rss_bytes = self._read()
        ratio = max(0.0, cpu_s - self._cpu_s) / max(now_s - self._last_s, 1e-3)
        self._last_s, self._cpu_s = now_s, cpu_s
        return {
            "id": self._number,
            "pid": self._pid,
            "cpu_ratio": round(ratio, 3),
            "rss_bytes": rss_bytes,
            "uptime_s": round(now_s - self._began_s, 1),
        }

    def _read(self) -> tuple[float, int]:
        try:
            # The second field is the program's name in brackets, which may hold spaces.
            fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0, 0
        user, system, rss_pages = int(fields[11]), int(fields[12]), int(fields[21])
        return (user + system) / TICKS_PER_S, rss_pages * PAGE_BYTES
