"""An event loop whose time is the worker's virtual clock, and offloaders that run inline: everything on one thread."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from typing import Any

from squall import _core
from squall.model.graph import ComponentSpec, Mode
from squall.runtime.build import Offloader
from squall.runtime.offload import AsyncPool, run_call


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that never waits: it runs what is ready, and timers when the clock has been moved."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._selector = _NoSelector()

    def time(self) -> float:
        """The virtual time."""
        return self._clock()

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_ready(self) -> bool:
        """Runs everything that can run now. Whether there was anything."""
        worked = False
        while self._ready or ((due := self.next_due()) is not None and due <= self.time()):
            worked = True
            previous = asyncio._get_running_loop()
            asyncio._set_running_loop(self)
            try:
                self._run_once()
            finally:
                asyncio._set_running_loop(previous)
        return worked

    def next_due(self) -> float | None:
        """When the next timer is due."""
        scheduled: list[Any] = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            self._timer_cancelled_count = max(0, self._timer_cancelled_count - 1)
        return scheduled[0]._when if scheduled else None

    def run_until(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine that needs no time to pass."""
        task = self.create_task(coroutine)
        self.run_ready()
        if not task.done():
            task.cancel()
            self.run_ready()
            raise RuntimeError("an async `open` or `close` waited for time to pass or for the world outside")
        return task.result()


class _NoSelector:
    """Waits for nothing."""

    def select(self, timeout: float | None = None) -> list[object]:
        return []


class VirtualAsync:
    """An async task's code on the virtual loop."""

    def __init__(self, loop: VirtualLoop, bolt: Any) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self.submit = AsyncPool(self._spawn, loop.call_soon, bolt).submit

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def run(self, function: Callable[..., object], /, *args: object) -> object:
        """Runs a call of the task's life."""
        result: Any = function(*args)
        return self._loop.run_until(result) if asyncio.iscoroutine(result) else result

    def close(self) -> None:
        """Cancels the idle coroutines."""
        for task in list(self._tasks):
            task.cancel()
        self._loop.run_ready()


class Inline:
    """A blocking task's code, run inline."""

    def submit(self, call: _core.Call) -> None:
        """Runs the call here and now."""
        run_call(call)

    def run(self, function: Callable[..., object], /, *args: object) -> object:
        """Runs a call of the task's life."""
        return function(*args)

    def close(self) -> None:
        """Nothing to end."""


class VirtualOffloaders:
    """Gives each component its place on the one thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.loop = VirtualLoop(clock)
        self._made: list[Offloader] = []

    def __call__(self, spec: ComponentSpec, instance: Any) -> Offloader | None:
        if spec.mode is Mode.LOOP:
            return None
        place: Offloader = VirtualAsync(self.loop, instance) if spec.mode is Mode.ASYNC else Inline()
        self._made.append(place)
        return place

    def close(self) -> None:
        """Ends the coroutines and the loop."""
        for place in self._made:
            place.close()
        self.loop.close()
