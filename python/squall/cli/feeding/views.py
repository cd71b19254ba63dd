"""Views of `squall feed`: a bar on a terminal, lines on a pipe, JSON lines, nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from threading import Event, Thread
from typing import Protocol

from squall.cli.feeding.texts import FeedState, counts_text, summary_line

BAR_EVERY_S, LINE_EVERY_S, JSON_EVERY_S = 0.2, 3.0, 1.0
SILENT_S = 10.0
"""How long nothing is receipted before the user is told what may be the matter."""


class FeedView(Protocol):
    """Shows a feed to someone."""

    every_s: float

    def show(self, now: FeedState) -> None:
        """Shows how it stands."""
        ...

    def complain(self, text: str) -> None:
        """Tells what is the matter."""
        ...

    def end(self, now: FeedState, *, is_done: bool) -> None:
        """The feed is over."""
        ...


class BarView:
    """A progress bar."""

    every_s = BAR_EVERY_S

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (BarColumn(bar_width=24), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
        self._bar = Progress(*columns, console=Console(highlight=False), transient=True)
        self._task = self._bar.add_task("connecting …", total=None)
        self._last: FeedState | None = None
        self._bar.start()

    def show(self, now: FeedState) -> None:
        """Moves the bar."""
        text = f"not connected: {now.trouble}; trying again" if now.trouble else counts_text(now, self._last)
        part = now.part_done
        self._bar.update(self._task, description=text, completed=part or 0.0, total=1.0 if now.total_bytes else None)
        if self._last is None or now.uptime_s - self._last.uptime_s > 1:
            self._last = now

    def complain(self, text: str) -> None:
        """Above the bar."""
        self._bar.console.print(text, style="yellow", markup=False)

    def end(self, now: FeedState, *, is_done: bool) -> None:
        """Takes the bar down."""
        self._bar.stop()
        if is_done:
            print(summary_line(now), flush=True)


class LineView:
    """A plain line every few seconds."""

    every_s = LINE_EVERY_S

    def __init__(self) -> None:
        self._last: FeedState | None = None

    def show(self, now: FeedState) -> None:
        """Prints a line."""
        trouble = f"  not connected: {now.trouble}; trying again" if now.trouble else ""
        print(f"{now.uptime_s:6.1f} s  {counts_text(now, self._last)}{trouble}", flush=True)
        self._last = now

    def complain(self, text: str) -> None:
        """On standard error."""
        print(text, file=sys.stderr, flush=True)

    def end(self, now: FeedState, *, is_done: bool) -> None:
        """Prints the summary."""
        if is_done:
            print(summary_line(now), flush=True)


class JsonLinesView:
    """Events as JSON lines."""

    every_s = JSON_EVERY_S

    def show(self, now: FeedState) -> None:
        """Prints `progress`."""
        print(json.dumps(now.event("progress")), flush=True)

    def complain(self, text: str) -> None:
        """On standard error."""
        print(text, file=sys.stderr, flush=True)

    def end(self, now: FeedState, *, is_done: bool) -> None:
        """Prints `summary`."""
        print(json.dumps(now.event("summary") | {"done": is_done}), flush=True)


class QuietView:
    """Nothing but complaints."""

    every_s = JSON_EVERY_S

    def show(self, now: FeedState) -> None:
        """Shows nothing."""

    def complain(self, text: str) -> None:
        """On standard error."""
        print(text, file=sys.stderr, flush=True)

    def end(self, now: FeedState, *, is_done: bool) -> None:
        """Shows nothing."""


class Watching:
    """Looks at a feed again and again while another thread feeds.

    Args:
        look: how it stands.
        receipts: whether there should be some.
    """

    def __init__(self, view: FeedView, look: Callable[[], FeedState], *, receipts: bool) -> None:
        self._view, self._look, self._receipts = view, look, receipts
        self._over = Event()
        self.error: OSError | None = None
        """Why the view takes no more."""
        self._has_complained = False
        self._thread = Thread(target=self._run, name="squall-feed-view", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._over.wait(self._view.every_s):
                now = self._look()
                self._view.show(now)
                self._complain_of_silence(now)
        except OSError as error:
            self.error = error

    def _complain_of_silence(self, now: FeedState) -> None:
        is_silent = self._receipts and now.connected and now.sent and not now.receipted and now.uptime_s > SILENT_S
        if is_silent and not self._has_complained:
            self._has_complained = True
            self._view.complain(
                f"warning: {now.address} has sent no receipt in {now.uptime_s:.0f} s; if it never does "
                '(TcpSpout.listen without receipts="processed"), use --no-receipts'
            )

    def end(self, *, is_done: bool) -> None:
        """Shows the end."""
        self._over.set()
        self._thread.join()
        if self.error is not None:
            raise self.error
        self._view.end(self._look(), is_done=is_done)
