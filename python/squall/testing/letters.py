"""Dead letters of a test: kept in memory, so stored at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from squall import _core
from squall.runtime.dead_stream import DeadLetterSpout
from squall.runtime.letters import Letter


@dataclass
class MemoryLetters:
    """The letter box of one cluster."""

    worker: _core.Worker | None = None
    letters: list[Letter] = field(default_factory=list[Letter])
    subscriber: DeadLetterSpout | None = None

    def put(self, handle: int, letter: Letter) -> None:
        """Keeps a letter and shows it to those who subscribed."""
        self.letters.append(letter)
        if self.subscriber is not None:
            self.subscriber.offer(letter)
        self.discard(handle)

    def discard(self, handle: int) -> None:
        """Lets a root go without keeping a letter."""
        assert self.worker is not None
        self.worker.dead_stored(handle)
