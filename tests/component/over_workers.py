"""What tests of several workers share: a bolt that keeps what it got in files which outlive its worker."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from squall.cli.letters.viewing import as_json
from squall.model.durations import parse_duration
from squall.runtime.dead_log import log_path
from squall.runtime.stored import read

from .conftest import Running, Squall, wait_until

FOR_S = parse_duration(os.environ.get("SQUALL_KILL_FOR", "8s"))
"""How long a test may kill; `make kill` gives more."""
only_when_long = pytest.mark.skipif(FOR_S <= 20, reason="`make kill` has the time")

KEEP = """
    import itertools, json, os, signal, time
    from pathlib import Path
    from squall import *

    FOLDER = Path({folder!r})

    def keep(*values):
        with open(FOLDER / f"kept-{{os.getpid()}}", "a") as file:  # one write a line: a kill cuts none
            file.write(json.dumps(values) + "\\n")

    class Keep(Bolt):
        def process(self, n: int):
            keep(n)
"""


def with_keep(squall: Squall, text: str) -> str:
    """A topology file that can `keep` values."""
    return KEEP.format(folder=str(squall.folder)) + text


def kept(squall: Squall) -> Iterator[list[Any]]:
    """The values of all `keep` so far."""
    for path in squall.folder.glob("kept-*"):
        for line in path.read_text().splitlines():
            yield json.loads(line)


def count(squall: Squall) -> Counter[Any]:
    """How often each value was kept, where it is one."""
    return Counter(values[0] for values in kept(squall))


def pid(run: Running, worker: int, *, after: int = 0) -> int:
    """The process of a worker that is ready now; `after`: not this one, but one of a later life."""

    def ready() -> int | None:
        states = [event for event in run.events("worker") if event["id"] == worker]
        is_ready = bool(states) and states[-1]["state"] == "ready" and states[-1]["pid"] != after
        assert is_ready or run.process.poll() is None, f"the run has ended:\n{run.err[-3000:]}"
        return states[-1]["pid"] if is_ready else None

    return wait_until(ready, what=f"worker {worker}")


def kill(run: Running, worker: int) -> int:
    """Kills a worker that is ready; the process of its next life, when that is ready."""
    process = pid(run, worker)
    os.kill(process, signal.SIGKILL)
    return pid(run, worker, after=process)


def lost(run: Running) -> list[dict[str, Any]]:
    """The deaths of workers that were told of."""
    return [event for event in run.events("worker") if event["state"] == "lost"]


def letters(squall: Squall, topology: str) -> list[dict[str, Any]]:
    """The dead letters, as `squall dead show --json` prints them."""
    return [as_json(letter, None, whole=True) for letter in read(log_path(squall.state, topology))]


def files_left(squall: Squall) -> list[Path]:
    """What runs have left beside their logs."""
    return list((squall.state / "runs").glob("*"))
