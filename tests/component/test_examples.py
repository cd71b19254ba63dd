"""The examples, run as their users run them."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .conftest import is_alive, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"


class MainJob:
    """`examples/run_word_count.py` on a terminal of its own or on a pipe."""

    def __init__(self, state: Path, for_: str, *, terminal: bool) -> None:
        self.output = b""
        read, write = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "run_word_count.py"), "--for", for_],
            stdout=write,
            stderr=write,
            env=os.environ | {"SQUALL_STORM_LOCAL_DIR": str(state), "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(write)
        self._reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self._reader.start()

    def _read(self, fd: int) -> None:
        try:
            while data := os.read(fd, 1 << 16):
                self.output += data
        except OSError:
            pass  # how the end of a terminal looks

    @property
    def text(self) -> str:
        return re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", self.output).decode()

    def children(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def end(self) -> int:
        code = self.process.wait(40)
        self._reader.join(5)
        return code


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_main_job_counts_what_was_sent(tmp_path: Path, terminal: bool) -> None:
    """On a pipe a plain line a second, on a terminal a live view with the top words; the totals agree at the end."""
    job = MainJob(tmp_path, "4s", terminal=terminal)
    assert job.end() == 0, job.text
    assert "top words" in job.text
    assert re.search(r"words sent ([\d,]+), words counted \1: equal", job.text)
    assert re.search(r"emitted ([\d,]+) = acked \1 \+ failed 0 \+ pending 0", job.text)
    for part in ("in", "out", "complete p50", "p99", "capacity", "queue"):
        assert part in job.text


def test_interrupt_of_the_main_job_drains(tmp_path: Path) -> None:
    """Ctrl-C stops the feeder, drains, and still everything that was sent is counted: exit code 0."""
    job = MainJob(tmp_path, "60s", terminal=False)
    wait_until(lambda: "top words" in job.text, what="a progress line")
    job.process.send_signal(signal.SIGINT)
    assert job.end() == 0, job.text
    assert re.search(r"words sent ([\d,]+), words counted \1: equal", job.text)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nonsense"], 2, "write HOST:PORT"),
        (["127.0.0.1:99999"], 2, "write HOST:PORT"),
        (["127.0.0.1:7007", "--for", "soon"], 2, "write 20s"),
        (["nowhere.invalid:7007"], 1, "feeder: nowhere.invalid:7007 takes nothing"),
    ],
)
def test_feeder_that_cannot_feed_is_one_short_error(arguments: list[str], code: int, told: str) -> None:
    command = [sys.executable, str(EXAMPLES / "feeder.py"), *arguments]
    feeder = subprocess.run(command, capture_output=True, text=True, check=False)
    assert feeder.returncode == code
    assert told in feeder.stderr
    assert "Traceback" not in feeder.stderr


def test_main_job_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    job = MainJob(tmp_path, "60s", terminal=False)
    wait_until(lambda: "top words" in job.text, what="a progress line")
    started = job.children()
    worker = int(re.search(r"process (\d+)", job.text)[1])
    assert len(started) == 2
    job.process.kill()
    for pid in (*started, worker):
        wait_until(lambda pid=pid: not is_alive(pid), 2, f"the end of {pid}")
