"""`squall` as its users run it: real processes, each with a state folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

WITHIN_S = 30.0
NO_SECOND_LIFE = ("-c", "topology.worker.deaths.max=1", "-c", "topology.worker.start.deaths.max=1")
"""Arguments with which the first death of a worker ends the run."""


def wait_until(condition: Callable[[], Any], within_s: float = WITHIN_S, what: str = "the condition") -> Any:
    """What `condition` returns as soon as it is true."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within_s} s")
        time.sleep(0.01)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Running:
    """A `squall` process that was started."""

    process: subprocess.Popen[bytes]
    out_path: Path
    err_path: Path
    worker: int | None = field(default=None)

    @property
    def out(self) -> str:
        return self.out_path.read_text()

    @property
    def err(self) -> str:
        return self.err_path.read_text()

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The JSON lines printed so far."""
        lines = self.out.splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if kind in (None, event["event"])]

    def event(self, kind: str, within_s: float = WITHIN_S) -> dict[str, Any]:
        """The first event of its kind, as soon as it is there."""

        def found() -> list[dict[str, Any]]:
            events = self.events(kind)
            if not events and self.process.poll() is not None and not self.events(kind):
                raise AssertionError(f"the run ended without {kind!r}:\n{self.out}\n{self.err}")
            return events

        return wait_until(found, within_s, f"event {kind!r}")[0]

    def worker_pid(self) -> int:
        """The worker's process, once it was started."""
        self.worker = self.event("started")["workers"][0]["pid"]
        assert self.worker is not None
        return self.worker

    def lost(self) -> list[dict[str, Any]]:
        """The workers that were lost so far."""
        return [event for event in self.events("worker") if event["state"] == "lost"]

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self, within_s: float = WITHIN_S) -> int:
        """The exit code, once it ends."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s} s:\n{self.out[-3000:]}\n{self.err[-3000:]}") from None

    def summary(self) -> dict[str, Any]:
        """The last event, which adds up."""
        summary = self.events()[-1]
        assert summary["event"] == "summary"
        assert summary["emitted"] == summary["acked"] + summary["failed"] + summary["pending"]
        return summary


def take_interrupts() -> None:
    """Has Ctrl-C end a command, also where the tests themselves run in a shell's background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Squall:
    """Starts `squall` in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self._started: list[Running] = []

    def file(self, text: str, name: str = "topology.py") -> Path:
        """Writes a topology file."""
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def start(self, *arguments: object, stdout: Any = None, stdin: Any = subprocess.DEVNULL) -> Running:
        """Starts a command; its output goes to files."""
        number = len(self._started)
        out, err = self.folder / f"out-{number}", self.folder / f"err-{number}"
        environment = os.environ | {"SQUALL_STORM_LOCAL_DIR": str(self.state), "COLUMNS": "120"}
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "squall.cli", *map(str, arguments)],
                stdin=stdin,
                stdout=stdout if stdout is not None else out_file,
                stderr=err_file,
                cwd=self.folder,
                env=environment,
                preexec_fn=take_interrupts,
            )
        self._started.append(Running(process, out, err))
        return self._started[-1]

    def run(self, text: str, *arguments: object) -> Running:
        """Starts `squall run --json` of a topology."""
        return self.start("run", self.file(text), "--json", *arguments)

    def done(self, *arguments: object) -> Running:
        """Runs a command to its end."""
        running = self.start(*arguments)
        running.end()
        return running

    def close(self) -> None:
        for running in self._started:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()


@pytest.fixture
def squall(tmp_path: Path) -> Iterator[Squall]:
    squall = Squall(tmp_path)
    yield squall
    squall.close()
