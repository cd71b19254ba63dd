"""Marks of code that runs away from the loop's thread, on the page that worker and parent share.

The core notes on the page whose code its loop runs. Threads and coroutines are noted here, behind the core's part: one
16-bit number for each task that has a place of its own, 0 when it runs nothing, else its component counted from 1. So
the parent can name who ran when the worker is gone without a word.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence

PAGE_BYTES = 4096
FIRST_BYTE = 1024
"""Where the marks begin; the core's part lies before."""

Mark = Callable[[bool], None]
"""Says that code of the task begins or ends to run."""


def unmarked(_component: str) -> Mark:
    """For workers without a parent: nothing is noted."""
    return lambda _running: None


NO_MARK = unmarked("")


class Marks:
    """The worker's side.

    Bound: the first 1,536 tasks with a place of their own are marked.
    """

    def __init__(self, page_fd: int, components: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(components, 1)}
        self._places = memoryview(mmap.mmap(page_fd, PAGE_BYTES))[FIRST_BYTE:].cast("H")
        self._taken = 0

    def __call__(self, component: str) -> Mark:
        """A mark for one more task of the component."""
        places, place, number = self._places, self._taken, self._numbers[component]
        if place >= len(places):
            return unmarked(component)
        self._taken += 1

        def mark(running: bool) -> None:
            places[place] = number if running else 0

        return mark

    def roving(self) -> Callable[[str | None], None]:
        """A mark for code of any component: it is told whose runs; None: nobody's."""
        places, place, numbers = self._places, self._taken, self._numbers
        if place >= len(places):
            return lambda _component: None
        self._taken += 1

        def mark(component: str | None) -> None:
            places[place] = numbers[component] if component else 0

        return mark


def marked(page_fd: int) -> list[int]:
    """The components, counted from 1, of which something is marked as running; the parent's side."""
    with mmap.mmap(page_fd, PAGE_BYTES, prot=mmap.PROT_READ) as page:
        numbers = memoryview(page[FIRST_BYTE:]).cast("H")
        return sorted({number for number in numbers if number})
