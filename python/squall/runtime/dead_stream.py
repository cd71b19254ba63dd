"""The system spout that gives a topology its own dead letters as a stream (semantics 12).

It has no `fail` and gives no ids, so the engine tries again by itself and forgets a letter after its last try. With
them each letter's tries would be remembered until its id came again, which it never did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from squall.api.components import Spout
from squall.runtime.letters import Letter


class DeadLetterSpout(Spout):
    """Emits each dead letter on the streams that asked for its component.

    Out: the fields of `squall.model.graph.DEAD_LETTER_FIELDS`.
    Delivery: each letter is a new root, tried again as any other. What fails to the last is left unread in the log and
        makes no new letter.
    """

    idle_wait = 1e9  # `offer` wakes it

    def __init__(self, streams: Mapping[str, tuple[str, ...]]) -> None:
        self._streams = streams
        self._waiting: deque[Letter] = deque()
        self._wake: Callable[[], object] = lambda: None

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Learns how the core is told that there is something."""
        self._wake = wake

    def offer(self, letter: Letter) -> None:
        """Takes a letter that is stored. Any thread."""
        self._waiting.append(letter)
        self._wake()

    def next_tuple(self) -> None:
        """Emits the oldest letter."""
        if not self._waiting:
            return
        letter = self._waiting.popleft()
        for stream, names in self._streams.items():
            if not names or letter.component in names:
                self.emit(*letter.row(), stream=stream)
