"""A run on a terminal: the live view, above which log lines, errors and what sinks print scroll by."""

from __future__ import annotations

import os
import sys

from squall.cli.background import BackgroundOutput
from squall.cli.streams import STDERR, STDOUT
from squall.cli.texts import Event, failed_text, listening, lost_text, processes, stuck_text, summary_lines
from squall.cli.view.board import Board, Steering
from squall.cli.view.keyboard import Keyboard, usable
from squall.cli.view.painter import Painter
from squall.cli.view.printed import Printed
from squall.cli.view.state import Known

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


class LiveView:
    """The live view of a run of this process.

    Args:
        prints: sinks write to standard output; it is this view's from now on, and theirs is `stdout_fd`.
        reads: a spout reads standard input, so no keys are taken from it.
    """

    def __init__(self, topology: str, *, prints: bool, reads: bool) -> None:
        encoding = sys.stdout.encoding or "ascii"
        self._out = BackgroundOutput(STDOUT)
        self._painter = Painter(self._out, encoding)
        keyboard = Keyboard(STDIN) if usable(STDIN) and not reads else None
        known = Known(topology, "Ctrl-C drains and ends")
        share = PRINTING_SHARE if prints else 1.0
        self._board = Board(self._painter, keyboard, known, narrow=is_narrow(encoding), share=share)
        self._printed = Printed(self._painter.above) if prints else None
        self._steering: Steering | None = None
        self._waits = False

    @property
    def stdout_fd(self) -> int:
        """Where sinks write."""
        return self._printed.write_fd if self._printed is not None else STDOUT

    def attach(self, steering: Steering) -> None:
        """Takes what keys can act on."""
        self._steering = steering
        self._board.steer(steering)
        if self._printed is not None:
            steering.look_at(self._printed.read_fd, self._take_printed)
            steering.look_at(self._out.caught_up_fd, self._go_on)

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match event["event"]:
            case "started":
                where = f": {processes(event)}{listening(event)}; log {event['log']}"
                self._painter.text_above(event["topology"] + where, "bold")
                self._board.take(event)
            case "worker" if event["state"] == "lost":
                self._complain(lost_text(event), "yellow")
            case "resumed":
                self._painter.text_above(event["text"], "")
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
                self._take_down()
                self._out.write(_line("\n".join(summary_lines(event))))
            case _:
                pass

    def close(self) -> None:
        """Takes the view down, and waits until all is shown."""
        try:
            self._take_down()
        finally:
            self._out.close()

    def _take_down(self) -> None:
        """Takes the view away, after all that sinks printed."""
        printed, self._printed = self._printed, None
        try:
            if printed is not None:
                if self._steering is not None:
                    self._steering.look_away(printed.read_fd)
                    self._steering.look_away(self._out.caught_up_fd)
                printed.close()
        finally:
            self._board.close()
            self._out.flush()

    def _complain(self, text: str, style: str) -> None:
        if os.isatty(sys.stderr.fileno()):
            self._painter.text_above(text, style)
        else:
            self._out.write(_line(text), STDERR)

    def _take_printed(self) -> None:
        """Shows what sinks print; while the terminal takes nothing they wait, and nobody else."""
        assert self._printed is not None
        assert self._steering is not None
        if self._out.is_behind:
            self._steering.look_away(self._printed.read_fd)
            self._waits = True
        else:
            self._printed.take()

    def _go_on(self) -> None:
        """The terminal takes what is shown again."""
        self._out.caught_up()
        if self._waits and self._printed is not None and self._steering is not None:
            self._waits = False
            self._steering.look_at(self._printed.read_fd, self._take_printed)


def _line(text: str) -> bytes:
    return f"{text}\n".encode(sys.stdout.encoding or "utf-8", "replace")
