"""Standard output as a sink."""

from __future__ import annotations

from typing import ClassVar

from squall._core import Tuple
from squall.api.components import Bolt, OnError
from squall.connectors.contract import Delivery
from squall.errors import RetryTuple
from squall.runtime import output

WAIT_S = 1.0


class Print(Bolt):
    """Writes each input as one line to the run's standard output: the value, or the values with tabs between.

    In: any stream.
    Delivery: at least once: acked after the operating system took the line. When it refuses (a full disk) the task
        takes nothing for a second, then what failed is tried again, uncounted. When nobody reads any more (a broken
        pipe) the run ends at once, without an error, as programs in a shell's pipe do.
    Threading: on a thread of its own, so that a slow reader holds up nothing else.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "at least once",
        "as given",
        "repeats lines that were not acked",
        "terminals, pipes and files of Linux",
    )
    blocking = True
    prints = True
    on_error: ClassVar[OnError] = "retry"

    def process_batch(self, tuples: list[Tuple]) -> None:
        """Writes the lines of a batch in one go."""
        text = "".join("\t".join(map(str, tup.values)) + "\n" for tup in tuples)
        try:
            output.STANDARD.write(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self.context.pause(WAIT_S)  # else every other batch would be refused meanwhile
            raise RetryTuple(f"standard output: {error.strerror}", after=WAIT_S, counts=False) from error
