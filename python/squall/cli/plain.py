"""A run on a pipe: one plain line a second, the summary at the end."""

from __future__ import annotations

import sys
from typing import TextIO

from squall.cli.streams import STDOUT
from squall.cli.texts import (
    Event,
    failed_text,
    listening,
    lost_text,
    processes,
    progress_line,
    stuck_text,
    summary_lines,
)
from squall.cli.view.words import harmless


class PlainView:
    """Lines of text on `out`; logs and errors on standard error."""

    stdout_fd = STDOUT

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last: Event | None = None

    def attach(self, _helm: object) -> None:
        """Lines are all that it shows."""

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match event["event"]:
            case "started":
                where = f"in {processes(event)}{listening(event)}; log: {event['log']}"
                self._say(f'running "{event["topology"]}" {where}')
            case "worker" if event["state"] == "lost":
                _complain(lost_text(event))
            case "resumed":
                self._say(event["text"])
            case "progress":
                self._say(progress_line(event, self._last))
                self._last = event
            case "draining":
                self._say("the sources are stopped; waiting for what is pending")
            case "summary":
                self._say("\n".join(summary_lines(event)))
            case "log":
                _complain(event["text"])
            case "stuck":
                _complain(stuck_text(event))
            case "failed":
                _complain(failed_text(event))
            case _:
                pass

    def close(self) -> None:
        """Nothing is open."""

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _complain(text: str) -> None:
    print(harmless(text), file=sys.stderr, flush=True)  # it may hold what came from outside
