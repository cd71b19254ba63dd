"""How many dead letters wait for someone, and the newest: a log followed as it grows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from squall.runtime.letter_lines import OPEN, body_of, was_letter
from squall.runtime.stored import Line, parsed

CHUNK_BYTES = 1 << 20
CLOSED, OPENED, DAMAGED = range(3)


class OpenLetters:
    """Follows one topology's log; unlike `stored.LogReader` it keeps no letter, since a run may last.

    A log that was deleted holds none, and one in its place is read from its beginning.

    Cost: a look at the file's size each time; of what came since, each line is parsed once. Bound: a byte for each
    letter of the log, and 1 MiB that is read at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin(None)

    def _begin(self, file: tuple[int, int] | None) -> None:
        """Begins with a file, by its device and number there."""
        self._file = file
        self._at = 0
        self._rest = b""
        self._states = bytearray()
        self._newest: dict[str, Any] | None = None

    def now(self) -> dict[str, Any]:
        """Out: `open`: how many · `last`: the newest of all, with `number`, `component`, `error`, `at`; or None."""
        with suppress(OSError):  # it is not to be read: then there is nothing to tell
            self._look()
        return {"open": self._states.count(OPENED), "last": self._newest}

    def _look(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return self._begin(None)
        if (file := (found.st_dev, found.st_ino)) != self._file:
            self._begin(file)
        if found.st_size != self._at:
            self._read()

    def _read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._at)
            while data := file.read(CHUNK_BYTES):
                self._at += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    try:
                        self._take(parsed(body_of(line)))
                    except ValueError:  # a damaged line, which the commands report
                        if was_letter(line):
                            self._states.append(DAMAGED)

    def _take(self, line: Line) -> None:
        if (letter := line.letter) is not None:
            self._states.append(OPENED)
            told = {"component": letter.component, "error": letter.error, "at": letter.at.v.isoformat()}
            self._newest = {"number": len(self._states), **told}
        elif 0 < line.number <= len(self._states) and self._states[line.number - 1] != DAMAGED:
            self._states[line.number - 1] = OPENED if line.state == OPEN else CLOSED
