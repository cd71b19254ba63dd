"""A run on a terminal: the live view, above which log lines, errors and what sinks print scroll by."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from squall.cli.streams import STDOUT
from squall.cli.texts import Event, failed_text, listening, stuck_text, summary_lines
from squall.cli.view.board import Answered, Board
from squall.cli.view.keyboard import Keyboard, usable
from squall.cli.view.painter import Painter
from squall.cli.view.printed import Printed
from squall.cli.view.state import Known
from squall.engines.embedded.parent import EmbeddedRun
from squall.runtime.output import StandardOutput

STDIN = 0
PRINTING_SHARE = 0.6
"""Most of the terminal's height for the view while sinks print above it."""


def is_narrow(encoding: str) -> bool:
    """Whether a terminal's encoding has no lines and arrows."""
    try:
        "─▶╰…–×".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return True
    return False


class Steered:
    """A run of this very process, as keys act on it."""

    def __init__(self, run: EmbeddedRun) -> None:
        self._run = run

    def quit(self) -> None:
        """As Ctrl-C."""
        self._run.interrupt()

    def ask(self, request: dict[str, Any], answered: Answered) -> None:
        """Gives the worker a command."""
        self._run.ask(request, answered)

    def look_at(self, fd: int, ready: Callable[[], None]) -> None:
        """Has `ready` called when something can be read from `fd`."""
        self._run.look_at(fd, ready)

    def look_away(self, fd: int) -> None:
        """Ends `look_at`."""
        self._run.look_away(fd)


class LiveView:
    """The live view of a run of this process.

    Args:
        prints: sinks write to standard output; it is this view's from now on, and theirs is `stdout_fd`.
    """

    def __init__(self, *, prints: bool) -> None:
        encoding = sys.stdout.encoding or "ascii"
        self._painter = Painter(StandardOutput(STDOUT), encoding)
        keyboard = Keyboard(STDIN) if usable(STDIN) else None
        known = Known("Ctrl-C drains and ends")
        share = PRINTING_SHARE if prints else 1.0
        self._board = Board(self._painter, keyboard, known, narrow=is_narrow(encoding), share=share)
        self._printed = Printed(self._painter.above) if prints else None

    @property
    def stdout_fd(self) -> int:
        """Where sinks write."""
        return self._printed.write_fd if self._printed is not None else STDOUT

    def attach(self, run: EmbeddedRun) -> None:
        """Takes the run that keys act on."""
        self._board.steer(Steered(run))
        if self._printed is not None:
            run.look_at(self._printed.read_fd, self._printed.take)

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match event["event"]:
            case "started":
                where = f": process {event['workers'][0]['pid']}{listening(event)}; log {event['log']}"
                self._painter.text_above(event["topology"] + where, "bold")
                self._board.take(event)
            case "progress":
                self._board.take(event)
            case "draining":
                self._painter.text_above("the sources are stopped; waiting for what is pending (again: kills)", "")
                self._board.take(event)
            case "log":
                self._complain(event["text"], "dim")
            case "stuck":
                self._complain(stuck_text(event), "yellow")
            case "failed":
                self._complain(failed_text(event), "red")
            case "summary":
                self.close()
                print("\n".join(summary_lines(event)), flush=True)
            case _:
                pass

    def close(self) -> None:
        """Takes the view down, after all that sinks printed."""
        if self._printed is not None:
            self._printed.close()
            self._printed = None
        self._board.close()

    def _complain(self, text: str, style: str) -> None:
        if os.isatty(sys.stderr.fileno()):
            self._painter.text_above(text, style)
        else:
            print(text, file=sys.stderr, flush=True)
