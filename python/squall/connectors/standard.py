"""Standard output as a sink."""

from __future__ import annotations

import os
from typing import Any

from squall.api.components import Bolt
from squall._core import Tuple

STDOUT_FD_VARIABLE = "SQUALL_STDOUT_FD"


class Print(Bolt):
    """Writes each input as one line to the run's standard output: the value, or the values with tabs between.

    In: any stream.
    Delivery: acked after the operating system took the line. A reader that has gone (broken pipe) ends the run cleanly.
    """

    on_error = {BrokenPipeError: "die"}

    def open(self, context: Any) -> None:
        """Finds the parent's standard output."""
        self._fd = int(os.environ.get(STDOUT_FD_VARIABLE, "1"))

    def process_batch(self, tuples: list[Tuple]) -> None:
        """Writes the lines of a batch in one go."""
        text = "".join("\t".join(map(str, tup.values)) + "\n" for tup in tuples)
        view = memoryview(text.encode("utf-8", "backslashreplace"))
        while view:
            view = view[os.write(self._fd, view) :]
