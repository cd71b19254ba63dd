"""Puts lines on a terminal and keeps them in one place, while other text scrolls by above them.

Rich makes the lines; its own `Live` would print what scrolls through its formatter, which is slow for results by the
thousand and not byte for byte what a sink wrote, and leaves pieces behind when a terminal becomes narrower. The price
is a dozen escape sequences here.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from squall.cli.background import BackgroundOutput
from squall.cli.view.words import harmless

BEGIN, END = b"\x1b[?2026h", b"\x1b[?2026l"
"""The terminal shows what stands between them at once; one that does not know them ignores them."""
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"
OTHER_SCREEN, BACK = b"\x1b[?1049h", b"\x1b[?1049l"
TO_LINE_END, TO_SCREEN_END = b"\x1b[K", b"\x1b[J"


class Painter:
    """Lines at the bottom of what a terminal shows; or on a screen of their own.

    Args:
        out: where the terminal is.
        encoding: that of the terminal.
        own_screen: what was there before comes back at the end.
    """

    def __init__(self, out: BackgroundOutput, encoding: str, *, own_screen: bool = False) -> None:
        self._out, self._encoding, self._own_screen = out, encoding, own_screen
        self._buffer = io.StringIO()
        self._console = Console(file=self._buffer, force_terminal=True, highlight=False, legacy_windows=False)
        self._painted: list[int] = []
        self._last = b""
        self._resting = True
        self.begin()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines that there are for `show`."""
        columns, lines = shutil.get_terminal_size()
        # The last column stays free: a full line would wrap at the next character.
        return max(columns - 1, 1), max(lines if self._own_screen else lines - 1, 1)

    def begin(self) -> None:
        """Takes the terminal, at first and after a `rest`."""
        if self._resting:
            self._resting = False
            self._out.write(HIDE + (OTHER_SCREEN if self._own_screen else b""))

    def show(self, lines: Sequence[Text]) -> None:
        """Puts these lines where the ones before were, unless the terminal does not take what came before."""
        if self._out.is_behind:
            return
        home = self._home()
        self._last, self._painted = self._rendered(lines), [line.cell_len for line in lines]
        self._out.write(BEGIN + home + self._last + END)

    def above(self, data: bytes) -> None:
        """Lets whole lines scroll by above; nothing of them is changed."""
        if not self._own_screen and data:
            self._out.write(BEGIN + self._home() + TO_SCREEN_END + data + self._last + END)

    def text_above(self, text: str, style: str) -> None:
        """Lets a text scroll by above; what it holds of a terminal's orders is not carried out."""
        self._console.print(Text(harmless(text), style), soft_wrap=True)
        self.above(self._taken())

    def rest(self) -> None:
        """Takes the lines away and gives the terminal back. May be called again."""
        if not self._resting:
            self._resting = True
            end = BACK if self._own_screen else self._home() + TO_SCREEN_END
            self._painted, self._last = [], b""
            self._out.write(end + SHOW)
            self._out.flush()

    def _home(self) -> bytes:
        """To where the first line begins; a terminal that became narrower has wrapped what was painted."""
        if self._own_screen:
            return b"\x1b[H"
        columns = max(shutil.get_terminal_size().columns, 1)
        rows = sum(max(1, -(-width // columns)) for width in self._painted)
        return b"\r" + (b"\x1b[%dA" % (rows - 1) if rows > 1 else b"")

    def _rendered(self, lines: Sequence[Text]) -> bytes:
        self._console.width = max(1, max((line.cell_len for line in lines), default=1))
        for line in lines:
            self._console.print(line, no_wrap=True, overflow="ignore", crop=False)
        rows = self._taken().removesuffix(b"\n").split(b"\n")
        return b"\n".join(row + TO_LINE_END for row in rows) + TO_SCREEN_END

    def _taken(self) -> bytes:
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return text.encode(self._encoding, "replace")
