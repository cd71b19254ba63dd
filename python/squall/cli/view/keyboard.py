"""Single keys from the terminal. Signals stay with their keys (Ctrl-C, Ctrl-Z), and what is printed is processed as
ever: only the waiting for a line's end and the echo are off.
"""

from __future__ import annotations

import os
import termios
from contextlib import suppress

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
    """The keys of one terminal, from `take` to `give_back`; its mode is then what it was at the beginning."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.is_taken = False
        self._before = termios.tcgetattr(fd)

    def take(self) -> None:
        """Has the terminal give single keys, if it is this process's to say."""
        if self.is_taken or not usable(self.fd):
            return
        mode = termios.tcgetattr(self.fd)
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        mode[3] |= termios.NOFLSH  # else Ctrl-C throws away what sinks printed and the terminal has not shown yet
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.fd, termios.TCSADRAIN, mode)
        self.is_taken = True

    def give_back(self) -> None:
        """Puts the terminal back as it was. May be called again."""
        if self.is_taken and usable(self.fd):
            with suppress(termios.error):
                termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)
        self.is_taken = False

    def read(self) -> list[str]:
        """The keys that were pressed since; the keyboard is not taken any more if there can be none."""
        data = b""
        if usable(self.fd):  # else a read would stop this process
            with suppress(OSError):
                data = os.read(self.fd, 1024)
        self.is_taken = self.is_taken and bool(data)
        return names(data)
