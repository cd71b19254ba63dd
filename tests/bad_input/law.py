"""The law of bad input, in the process of the test: refused in one reason, by its exit code, with nothing half done."""

from __future__ import annotations

import gc
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from squall.cli.app import exit_code_of
from squall.cli.failures import MAX_LINES
from squall.errors import MAX_LINE

WITHIN_S = 20.0
"""Far more than any refusal takes, on a machine that is busy; what waits for something takes longer."""
CODE = re.compile(r"^  code: ([a-z]+(?:_[a-z]+)+)$", re.MULTILINE)


@dataclass(frozen=True)
class Refusal:
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def codes(self) -> list[str]:
        return CODE.findall(self.err)

    @property
    def reason(self) -> str:
        """Its first line."""
        return self.err.partition("\n")[0]


class CommandLine:
    """`squall` in this process, in a folder of its own that holds nothing of a run before and after."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.state, self._capfd = folder, folder / "state", capfd

    def refuses(self, *arguments: str) -> Refusal:
        """What a command says that must be refused; it keeps the law."""
        with nothing_half_done(self.folder):
            refusal = self.said(*arguments)
        assert refusal.status in (1, 2), refusal
        lawful(refusal)
        return refusal

    def said(self, *arguments: str) -> Refusal:
        """What a command says."""
        self._capfd.readouterr()
        status = exit_code_of(list(arguments))
        captured = self._capfd.readouterr()
        return Refusal(status, captured.out, captured.err)


def lawful(refusal: Refusal) -> None:
    """It says in one line what is wrong, and the code, to people: no traceback, nothing that steers a terminal."""
    lines = refusal.err.splitlines()
    assert refusal.codes, refusal
    assert len(lines) <= MAX_LINES, refusal
    assert max(map(len, lines)) <= MAX_LINE + 200, refusal.err[:500]
    assert all(line.isprintable() for line in refusal.err.split("\n")), refusal
    assert refusal.reason.strip(), refusal
    assert not re.search("Traceback|internal error", refusal.err + refusal.out), refusal


@contextmanager
def nothing_half_done(folder: Path, *, within_s: float = WITHIN_S) -> Iterator[None]:
    """Inside, no file, descriptor, thread or process comes to be that stays, and no file changes; in bounded time."""
    files, before, began_s = dict(_files(folder)), _held(), time.monotonic()
    yield
    assert time.monotonic() - began_s < within_s
    while (left := _held() - before) and time.monotonic() - began_s < within_s:
        gc.collect()  # what an exception's traceback held in a cycle is no leftover
        time.sleep(0.01)
    assert not left  # what an earlier test's process still lets go is no matter
    assert dict(_files(folder)) == files


def _held() -> set[str | threading.Thread]:
    """What this process holds: descriptors by what they are of, threads, and children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {*_descriptors(), *threading.enumerate(), *(f"child {pid}" for pid in children)}


def _descriptors() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists
            yield f"{descriptor}: {os.readlink(f'/proc/self/fd/{descriptor}')}"


def _files(folder: Path) -> Iterator[tuple[str, object]]:
    """Every file with its content, but the log of errors and what Python compiles."""
    for path in sorted(folder.rglob("*")):
        if path.name.startswith("errors.log") or "__pycache__" in path.parts:
            continue
        if path.is_file():
            yield str(path), path.read_bytes()
        elif path.name not in ("state", "logs"):
            yield str(path), None
