"""What all servers have in common: how one is installed, started, disturbed and ended."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import ClassVar, Self

from servers import installing
from servers.process import Process

READY_WITHIN_S = 90.0
# Below the ports that the system takes for outgoing connections: one of those could sit on a server's port while that
# is down, and it would not come back.
PORTS = range(12_000, 32_000)


class Address:
    """Where a server is reached; what the tests that share one are given."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = tuple(ports)

    @property
    def port(self) -> int:
        """The main port, on 127.0.0.1."""
        return self.ports[0]

    @property
    def address(self) -> str:
        """`127.0.0.1:19092`."""
        return f"127.0.0.1:{self.port}"


class Server(Address):
    """A real server: child processes on loopback ports of their own, which end when this process ends.

    ```python
    with Kafka() as kafka:
        kafka.kill()
        kafka.start()
    ```

    Args:
        folder: for its data, kept in the end; None: a temporary one.
        ports: None: free ones.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reach: ClassVar[type[Address]]
    programs: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What it needs of the system: a command, and the Debian package that has it."""
    ports_needed: ClassVar[int] = 1
    end_signal: ClassVar[signal.Signals] = signal.SIGKILL
    """What ends it for good. Its data goes with it, so it need not be gentle."""

    def __init__(self, folder: Path | None = None, ports: Sequence[int] | None = None) -> None:
        super().__init__(ports or free_ports(self.ports_needed))
        self._is_temporary = folder is None
        self._made: Path | None = folder
        self.processes: dict[str, Process] = {}

    # -- what a server says of itself --------------------------------------------------------------------------------

    @classmethod
    def install(cls) -> None:
        """Installs what is missing, and tells of each long step."""
        installing.packages(cls.missing())

    @classmethod
    def missing(cls) -> dict[str, str]:
        """The programs that the system lacks, with their packages."""
        return {program: package for program, package in cls.programs.items() if not installing.program(program)}

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it can be started."""
        return not cls.missing()

    def prepare(self) -> None:
        """Makes the data of a server that never ran."""

    def begin(self) -> dict[str, Process]:
        """Starts its processes."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it serves. An `OSError` is a no."""
        raise NotImplementedError

    # -- its life ----------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Where its data and its logs are."""
        if self._made is None:
            self._made = Path(tempfile.mkdtemp(prefix=f"squall-{self.name}-"))
            self._made.chmod(0o755)  # a server that gives up root must still get in
        return self._made

    def start(self, within_s: float = READY_WITHIN_S) -> None:
        """Starts it, with the data that it had, and waits until it serves.

        Raises:
            RuntimeError: it is not installed, or it ended.
            TimeoutError: it does not serve in time.
        """
        if not self.is_installed():
            raise RuntimeError(f"{self.title} is not installed; fix: make servers")
        if self.is_running:
            raise RuntimeError(f"{self.title} runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (done := self.folder / "prepared").exists():
            self.prepare()
            done.touch()
        self.processes = self.begin()
        self.ready(within_s)

    def ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Waits until it serves; raises as `start` does."""
        deadline_s = time.monotonic() + within_s
        while not self._answers():
            for name, process in self.processes.items():
                if not process.is_alive:
                    raise RuntimeError(f"{self.title}: {name} ended:\n{process.last_lines()}")
            if time.monotonic() > deadline_s:
                lines = "\n".join(process.last_lines() for process in self.processes.values())
                raise TimeoutError(f"{self.title} does not answer at {self.address} within {within_s} s:\n{lines}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it gently."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Stops all its processes (SIGSTOP): connections stay open, nothing is answered."""
        for process in self.processes.values():
            process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        for process in self.processes.values():
            process.signal(signal.SIGCONT)

    def close(self) -> None:
        """Ends it for good, and removes its data where that is temporary."""
        self._end(self.end_signal)
        if self._is_temporary and self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        """Whether one of its processes lives."""
        return any(process.is_alive for process in self.processes.values())

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, number: signal.Signals) -> None:
        if number != signal.SIGKILL:
            self.resume()  # what is stopped takes no other signal
        for process in self.processes.values():
            process.signal(number)
        for process in self.processes.values():
            process.end(number)
        self.processes = {}

    def _answers(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody listens on."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return tuple(found)
