"""Which lost lives of other workers this one has let go of, so that their numbers can be given again (semantics 14)."""

from __future__ import annotations


class Partings:
    """The lives that the parent told to be lost.

    The loop parts from them in its next turn; so what was told before one report is over by the one after it.

    Threading: `told` is called by the thread of commands, `over` by the loop's; both under the interpreter's lock.
    """

    def __init__(self) -> None:
        self._told: list[int] = []
        self._ripe: list[int] = []

    def told(self, incarnation: int) -> None:
        """The loop has been told to part from this life."""
        self._told.append(incarnation)

    def over(self) -> list[int]:
        """Called with each report: the lives that it has parted from since the last one."""
        over, self._ripe, self._told = self._ripe, self._told, []
        return over

    def untold(self, over: list[int]) -> None:
        """The report did not get away: the next one tells of them too."""
        self._ripe = over + self._ripe
