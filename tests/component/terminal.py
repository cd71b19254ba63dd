"""A terminal for a test: a pseudo-terminal with a command on it, what it shows, and the keys that it is given."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

from .conftest import WITHIN_S, take_interrupts, wait_until

CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command on a terminal of `columns` × `lines`; `stdin` False: it reads from elsewhere."""

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        columns: int = 100,
        lines: int = 40,
        stdin: bool = True,
        kind: str = "xterm-256color",
    ) -> None:
        self._ours, self.theirs = os.openpty()
        self.resize(columns, lines)
        self.mode_before = self.mode
        self._shown = bytearray()
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment |= {"SQUALL_STORM_LOCAL_DIR": str(folder / "state"), "TERM": kind, "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "squall.cli", *map(str, arguments)],
            stdin=self.theirs if stdin else subprocess.DEVNULL,
            stdout=self.theirs,
            stderr=self.theirs,
            cwd=folder,
            env=environment,
            start_new_session=True,
            preexec_fn=self._own,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _own(self) -> None:
        take_interrupts()
        fcntl.ioctl(1, termios.TIOCSCTTY, 0)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 1 << 16):
                self._shown += data

    @property
    def mode(self) -> list[Any]:
        """How the terminal treats what is typed."""
        return termios.tcgetattr(self.theirs)

    @property
    def raw(self) -> bytes:
        """All that was written to it."""
        return bytes(self._shown)

    @property
    def text(self) -> str:
        """All that was written to it, without orders to the terminal."""
        return CONTROL.sub(b"", self.raw).replace(b"\r", b"").decode("utf-8", "replace")

    def resize(self, columns: int, lines: int) -> None:
        """Gives it another size; the process is told."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def shows(self, text: str, *, after: int = 0) -> int:
        """Waits until this text is written, later than `after`; where it ends."""

        def place() -> int:
            found = self.text.find(text, after)
            if found < 0 and self.process.poll() is not None and self.text.find(text, after) < 0:
                raise AssertionError(f"ended without {text!r}:\n{self.text[-4000:]}")
            return found + len(text) if found >= 0 else 0

        try:
            return wait_until(place, what=f"{text!r} on the terminal")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text[-4000:]}") from None

    def press(self, keys: str, then: str) -> None:
        """Types keys and waits for what comes of them."""
        after = len(self.text)
        os.write(self._ours, keys.encode())
        self.shows(then, after=max(0, after - 1))

    def type(self, keys: str) -> None:
        """Types keys."""
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """The exit code, once the command ends and all that it wrote is here."""
        code = self.process.wait(WITHIN_S)
        os.write(self.theirs, b"\r\n<end>\r\n")
        wait_until(lambda: "<end>" in self.text, what="the end of the output")
        return code

    def hang_up(self) -> None:
        """The terminal is gone."""
        os.close(self.theirs)
        self.theirs = -1
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        """Ends what is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for fd in (self._ours, self.theirs):
            if fd >= 0:
                os.close(fd)


@contextlib.contextmanager
def terminal(folder: Path, *arguments: object, **options: Any) -> Generator[Terminal]:
    """A terminal until the end of the block."""
    made = Terminal(folder, *arguments, **options)
    try:
        yield made
    finally:
        made.close()
