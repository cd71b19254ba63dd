"""User code that ends its process while a command builds its topology: it is told, like any other failure."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def exits_told() -> Generator[None]:
    """Inside, `os._exit` raises `SystemExit`: else user code could end a command without a word, as if all was well.

    Not in processes that user code forks, which end by it.
    """
    really_exit, own_pid = os._exit, os.getpid()

    def exit_(status: int) -> NoReturn:
        if os.getpid() != own_pid:
            really_exit(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = exit_
    try:
        yield
    finally:
        os._exit = really_exit
