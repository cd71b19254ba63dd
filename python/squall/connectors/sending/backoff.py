"""When to try to connect again, and when to give up. Pure."""

from __future__ import annotations

from random import Random

FIRST_S, LONGEST_S = 0.1, 5.0
JITTER = 0.2


class Backoff:
    """Pauses that double from 0.1 s to 5 s, each up to a fifth shorter by chance, so that many senders spread.

    Args:
        give_up_after_s: how long tries may go without any success; None: for ever.
    """

    def __init__(self, give_up_after_s: float | None, random: Random) -> None:
        self._give_up_after_s, self._random = give_up_after_s, random
        self._pause_s, self._since_s = FIRST_S, None

    _since_s: float | None

    def succeeded(self) -> None:
        """A connection was of use: the next trouble is a new one."""
        self._pause_s, self._since_s = FIRST_S, None

    def pause_s(self, now_s: float) -> float | None:
        """How long to wait after a failure before the next try; None: give up."""
        self._since_s = now_s if self._since_s is None else self._since_s
        if self._give_up_after_s is not None and now_s - self._since_s >= self._give_up_after_s:
            return None
        pause_s = self._pause_s * (1 - JITTER * self._random.random())
        self._pause_s = min(2 * self._pause_s, LONGEST_S)
        if self._give_up_after_s is None:
            return pause_s
        return min(pause_s, self._since_s + self._give_up_after_s - now_s)
