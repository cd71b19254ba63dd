"""Calls that do not return, in the places that the core's watchdog does not see.

The core watches what its loop runs. Here: the calls of the tasks' lives, the threads of blocking components, and the
event loop, where code that does not await holds everybody up. As in the core a thread looks from time to time, and
times a call from the first look that saw it, so that no call pays for a clock. A call that begins or ends to wait for
another system begins anew for it: how long it waited says nothing of how long it has been computing.

What never gives the interpreter lock up holds this thread up as well.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import CoroutineType, FrameType
from typing import Any, NamedTuple, Protocol, TypeVar

from squall.api.waiting import Waits
from squall.runtime.marks import NO_MARK, Mark

_T = TypeVar("_T")

LOOK_EVERY_S = 1.0


class Watched(Protocol):
    """A place where calls run, one at a time."""

    def running(self) -> int:
        """The number of the call that runs; 0: none."""
        ...

    def waits_for(self) -> str:
        """The other system that it says it waits for; empty: none."""
        ...

    def stuck(self) -> Stuck:
        """The call that runs."""
        ...


class Stuck(NamedTuple):
    """A call that runs: its component, and its stack."""

    component: str
    stack: str


class Told(NamedTuple):
    """A call that has been doing one thing for too long: the number of its place, from 1, and what it waits for."""

    place: int
    component: str
    stack: str
    waits_for: str
    running_s: float


@dataclass(slots=True)
class _Seen:
    """What the last looks saw in a place: the number of its call, and what that waits for."""

    number: int
    place: Watched
    doing: tuple[int, str] = (0, "")
    since_s: float = 0.0
    is_told: bool = False


class Watch:
    """Tells of each call that runs, or waits for one other system, for too long: once, and once that this is over.

    Args:
        stuck_s: how long a call may do so.
        tell: gets the call.
        tell_over: gets the number of the place whose call was told of, when it has ended or does something else.
    """

    def __init__(
        self,
        stuck_s: float,
        tell: Callable[[Told], None],
        tell_over: Callable[[int], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stuck_s, self._tell, self._tell_over, self._monotonic = stuck_s, tell, tell_over, monotonic
        self._places: list[_Seen] = []
        self._numbers = itertools.count(1)

    def add(self, place: Watched) -> None:
        """Watches one more place. Any thread."""
        self._places.append(_Seen(next(self._numbers), place))

    def start(self) -> None:
        """Looks from now on, on a thread that ends with the process."""
        threading.Thread(target=self._serve, name="squall-watch-places", daemon=True).start()

    def _serve(self) -> None:
        pause_s = min(LOOK_EVERY_S, self._stuck_s / 2)
        while True:
            time.sleep(pause_s)
            self.look()

    def look(self) -> None:
        """Looks at every place."""
        now_s = self._monotonic()
        for seen in self._places[:]:
            call = seen.place.running()
            waits_for = seen.place.waits_for() if call else ""
            if (call, waits_for) != seen.doing:
                if seen.is_told:
                    self._tell_over(seen.number)
                seen.doing, seen.since_s, seen.is_told = (call, waits_for), now_s, False
            elif call and not seen.is_told and now_s - seen.since_s >= self._stuck_s:
                stuck = seen.place.stuck()
                if seen.place.running() == call:  # else that is the stack of something else
                    seen.is_told = True
                    self._tell(Told(seen.number, *stuck, waits_for, now_s - seen.since_s))


class Place:
    """The thread of one task, which marks whose code it runs."""

    def __init__(self, component: str, mark: Mark = NO_MARK, instance: object = None) -> None:
        self._component, self._mark, self._instance = component, mark, instance
        self.thread = 0
        self._calls = self._running = 0

    def begin(self, *, may_wait: bool) -> None:
        """A call begins. `may_wait`: it may take as long as it likes."""
        self._calls += 1
        self._running = 0 if may_wait else self._calls
        self._mark(True)

    def end(self) -> None:
        """The call has ended."""
        self._running = 0
        self._mark(False)

    def running(self) -> int:
        """See `Watched`."""
        return self._running

    def waits_for(self) -> str:
        """See `Watched`."""
        return waited_for(self._instance)

    def stuck(self) -> Stuck:
        """See `Watched`."""
        return Stuck(self._component, stack_of(self.thread))


class Life:
    """The calls by which tasks are made, opened, drained and closed: one at a time, each where its task's code runs.

    Args:
        mark: is told whose code runs, and None at its end.
    """

    def __init__(self, mark: Callable[[str | None], None] = lambda _component: None) -> None:
        self._mark = mark
        self._component = ""
        self._instance: object = None
        self._thread = 0
        self._result: object = None
        self._calls = self._running = 0

    @contextmanager
    def of(self, component: str) -> Generator[None]:
        """Inside, a call of the component runs."""
        self._component, self._result, self._thread = component, None, threading.get_ident()
        self._calls += 1
        self._running = self._calls
        self._mark(component)
        try:
            yield
        finally:
            self._running = 0
            self._result = self._instance = None
            self._mark(None)

    def run(self, function: Callable[..., _T], *args: object) -> _T:
        """Runs the function of the call, on whichever thread this is."""
        self._thread = threading.get_ident()
        self._instance = getattr(function, "__self__", None)
        self._result = result = function(*args)
        return result

    def running(self) -> int:
        """See `Watched`."""
        return self._running

    def waits_for(self) -> str:
        """See `Watched`."""
        return waited_for(self._instance)

    def stuck(self) -> Stuck:
        """See `Watched`."""
        result = self._result
        if inspect.iscoroutine(result) and inspect.getcoroutinestate(result) == inspect.CORO_SUSPENDED:
            return Stuck(self._component, _awaits(result))
        return Stuck(self._component, stack_of(self._thread))


def waited_for(instance: object) -> str:
    """The other system that an instance says its call waits for, whatever that raises."""
    with suppress(Exception):
        return instance.waits_for() if isinstance(instance, Waits) else ""
    return ""


def stack_of(thread: int) -> str:
    """The stack of a thread, most recent call first."""
    if (frame := frame_of(thread)) is None:
        return ""
    frames = traceback.walk_stack(frame)
    return "\n".join(_line(frame.f_code.co_filename, line, frame.f_code.co_qualname) for frame, line in frames)


def frame_of(thread: int) -> FrameType | None:
    """What a thread runs now."""
    return sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]  # documented


def _awaits(coroutine: CoroutineType[Any, Any, Any]) -> str:
    """Where a coroutine waits, and who waits for that, most recent call first."""
    lines: list[str] = []
    inner: Any = coroutine
    while (frame := getattr(inner, "cr_frame", None)) is not None:
        lines.append(_line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname))
        inner = inner.cr_await
    return "\n".join(reversed(lines))


def _line(file: str, line: int, name: str) -> str:
    return f'File "{file}", line {line} in {name}'
