"""Servers that the processes of one test session share; `keeper` has them."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TypeVar

from servers.server import Address, Server

Reached = TypeVar("Reached", bound=Address)
KEEPER_WITHIN_S = 20.0


class Shared:
    """The servers of one session, as one of its processes has them: started when first asked for.

    They end when the last process of the session has closed this, or has ended in any way.

    Args:
        session: what all processes of the session call it.
    """

    def __init__(self, session: str) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"squall-servers-{os.geteuid()}-{session}"
        self._connection: socket.socket | None = None

    def ask(self, kind: type[Server]) -> Address:
        """Where a server of the session is; it is started by the first one who asks.

        Raises:
            RuntimeError: it could not be started; with its last words.
        """
        answer = self._asked(kind.name)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return kind.reach(answer["ports"])

    def close(self) -> None:
        """Lets go of the servers."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(self, name: str) -> dict[str, object]:
        for _ in range(3):  # a keeper that was about to end takes no more
            if self._connection is None:
                self._connection = self._connected()
            try:
                with self._connection.makefile("rw", encoding="utf-8") as lines:
                    print(name, file=lines, flush=True)
                    if line := lines.readline():
                        return json.loads(line)
            except OSError:
                pass
            self.close()
        raise RuntimeError(f"the keeper of the servers ended; what it said is in {self._folder}.log")

    def _connected(self) -> socket.socket:
        # The keeper inherits the log, so that cannot be the lock, too.
        with Path(f"{self._folder}.log").open("ab") as log, Path(f"{self._folder}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            deadline_s, keeper = time.monotonic() + KEEPER_WITHIN_S, None
            while True:
                connection = socket.socket(socket.AF_UNIX)
                try:
                    connection.connect(str(self._folder / "keeper"))
                    return connection
                except OSError:
                    connection.close()
                    if time.monotonic() > deadline_s:
                        raise
                if keeper is None or keeper.poll() is not None:
                    self._folder.mkdir(mode=0o755, exist_ok=True)
                    keeper = subprocess.Popen(
                        [sys.executable, "-m", "servers.keeper", str(self._folder)],
                        cwd=Path(__file__).parents[1],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                time.sleep(0.02)
