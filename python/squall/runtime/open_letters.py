"""How many dead letters wait for someone, and the newest: a log followed as it grows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from squall.runtime.letter_lines import OPEN, body_of
from squall.runtime.stored import Line, parsed

CHUNK_BYTES = 1 << 20


class OpenLetters:
    """Follows one topology's log; unlike `stored.LogReader` it keeps no letter, since a run may last.

    Cost: a look at the file's size each time; of what came since, each line is parsed once. Bound: a byte for each
    letter of the log, and 1 MiB that is read at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""
        self._is_open = bytearray()
        self._newest: dict[str, Any] | None = None

    def now(self) -> dict[str, Any]:
        """Out: `open`: how many · `last`: the newest of all, with `number`, `component`, `error`, `at`; or None."""
        with suppress(OSError):  # there is none yet, or it is not to be read: then there is nothing to tell
            if self._path.stat().st_size != self._at:
                self._read()
        return {"open": self._is_open.count(1), "last": self._newest}

    def _read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._at)
            while data := file.read(CHUNK_BYTES):
                self._at += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    with suppress(ValueError):  # a damaged line, which the commands report
                        self._take(parsed(body_of(line)))

    def _take(self, line: Line) -> None:
        if (letter := line.letter) is not None:
            self._is_open.append(1)
            told = {"component": letter.component, "error": letter.error, "at": letter.at.v}
            self._newest = {"number": len(self._is_open), **told}
        elif 0 < line.number <= len(self._is_open):
            self._is_open[line.number - 1] = line.state == OPEN
