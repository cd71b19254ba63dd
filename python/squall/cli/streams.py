"""The standard streams of a command: there, apart from user code's prints, and silent once nobody takes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from squall.runtime.output import StandardOutput

STDOUT, STDERR = 1, 2


def open_standard_streams() -> None:
    """Gives a process that was started without standard streams some that lead nowhere.

    Else a socket could get the number of standard output, and prints would go into it.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != fd:
                os.dup2(nowhere, fd)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r"))


def lead_output_nowhere() -> None:
    """Nobody takes standard output any more: what Python still wants to flush at its end goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)


@contextmanager
def printing_to(fd: int) -> Generator[None]:
    """Inside, what is printed goes to `fd`, also by code in C and by other processes that inherit it."""
    stream = sys.stdout
    stream.flush()
    before = os.dup(STDOUT)
    os.dup2(fd, STDOUT)
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # user code may have closed it
            stream.flush()
        os.dup2(before, STDOUT)
        os.close(before)


@contextmanager
def prints_kept_back() -> Generator[None]:
    """Inside, prints are shown, on standard error, only if it raises.

    A run builds its topology twice: the worker prints the same again, to the log that the views show.
    """
    kept = os.memfd_create("squall-prints")
    try:
        with printing_to(kept):
            yield
    except BaseException:
        with suppress(OSError):
            StandardOutput(STDERR).write(Path(f"/proc/self/fd/{kept}").read_bytes())
        raise
    finally:
        os.close(kept)
