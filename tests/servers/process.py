"""Child processes that end with the process that started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NOBODY = ("--reuid=nobody", "--regid=nogroup", "--clear-groups")

# The kernel kills a child when the *thread* that forked it ends, so all are forked by one that lives as long as we do.
_starter = ThreadPoolExecutor(1, thread_name_prefix="server-starter")


class Process:
    """A child in a session of its own, whose output goes into a file.

    Args:
        command: what runs, and its arguments.
        log_path: where its output is added.
        environment: variables besides ours.
        as_nobody: gives up root, if we are root.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_path: Path,
        *,
        environment: Mapping[str, str] | None = None,
        as_nobody: bool = False,
    ) -> None:
        self._log_path = log_path
        self._child = _starter.submit(_start, ending_with_us(command, as_nobody), log_path, environment or {}).result()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; one that is stopped is alive."""
        return self._child.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it has not ended."""
        self._child.send_signal(number)

    def ended(self, within_s: float) -> bool:
        """Waits for its end."""
        try:
            self._child.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, number: signal.Signals, within_s: float = 30.0) -> None:
        """Ends it by a signal, and by force where that is not enough in time."""
        self.signal(number)
        if not self.ended(within_s):
            self.signal(signal.SIGKILL)
            self.ended(within_s)

    def last_lines(self, count: int = 20) -> str:
        """The end of its output."""
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-count:])


def ending_with_us(command: Sequence[str], as_nobody: bool = False) -> list[str]:
    """`command`, so that the kernel kills it when the thread that started it ends."""
    identity = NOBODY if as_nobody and os.geteuid() == 0 else ()
    return ["setpriv", *identity, "--pdeathsig=KILL", *command]


def run_once(command: Sequence[str], log_path: Path, *, as_nobody: bool = False, within_s: float = 60.0) -> None:
    """Runs a command that ends by itself.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    process = Process(command, log_path, as_nobody=as_nobody)
    if not process.ended(within_s):
        process.end(signal.SIGKILL)
    if process._child.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{process.last_lines()}")


def _start(command: list[str], log_path: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log_path.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=log_path.parent,
            start_new_session=True,
        )
