"""One life of a worker as its parent has it: a process, or in simulations what stands for one.

What it writes into the page that it shares with its parent can be read when it has ended.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import Any

from squall import _core
from squall.runtime.marks import marked


class Process(ABC):
    """A life, followed by its descriptors and its page.

    Args:
        page: the page's descriptor; whoever made it closes it.
    """

    session: socket.socket
    """Gives what it says, and takes commands; by lines."""
    pidfd: int
    """Can be read when it has ended."""

    def __init__(self, page: int) -> None:
        self.page = page

    @property
    @abstractmethod
    def pid(self) -> int:
        """Its process id."""

    @abstractmethod
    def figures(self) -> dict[str, Any]:
        """What the operating system knows of it; see `ProcessFigures`."""

    @abstractmethod
    def tell(self, command: dict[str, Any], *, may_be_lost: bool = False) -> None:
        """Gives it a command; it takes it when it can."""

    @abstractmethod
    def flush(self) -> None:
        """Sends what waited; called a few times a second."""

    @abstractmethod
    def kill(self) -> None:
        """Ends it and everything that it started."""

    @abstractmethod
    def reap(self) -> int:
        """Waits for its end; the exit code, or the negative number of the signal."""

    @abstractmethod
    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process for memory since this one was started."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of its descriptors."""

    def call(self) -> int:
        """The number of the call of user code that its loop runs; 0: none."""
        component, calls = _core.page_read(self.page)
        return calls if component else 0

    def totals(self) -> tuple[int, int, int, int]:
        """Emitted, acked, failed and dead roots of all its spouts; they outlive it."""
        return _core.page_totals(self.page)

    def ran(self) -> list[int]:
        """Numbers, from 1, of the components whose code was running."""
        component, _ = _core.page_read(self.page)
        return sorted({component, *marked(self.page)} - {0})

    def prefixes(self, spouts: int) -> list[int]:
        """How many outputs of each of its so many spouts' tasks have ended with all before them; they outlive it.

        Out: 0 for spouts that are no generators; in order.
        """
        return _core.page_prefixes(self.page, spouts)

    def suspects(self, incarnation: int, /) -> list[tuple[bool, int, tuple[int, int] | None]]:
        """The tuples that its loop's last call worked on, and those of the calls away from it; they outlive it.

        Out: (whether it was a call away from the loop, root, with what that began, as `origin` has it).
        """
        return _core.page_suspects(self.page, incarnation)

    def origin(self, incarnation: int, root: int) -> tuple[int, int] | None:
        """With what a root of this life of it began: (number of the spout's task, place of the output); it outlives it.

        None: it is the root of another life, or worker; its tree has ended, and others after it.
        """
        return _core.page_origin(self.page, incarnation, root)

    def reading(self) -> tuple[int, int] | None:
        """The origin of the record of a journal that user code was reading; it outlives it."""
        return _core.page_reading(self.page)

    def on_loop(self) -> int:
        """The number, from 1, of the component whose code ran on its loop; 0: none."""
        return _core.page_read(self.page)[0]
