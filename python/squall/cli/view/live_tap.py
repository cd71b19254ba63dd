"""A tap of the view: the newest tuples of one component, read by a thread of its own.

In `squall run` the process that shows the tuples is the one that passes them on, so it cannot wait for them itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from squall.cli.tapping import Event, Tapped, Wanted, follow
from squall.cli.view.words import one_line
from squall.errors import SquallError

KEPT = 200
"""Newest tuples that are kept."""
TOLD_EVERY_S = 0.25


class LiveTap:
    """The tuples of one component, the newest first, until it is closed.

    Args:
        changed: called when there are others; by the thread, at most four times a second.
    """

    def __init__(self, control: Path, topology: str, component: str, changed: Callable[[], None]) -> None:
        self.component = component
        self._control, self._topology, self._changed = control, topology, changed
        self._rows: deque[str] = deque(maxlen=KEPT)
        self._note = ""
        self._tapped: Tapped | None = None
        self._closed = False
        threading.Thread(target=self._follow, name="squall-tap", daemon=True).start()

    def lines(self) -> tuple[str, ...]:
        """What is to be shown: what went wrong, then the tuples."""
        told = (self._note,) if self._note else ()
        return told + tuple(reversed(self._rows.copy()))

    def close(self) -> None:
        """Ends the tap."""
        self._closed = True
        if self._tapped is not None:
            self._tapped.close()

    def _follow(self) -> None:
        told_s = 0.0
        try:
            with follow(self._control, self._topology, Wanted(self.component)) as self._tapped:
                if self._closed:
                    return
                for event in self._tapped:
                    self._rows.append(_row(event))
                    if (now_s := time.monotonic()) - told_s >= TOLD_EVERY_S:
                        told_s = now_s
                        self._tell()
        except SquallError as error:
            self._note = one_line(error.defects[0].message)
            self._tell()

    def _tell(self) -> None:
        if not self._closed:
            self._changed()


def _row(event: Event) -> str:
    at = f"{datetime.fromtimestamp(event['at']):%H:%M:%S.%f}"[:-3]
    stream = "" if event["stream"] == "default" else f" {event['stream']}"
    values = "  ".join(f"{name}={text}" for name, text in event["values"].items())
    return one_line(f"{at}  task {event['task']}{stream}  {values}")
