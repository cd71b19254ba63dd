"""Keeps the servers that the processes of one test session share: `python -m servers.keeper FOLDER`.

pytest runs tests in several processes, and any of them may be the last, or be killed. So servers belong to a process of
their own, which all hold a connection to: when the last connection breaks, for whatever reason, it ends the servers and
itself. A connection carries names of servers, and for each an answer: where it is, or why it is nowhere.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

from servers import KINDS
from servers.server import Server

FIRST_WITHIN_S = 30.0


class Keeper:
    """The servers, and who holds them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: dict[str, Server] = {}
        self._starting: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self._holders = 0
        self._path = folder / "keeper"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)

    def run(self) -> None:
        """Takes connections until there is none left."""
        self._listener.settimeout(FIRST_WITHIN_S)
        try:
            while True:
                connection, _ = self._listener.accept()
                self._listener.settimeout(None)
                with self._lock:
                    self._holders += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except TimeoutError:
            self._end()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rw", encoding="utf-8") as lines:
                for line in lines:
                    print(json.dumps(self._answer(line.strip())), file=lines, flush=True)
        except OSError:
            pass  # it was killed, and its connection with it
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._end()

    def _answer(self, name: str) -> dict[str, Any]:
        with self._lock:
            starting = self._starting[name]
        with starting:
            if name not in self._servers:
                server = KINDS[name](self._folder / name)
                try:
                    server.start()
                except Exception as error:
                    server.close()
                    shutil.rmtree(self._folder / name, ignore_errors=True)
                    return {"error": str(error)}
                self._servers[name] = server
            return {"ports": self._servers[name].ports}

    def _end(self) -> None:
        self._path.unlink(missing_ok=True)
        for server in self._servers.values():
            server.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        for suffix in (".log", ".lock"):
            Path(f"{self._folder}{suffix}").unlink(missing_ok=True)
        os._exit(0)  # the listener waits in another thread


if __name__ == "__main__":
    Keeper(Path(sys.argv[1])).run()
