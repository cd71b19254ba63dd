"""An event loop whose time is the worker's virtual clock, and offloaders that run inline: everything on one thread.

asyncio's own base loop does the work; only what waits is replaced. The alternative, patching `time` and the selector
of a stock loop, would let a forgotten socket wait for real and make a test slow instead of wrong.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NoReturn, Protocol, cast

from squall import _core
from squall.errors import Defect, TopologyError
from squall.model.graph import ComponentSpec, Mode
from squall.runtime.build import Offloader, Task
from squall.runtime.offload import AsyncPool, run_call

CLOCK_RESOLUTION_S = 1e-6
"""Timers that are due within this time are due: the core counts nanoseconds, asyncio floats."""


class _Selector:
    """Waits for nothing, finds nothing."""

    def select(self, timeout: float | None = None) -> list[object]:
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that never waits: it runs what is ready, and timers when the clock has been moved.

    `run_in_executor` (and so `asyncio.to_thread`) runs inline; what needs sockets or processes is refused.
    """

    def __init__(self, clock: Callable[[], float], move_clock: Callable[[float], None]) -> None:
        super().__init__()
        self._clock_resolution = CLOCK_RESOLUTION_S
        self._clock = clock
        self._move_clock = move_clock
        self._selector = _Selector()

    def is_here(self) -> bool:
        """Whether the code that asks runs on this loop."""
        return asyncio._get_running_loop() is self

    def time(self) -> float:
        """The virtual time."""
        return self._clock()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Runs the function here and now."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def create_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("opened a connection")

    async def create_datagram_endpoint(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("opened a socket")

    async def create_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("opened a server")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("started a process")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("started a process")

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_ready(self) -> bool:
        """Runs everything that can run now. Whether there was anything."""
        base = cast("Any", self)
        worked = False
        while base._ready or ((due := self.next_due()) is not None and due <= self.time() + CLOCK_RESOLUTION_S):
            worked = True
            previous = asyncio._get_running_loop()
            asyncio._set_running_loop(self)
            try:
                base._run_once()
            finally:
                asyncio._set_running_loop(previous)
        return worked

    def next_due(self) -> float | None:
        """When the next timer is due."""
        base = cast("Any", self)
        scheduled: list[Any] = base._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
            base._timer_cancelled_count = max(0, base._timer_cancelled_count - 1)
        return scheduled[0]._when if scheduled else None

    def run_until(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine to its end; the clock follows its sleeps."""
        task = self.create_task(coroutine)
        self.run_ready()
        while not task.done() and (due := self.next_due()) is not None:
            self._move_clock(due)
            self.run_ready()
        if not task.done():
            task.cancel()
            self.run_ready()
            _refuse("waited in `open` or `close` for something that nobody sends")
        return task.result()

    def cancel_all(self) -> None:
        """Cancels every task and lets them end."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.run_ready()


def _refuse(what: str) -> NoReturn:
    message = f"an async component {what} in simulated time"
    fix = "stand in for it in the test, or use LocalCluster(..., simulated_time=False)"
    raise TopologyError(Defect("simulated_world", message, (), fix))


class VirtualAsync:
    """An async task's code on the virtual loop."""

    def __init__(self, loop: VirtualLoop, bolt: Any) -> None:
        self._loop = loop
        pool = AsyncPool(loop.create_task, loop.call_soon, bolt)
        self.submit, self.cancel = pool.submit, pool.cancel

    def run(self, function: Callable[..., object], /, *args: object) -> object:
        """Runs one call of the task's life on the loop."""

        async def call() -> object:
            result: Any = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return self._loop.run_until(call())

    def close(self) -> None:
        """Nothing to end: the loop cancels what still runs."""


class RunsUntil(Protocol):
    """A loop that runs a coroutine to its end."""

    def run_until(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine returns."""
        ...


class Inline:
    """Code that is run where the loop runs: that of blocking tasks, and the life of all tasks that are not async."""

    def __init__(self, loop: RunsUntil) -> None:
        self._loop = loop

    def submit(self, call: _core.Call) -> None:
        """Runs the call here and now."""
        run_call(call)

    def run(self, function: Callable[..., object], /, *args: object) -> object:
        """Runs one call of the task's life; what it awaits, on the loop."""
        result: Any = function(*args)
        return self._loop.run_until(_awaited(result)) if hasattr(result, "__await__") else result

    def close(self) -> None:
        """Nothing to end."""


async def _awaited(result: Any) -> Any:
    return await result


class VirtualOffloaders:
    """Gives each component its place on the one thread."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self._inline = Inline(loop)

    def __call__(self, spec: ComponentSpec, instance: Any) -> Offloader | None:
        """The place of one component's code."""
        if spec.mode is Mode.LOOP:
            return None
        return VirtualAsync(self.loop, instance) if spec.mode is Mode.ASYNC else self._inline

    def serve(self, tasks: Iterable[Task]) -> None:
        """Gives the tasks that run on the worker's loop a place for their life, so that an async `open` takes virtual
        time. Only now, when they are built: else the core would hand their tuples over too.
        """
        for task in tasks:
            task.offloader = task.offloader or self._inline

    def close(self) -> None:
        """Ends the coroutines and the loop."""
        self.loop.cancel_all()
        self.loop.close()
