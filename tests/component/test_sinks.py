"""Sinks when what is behind them refuses: a full disk, a reader that went away."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import resource
import signal
import subprocess
import sys

import pytest
from squall import Topology, Tuple
from squall.connectors.files import FileSink
from squall.connectors.standard import Print
from squall.runtime import output
from squall.testing import LocalCluster

from .conftest import Squall, wait_until

TO_FILE = """
    import time
    from squall import Topology
    from squall.connectors.files import FileSink

    def lines():
        for n in range(3000):
            yield f"{{n:049}}"

    topology = Topology("filling")
    topology.bolt("file", FileSink({path!r}, fsync={fsync})).shuffle(topology.spout("lines", lines, outputs=("line",)))
"""


def test_full_disk_slows_a_sink_and_loses_nothing(squall: Squall) -> None:
    """A sink that cannot write tries again until there is room; no line is lost, doubled or cut, none is dead."""
    path = squall.folder / "lines"
    run = squall.run(TO_FILE.format(path=str(path), fsync=False).replace("for n in", "time.sleep(1)\n        for n in"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    worker = run.worker_pid()
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (100_000, hard))
    wait_until(
        lambda: path.exists() and 0 < path.stat().st_size <= 100_000 and "File too large" in run.err,
        what="the full disk",
    )
    assert run.process.poll() is None
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))
    assert run.end() == 0
    assert sorted(path.read_text().splitlines()) == [f"{n:049}" for n in range(3000)]
    summary = run.summary()
    assert summary["acked"] == 3000
    assert summary["dead"] == 0


class Full:
    """Standard output on a full disk; counts what it is asked to take."""

    writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        raise OSError(errno.ENOSPC, "no space left")


class ToFullDevice(FileSink):
    """Counts its batches."""

    writes = 0

    def __init__(self) -> None:
        super().__init__("/dev/full")

    def process_batch(self, tuples: list[Tuple]) -> None:
        self.writes += 1
        super().process_batch(tuples)


@pytest.mark.parametrize("kind", ["file", "standard output"])
def test_full_device_is_tried_once_a_second_and_kills_no_tuple(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many roots are pending. A device cannot be truncated, which must not hide that it is full."""
    monkeypatch.setattr(output, "STANDARD", full := Full())
    topology = Topology("full")
    numbers = topology.spout("numbers", lambda: iter(()), outputs=("n",))
    topology.bolt("sink", ToFullDevice if kind == "file" else Print).shuffle(numbers)
    with LocalCluster(topology, mock_sources={"numbers": range(5000)}) as cluster:
        counting = cluster.task("sink", ToFullDevice) if kind == "file" else full
        cluster.run_until_idle()
        cluster.advance(10.5)
        assert counting.writes == 11
        assert cluster.dead_letters() == cluster.acked("numbers") == []


def test_fsync_and_appending(squall: Squall) -> None:
    path = squall.folder / "lines"
    path.write_text("before\n")
    run = squall.run(TO_FILE.format(path=str(path), fsync=True))
    assert run.end() == 0
    assert path.read_text().splitlines() == ["before", *(f"{n:049}" for n in range(3000))]


def test_file_that_cannot_be_opened_fails_the_run(squall: Squall) -> None:
    run = squall.run(TO_FILE.format(path="/proc/nowhere/lines", fsync=False))
    assert run.end() == 1
    assert '"file"' in run.err
    assert "/proc/nowhere" in run.err


PRINTING = """
    from squall import Topology
    from squall.connectors.standard import Print

    def numbers():
        n = 0
        while n < {count}:
            yield n
            n += 1

    topology = Topology("printing")
    topology.bolt("print", Print).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
"""


def test_print_has_standard_output_for_itself(squall: Squall) -> None:
    """What a sink prints is all that is on standard output; progress and summary go to standard error."""
    run = squall.start("run", squall.file(PRINTING.format(count=1000)))
    assert run.end() == 0
    assert run.out.splitlines() == [str(n) for n in range(1000)]
    assert "emitted 1,000 = acked 1,000" in run.err


def test_json_keeps_standard_output_for_events(squall: Squall) -> None:
    run = squall.run(PRINTING.format(count=5))
    assert run.end() == 0
    assert run.events()[-1]["event"] == "summary"
    assert {"0", "1", "2", "3", "4"} <= set(run.err.splitlines())


def test_reader_that_goes_away_ends_the_run_cleanly(squall: Squall) -> None:
    """`squall run ... | head`: no traceback, no endless run, exit code 0."""
    for arguments in ([], ["--json"], ["-w", "2"], ["-w", "2", "--json"]):
        read, write = os.pipe()
        run = squall.start("run", squall.file(PRINTING.format(count=10**12)), *arguments, stdout=write)
        os.close(write)
        with os.fdopen(read) as lines:
            lines.readline()
        assert run.end(15) == 0
        assert "Traceback" not in run.err
        assert "Exception ignored" not in run.err


UNREAD = """
    import os
    from pathlib import Path
    from squall import Topology

    FOLDER = Path({folder!r})

    def numbers():
        n = 0
        while not (FOLDER / "end").exists():
            yield n
            n += 1

    def note(n):
        path = FOLDER / f"worker-{{os.getpid()}}"
        if not path.exists():
            path.touch()

    topology = Topology("unread")
    topology.bolt("note", note).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
"""


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_view_that_nobody_reads_holds_up_no_replacement(squall: Squall, arguments: list[str]) -> None:
    """`squall run ... | less`, without scrolling."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(write, b"\n"):
            pass
    os.set_blocking(write, True)
    run = squall.start("run", squall.file(UNREAD.format(folder=str(squall.folder))), *arguments, stdout=write)
    os.close(write)
    seen = set[str]()
    for _ in range(2):
        (worker,) = wait_until(lambda: set(glob.glob("worker-*", root_dir=squall.folder)) - seen, what="a worker")
        seen.add(worker)
        os.kill(int(worker.removeprefix("worker-")), signal.SIGKILL)
    (squall.folder / "end").touch()
    with os.fdopen(read) as lines:
        shown = lines.read()
    assert run.end() == 0
    assert "summary" in shown or "emitted" in shown


def test_closed_standard_output_from_the_start(squall: Squall) -> None:
    """Even without any standard output at all a topology runs."""
    path = squall.file(PRINTING.format(count=5).replace("Print)", "lambda n: None)"))
    command = f'exec "{sys.executable}" -m squall.cli run "{path}" >&-'
    environment = os.environ | {"SQUALL_STORM_LOCAL_DIR": str(squall.state)}
    done = subprocess.run(["sh", "-c", command], env=environment, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
