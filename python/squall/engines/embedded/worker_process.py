"""A worker as an operating-system process: started with its descriptors, watched, ended with all that it started."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from squall import _core
from squall.cluster.levels import Level
from squall.engines.embedded import sockets
from squall.engines.embedded.outgoing import Outgoing
from squall.engines.embedded.process import Process
from squall.engines.embedded.process_figures import ProcessFigures
from squall.engines.embedded.runs import group_of, usable
from squall.runtime.bootstrap import Bootstrap

MAX_WAITING_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a worker is to run, and where it keeps its files."""

    file: str
    name: str | None
    parameters: list[str]
    described: Mapping[str, Any]
    placed: Mapping[str, Sequence[int]]
    settings: Mapping[str, Any]
    topology_id: str
    run_dir: Path
    log_file: Path
    dead_log: Path
    drain_s: float
    stdout_fd: int

    def log_of(self, worker: int) -> Path:
        """Where a worker logs: the first one in the run's own log, the others beside it."""
        return self.log_file if worker == 1 else self.log_file.with_suffix(f".{worker}.log")

    def listener_of(self, worker: int) -> socket.socket | None:
        """Where other workers call one, at `link_name` in the folder of the run."""
        return sockets.listen(self.run_dir / link_name(worker))


def link_name(worker: int) -> str:
    """Where in the folder of the run the others call a worker."""
    return f"worker-{worker}.sock"


class WorkerProcess(Process):
    """The process of one life of a worker, in a session of its own.

    Args:
        number: the worker's, from 1, of so many `workers`.
        stdin: is closed here.
        link: where the others call, if there are others; `secret`: what they know each other by.
        positions: where its spouts go on, as JSON.
        ended: how many outputs of generators are not to be made again, by component and index.
        suspects: how often a worker died on outputs that will come, by their places, likewise.
        levels: the log levels that are in force.

    Bound: 1 MiB of commands waits for a worker that takes none (it was stopped, or writes stacks); what others ask
        beyond that is left out. So it holds up neither its parent nor its end.
    """

    def __init__(
        self,
        wanted: Wanted,
        *,
        number: int,
        workers: int,
        incarnation: int,
        secret: bytes,
        link: socket.socket | None,
        listeners: Mapping[str, socket.socket],
        stdin: socket.socket | None,
        positions: Sequence[Mapping[str, Any]],
        ended: Mapping[str, int],
        suspects: Mapping[str, Mapping[int, int]],
        levels: Sequence[Level],
    ) -> None:
        log_file = wanted.log_of(number)
        self._oom_kills = _oom_kills()
        with ExitStack() as its, ExitStack() as ours:  # where the process cannot be started nothing stays open

            def opened(fd: int, until: ExitStack) -> int:
                until.callback(os.close, fd)
                return fd

            if stdin is not None:
                its.enter_context(stdin)
            page = opened(_core.page_create(), ours)
            super().__init__(page)
            session, theirs = socket.socketpair()
            self.session = ours.enter_context(session)
            its.enter_context(theirs)
            self._commands = Outgoing(self.session, MAX_WAITING_BYTES)
            dump = opened(os.memfd_create("squall-stacks"), its)
            with usable(log_file):
                log = opened(os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), its)
            stdout = opened(os.dup(wanted.stdout_fd), its)
            boot = Bootstrap(
                parent=os.getpid(),
                file=str(Path(wanted.file).resolve()),
                name=wanted.name,
                parameters=wanted.parameters,
                described=dict(wanted.described),
                placed={name: list(workers) for name, workers in wanted.placed.items()},
                settings=dict(wanted.settings),
                topology_id=wanted.topology_id,
                worker=number,
                workers=workers,
                incarnation=incarnation,
                seed=secrets.randbits(64),
                session_fd=theirs.fileno(),
                page_fd=page,
                dump_fd=dump,
                stdout_fd=stdout,
                listen_fds={name: listener.fileno() for name, listener in listeners.items()},
                log_file=str(log_file),
                run_dir=str(wanted.run_dir),
                dead_log=str(wanted.dead_log),
                drain_s=wanted.drain_s,
                positions=[dict(position) for position in positions],
                stdin_fd=stdin.fileno() if stdin is not None else None,
                link_fd=link.fileno() if link is not None else None,
                secret=secret.hex(),
                ended=dict(ended),
                suspects={key: {str(place): deaths for place, deaths in of.items()} for key, of in suspects.items()},
                levels=[asdict(level) for level in levels],
            )
            bootstrap = opened(os.memfd_create("squall-bootstrap"), its)
            boot.write(bootstrap)
            inputs = [fd for fd in (boot.stdin_fd, boot.link_fd) if fd is not None]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "squall.runtime.worker"],
                stdin=bootstrap,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno(), page, dump, stdout, *boot.listen_fds.values(), *inputs],
                start_new_session=True,
            )
            ours.callback(self._end_at_once)
            with usable(wanted.run_dir):
                self._group = group_of(wanted.run_dir, self._process.pid)
            ours.callback(self._group.unlink)
            self.pidfd = os.pidfd_open(self._process.pid)
            self._figures = ProcessFigures(number, self._process.pid)
            ours.pop_all()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def figures(self) -> dict[str, Any]:
        """What the operating system knows of it; see `ProcessFigures`."""
        return self._figures.now()

    def tell(self, command: dict[str, Any], *, may_be_lost: bool = False) -> None:
        """Gives it a command; it takes it when it can."""
        if not may_be_lost or self._commands.waiting_bytes < MAX_WAITING_BYTES:
            self._commands.show(sockets.line(command))  # if it is gone its exit is an event of its own

    def flush(self) -> None:
        """Sends what waited; called a few times a second."""
        self._commands.flush()

    def kill(self) -> None:
        """Ends it and everything that it started."""
        # The process is not reaped yet, so its group cannot be another one.
        os.killpg(self._process.pid, signal.SIGKILL)

    def _end_at_once(self) -> None:
        """Ends a process that nobody could follow."""
        self.kill()
        self._process.wait()

    def reap(self) -> int:
        """Waits for its end; the exit code, or the negative number of the signal."""
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        self.kill()
        return self._process.wait()

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process for memory since this one was started."""
        return _oom_kills() > self._oom_kills

    def close(self) -> None:
        """Lets go of its descriptors."""
        self._group.unlink(missing_ok=True)
        for fd in (self.pidfd, self.page):
            os.close(fd)
        self.session.close()


def _oom_kills() -> int:
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
