"""PostgreSQL, of the version that the system has."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from servers import installing
from servers.process import Process, run_once
from servers.server import Address, Server

DEBIAN = Path("/usr/lib/postgresql")
SETTINGS = {
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # in its folder: nothing stays in /dev/shm after a kill
    "wal_level": "logical",
    "max_wal_senders": "8",
    "max_replication_slots": "8",
    "max_connections": "60",
}


class PostgresqlAddress(Address):
    """A database: `user` needs `password`."""

    user = "squall"
    password = "squall-secret"
    database = "postgres"

    @property
    def url(self) -> str:
        """As SQLAlchemy has it, with psycopg."""
        return f"postgresql+psycopg://{self.user}:{self.password}@{self.address}/{self.database}"

    @property
    def dsn(self) -> str:
        """As psycopg has it."""
        return f"postgresql://{self.user}:{self.password}@{self.address}/{self.database}"


class Postgresql(Server, PostgresqlAddress):
    """PostgreSQL. It refuses to run as root, so it gives that up."""

    name = "postgresql"
    title = "PostgreSQL"
    reach = PostgresqlAddress
    end_signal = signal.SIGQUIT  # at once, but it gives its shared memory back

    @classmethod
    def missing(cls) -> dict[str, str]:
        """The server, if neither PATH nor Debian's folder has it."""
        return {} if _program("postgres") and _program("initdb") else {"postgres": "postgresql"}

    def prepare(self) -> None:
        """Makes the cluster of databases."""
        data = self._data()
        data.mkdir()
        secret = self.folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            for path in (data, secret):
                shutil.chown(path, "nobody", "nogroup")
        data.chmod(0o700)
        options = ("--auth=scram-sha-256", f"--username={self.user}", f"--pwfile={secret}", "--encoding=UTF8")
        command = [_known("initdb"), f"--pgdata={data}", *options, "--no-sync", "--locale=C"]
        run_once(command, self.folder / "initdb.log", as_nobody=True)

    def begin(self) -> dict[str, Process]:
        """Starts the postmaster."""
        settings = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
        command = [_known("postgres"), "-D", str(self._data()), "-p", str(self.port), *settings]
        return {"postmaster": Process(command, self.folder / "postgresql.log", as_nobody=True)}

    def answers(self) -> bool:
        """Whether it takes connections."""
        asked = [_known("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "2"]
        return subprocess.run(asked, check=False).returncode == 0

    def stop(self) -> None:
        """Ends it, and does not wait until those who are connected leave ("fast")."""
        self._end(signal.SIGINT)

    def suspend(self) -> None:
        """Stops the postmaster and those that serve connections: each is a session of its own."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets them go on."""
        self._signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """Ends all of them with SIGKILL."""
        self._signal_all(signal.SIGKILL)
        super().kill()

    def _data(self) -> Path:
        return self.folder / "data"

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self.processes.values():
            for pid in (process.pid, *children(process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)


def children(pid: int) -> list[int]:
    """The processes that a process has started, and that live."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _program(name: str) -> str | None:
    """A program of PostgreSQL; Debian keeps those of a server outside of PATH, by version."""
    newest_first = sorted(DEBIAN.glob(f"*/bin/{name}"), key=lambda path: -float(path.parts[-3]))
    return str(newest_first[0]) if newest_first else installing.program(name)


def _known(name: str) -> str:
    found = _program(name)
    assert found is not None, "it is installed"
    return found
