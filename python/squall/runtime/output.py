"""Standard output, as sinks write to it from a worker.

A worker's own descriptor 1 leads to its log, so that prints of user code never mix with a run's output; a sink that
means standard output writes here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class StandardOutput:
    """The standard output of the run; `on_closed` is called when its reader is gone."""

    fd: int = 1
    on_closed: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        """Writes all of `data`.

        Raises:
            BrokenPipeError: nobody reads any more; the run was told.
            OSError: what is behind it cannot take it now.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except BrokenPipeError:
                self.on_closed()
                raise


STANDARD = StandardOutput()
"""That of this process; a worker sets its own."""
