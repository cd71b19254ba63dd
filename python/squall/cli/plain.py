"""A run on a pipe: one plain line a second, the summary at the end."""

from __future__ import annotations

import sys

from squall.cli.background import BackgroundOutput
from squall.cli.streams import STDERR, STDOUT
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
    """Lines of text on a descriptor; logs and errors on standard error."""

    stdout_fd = STDOUT

    def __init__(self, fd: int) -> None:
        self._out = BackgroundOutput(fd)
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
                self._complain(lost_text(event))
            case "resumed":
                self._say(event["text"])
            case "progress" if self._out.is_behind:
                pass  # the next one tells it too
            case "progress":
                self._say(progress_line(event, self._last))
                self._last = event
            case "draining":
                self._say("the sources are stopped; waiting for what is pending")
            case "summary":
                self._say("\n".join(summary_lines(event)))
            case "log":
                self._out.offer(_line(harmless(event["text"])), STDERR)  # it is in the log too
            case "stuck":
                self._complain(stuck_text(event))
            case "failed":
                self._complain(failed_text(event))
            case _:
                pass

    def close(self) -> None:
        """Waits until all is printed."""
        self._out.close()

    def _say(self, text: str) -> None:
        self._out.write(_line(text))

    def _complain(self, text: str) -> None:
        self._out.write(_line(harmless(text)), STDERR)  # it may hold what came from outside


def _line(text: str) -> bytes:
    return f"{text}\n".encode(sys.stdout.encoding or "utf-8", "replace")
