"""The runs of this machine: a folder each, `<storm.local.dir>/runs/<topology>-<pid>`, with a socket for commands.

A run holds a lock on its folder: the kernel lets go of it, whatever ended the process. Process numbers come again, in a
container that is started again at once, so they say nothing of who is alive.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from squall.engines.embedded import sockets
from squall.errors import ClusterError, Defect

CONTROL_SOCKET = "control.sock"
KEPT_LOGS, KEPT_LOG_BYTES = 100, 1 << 30
"""Log files of earlier runs that are kept, and how much they may have together."""
GROUP = "group-"
LOOKED_AT_S = 2.0
"""For longer nobody looks whether a run is alive."""
SWEEP = """
read -r _
for group in "$1"/group-*; do kill -9 "-${group##*-}"; done
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"""
"""Ends what is left of a run, and removes it. Workers may be about to end, and still make files: then it is not gone at
once."""


@contextmanager
def usable(path: Path) -> Generator[None]:
    """Inside, what the state folder refuses, or a file in it, is one error.

    Raises:
        ClusterError: `state_unusable`.
    """
    try:
        yield
    except OSError as error:
        facts = (("path", str(error.filename or path)), ("because", error.strerror or str(error)))
        fix = "make it usable, or name another folder: -c storm.local.dir=FOLDER"
        raise ClusterError(Defect("state_unusable", "the state folder cannot be used", facts, fix)) from None


@contextmanager
def folder_of_run(path: Path) -> Generator[None]:
    """A folder that is there inside only, also if this process is killed meanwhile; then what workers started ends too.

    A shell waits for the end of a pipe that only this process can write to: the kernel closes it, whatever ended the
    process. Dropped: to leave it to a worker, which the kernel kills in the same moment.
    """
    lock = _made(path)
    command = ["/bin/sh", "-c", SWEEP, "squall-sweep", str(path.absolute())]
    none = subprocess.DEVNULL
    try:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=none, stderr=none, start_new_session=True, cwd="/"
        ):
            try:
                yield
            finally:
                shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def group_of(path: Path, pid: int) -> Path:
    """A file in a run's folder; while it is there the group of this process is ended if the run's parent is killed."""
    group = path / f"{GROUP}{pid}"
    group.touch(mode=0o600)
    return group


def _made(path: Path) -> int:
    """A folder of a run, made and locked."""
    until_s = time.monotonic() + LOOKED_AT_S
    while True:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):  # who removes dead runs was faster
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            if _locks(lock, path, fcntl.LOCK_EX):
                return lock
            os.close(lock)
        if time.monotonic() > until_s:
            raise OSError(errno.EBUSY, "another run has it", str(path))
        time.sleep(0.01)


def remove_dead_runs(base: Path) -> None:
    """Removes what runs left whose parent was killed."""
    for run in _folders(base):
        with _dead(run, fcntl.LOCK_EX) as is_dead:
            if is_dead:
                shutil.rmtree(run, ignore_errors=True)


def remove_old_logs(base: Path) -> None:
    """Removes all log files of runs but the newest; of runs that are going on none."""
    logs = [(found.st_mtime, found.st_size, log) for log in (base / "logs").glob("*-*-*.log*") if (found := log.stat())]
    kept_bytes = 0
    for number, (_, size, log) in enumerate(sorted(logs, reverse=True), 1):
        kept_bytes += size
        is_kept = number <= KEPT_LOGS and kept_bytes <= KEPT_LOG_BYTES
        if not is_kept and not (base / "runs" / log.name.rpartition("-")[0]).exists():
            log.unlink(missing_ok=True)


def running(base: Path) -> dict[str, Path]:
    """Control sockets of the runs that are alive, by topology name and pid."""
    alive = [run for run in _folders(base) if _is_alive(run) and (run / CONTROL_SOCKET).exists()]
    return {run.name: run / CONTROL_SOCKET for run in alive}


def topology_of(key: str) -> str:
    """The topology's name in a key of `running`."""
    return key.rpartition("-")[0]


def pid_of(key: str) -> int:
    """The process of `squall run` in a key of `running`."""
    return int(key.rpartition("-")[2])


def stopped_process(key: str) -> int | None:
    """A process of a run that a signal has stopped (SIGSTOP, Ctrl-Z, a debugger), if there is one."""
    parent = pid_of(key)
    with suppress(OSError):
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in (parent, *map(int, children)):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] in ("T", "t"):
                return pid
    return None


def _folders(base: Path) -> list[Path]:
    with usable(base / "runs"):
        return sorted((base / "runs").glob("*-*"))


def _is_alive(run: Path) -> bool:
    with _dead(run, fcntl.LOCK_SH) as is_dead:  # several may look at the same time
        return not is_dead


@contextmanager
def _dead(run: Path, how: int) -> Generator[bool]:
    """Whether nobody has a run's folder; inside, it stays so. One that cannot be opened is gone, or another user's."""
    try:
        lock = os.open(run, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        yield _locks(lock, run, how)
    finally:
        os.close(lock)


def _locks(folder: int, path: Path, how: int) -> bool:
    """Whether a folder that was open is locked now, and still what is at its path: it may have been removed since."""
    try:
        fcntl.flock(folder, how | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(folder), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def ask(path: Path, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Sends one command to a run and returns its answer.

    Raises:
        TimeoutError: no answer came in time.
        OSError: the run has gone.
    """
    with sockets.connect(path, timeout_s) as connection:
        connection.sendall(sockets.line(request))
        buffer = sockets.LineBuffer()
        while data := connection.recv(1 << 16):
            for answer in buffer.feed(data):
                return answer
    raise ConnectionResetError("the run ended before it answered")
