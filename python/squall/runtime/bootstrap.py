"""What a worker is told when it starts, on its standard input: there is a secret in it, which no file is to hold."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Everything that a worker needs to build and run its tasks; descriptors are inherited.

    `settings` are those of file, environment and command line, with defaults. `listen_fds`: the listening socket of
    each spout that has one, by the spout's name. `stdout_fd`: where sinks write that mean standard output. `described`:
    the topology as the parent built it. `positions`: where the spouts of the last run stopped. `stdin_fd`: where
    the parent passes standard input on, if a spout reads it.

    `parent`: the process that started it. `placed`: the worker of each executor, by component. `worker`: its number,
    from 1, of so many `workers`. `incarnation`: which life, counted over all workers. `link_fd`: where workers with
    smaller numbers call, if there are any. `secret`: what they know each other by, in hexadecimal. `ended`: how many
    outputs of each task of a generator ended in the lives before, by component and index ("numbers/0"). `suspects`:
    how often a worker died on an output, by its place among those to come, likewise. `levels`: changes of log levels
    that are in force, with `logger`, `level`, `ends_s`.
    """

    parent: int
    file: str
    name: str | None
    parameters: list[str]
    described: dict[str, Any]
    settings: dict[str, Any]
    topology_id: str
    placed: dict[str, list[int]]
    worker: int
    workers: int
    incarnation: int
    seed: int
    session_fd: int
    page_fd: int
    dump_fd: int
    stdout_fd: int
    listen_fds: dict[str, int]
    run_dir: str
    log_file: str
    dead_log: str
    drain_s: float
    positions: list[dict[str, Any]]
    stdin_fd: int | None
    link_fd: int | None
    secret: str
    ended: dict[str, int]
    suspects: dict[str, dict[str, int]]
    levels: list[dict[str, Any]]

    def write(self, fd: int) -> None:
        """Writes it to a file, which is at its beginning again then."""
        with os.fdopen(fd, "w", encoding="utf-8", closefd=False) as file:
            json.dump(asdict(self), file)
        os.lseek(fd, 0, os.SEEK_SET)

    @classmethod
    def take(cls, fd: int) -> Self:
        """What `write` wrote; there is nothing in the file's place then."""
        with os.fdopen(fd, encoding="utf-8", closefd=False) as file:
            boot = cls(**json.load(file))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, fd)
        os.close(nothing)
        return boot
