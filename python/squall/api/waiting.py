"""Components whose calls may wait for another system as long as that is away."""

from __future__ import annotations


class Waits:
    """What a component has that says what it waits for: such a call is told of as one that waits, and not as one that
    hangs, and no worker is ended for it (`topology.stuck.restart`)."""

    def waits_for(self) -> str:
        """The other system that the call which runs waits for, without secrets; empty: none.

        Asked about once a second while a call runs, on any thread: it says what is, and does nothing.
        """
        raise NotImplementedError
