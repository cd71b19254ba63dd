"""Single keys from the terminal, which is as it was again at the end, however that comes.

Signals stay with their keys (Ctrl-C, Ctrl-Z), and what is printed is processed as ever; only the waiting for a line's
end and the echo are off.
"""

from __future__ import annotations

import atexit
import os
import signal
import termios
from contextlib import suppress
from typing import Any

SEQUENCES = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down", b"\x1b": "escape"}
PLAIN = {"\r": "enter", "\n": "enter"}


def usable(fd: int) -> bool:
    """Whether keys may be taken there: a terminal, and this process in its foreground."""
    try:
        return os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False


def names(data: bytes) -> list[str]:
    """The keys that were pressed."""
    found: list[str] = []
    while data:
        sequence = next((one for one in SEQUENCES if data.startswith(one)), None)
        if sequence is not None and (len(sequence) > 1 or len(data) == 1):
            found.append(SEQUENCES[sequence])
            data = data[len(sequence) :]
        elif data[:1] == b"\x1b":  # a key that means nothing here
            data = b""
        else:
            char = chr(data[0])
            found.append(PLAIN.get(char, char))
            data = data[1:]
    return found


class Keyboard:
    """The keys of one terminal.

    Threading: the main thread only, since a stop by Ctrl-Z and its end are signals.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._before = termios.tcgetattr(fd)
        self._open = True
        self._signals: dict[int, Any] = {
            number: signal.signal(number, handler)
            for number, handler in ((signal.SIGCONT, self._goes_on), (signal.SIGQUIT, self._quits))
        }
        atexit.register(self.close)
        self._take()

    def read(self) -> list[str]:
        """The keys that were pressed since; none while another process has the terminal."""
        if not usable(self.fd):
            self._open = False
            return []
        try:
            return names(os.read(self.fd, 1024))
        except OSError:
            self._open = False
            return []

    @property
    def is_open(self) -> bool:
        """Whether there is something to wait for."""
        return self._open

    def close(self) -> None:
        """Gives the terminal back. May be called again."""
        self._open = False
        self._give_back()
        for number, handler in self._signals.items():
            with suppress(ValueError):
                signal.signal(number, handler)
        self._signals = {}
        atexit.unregister(self.close)

    def _take(self) -> None:
        mode = termios.tcgetattr(self.fd)
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.fd, termios.TCSADRAIN, mode)

    def _give_back(self) -> None:
        if usable(self.fd):
            with suppress(termios.error):
                termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)

    def _goes_on(self, _signal: int, _frame: object) -> None:
        if self._open and usable(self.fd):
            self._take()

    def _quits(self, _signal: int, _frame: object) -> None:
        """Ctrl-\\ ends the process at once, as ever."""
        self._give_back()
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGQUIT)
