"""Where the code of async and blocking components runs in real time: one event loop a worker, one thread a task.

The loop's thread only hands calls over and takes results.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from squall import _core
from squall.model.graph import ComponentSpec, Mode
from squall.runtime.async_pool import AsyncPool
from squall.runtime.build import Offloader
from squall.runtime.marks import Mark, unmarked


class EventLoopThread:
    """The event loop that a worker's async components share."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="squall-async", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine on the loop and waits for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def close(self) -> None:
        """Stops the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)


class AsyncOffloader:
    """An async task's code on the worker's event loop."""

    def __init__(self, thread: EventLoopThread, bolt: Any, mark: Mark) -> None:
        self._thread = thread
        loop = thread.loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = AsyncPool(self._spawn, loop.call_soon_threadsafe, bolt, mark)
        self.submit, self.cancel = self._pool.submit, self._pool.cancel

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine, loop=self._thread.loop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def run(self, function: Callable[..., object], /, *args: object) -> object:
        """Runs a call of the task's life on the event loop and waits for it."""

        async def call() -> object:
            result: Any = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return self._thread.wait_for(call())

    def close(self) -> None:
        """Cancels the idle coroutines."""

        async def cancel() -> None:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._thread.wait_for(cancel())


class ThreadOffloader:
    """A blocking task's code on a thread of its own."""

    def __init__(self, name: str, mark: Mark) -> None:
        self._mark = mark
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"squall-{name}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._mark(True)
            job()
            self._mark(False)

    def submit(self, call: _core.Call) -> None:
        """Takes a call over from the loop's thread."""
        self._jobs.put(lambda: run_call(call))

    def run(self, function: Callable[..., object], /, *args: object) -> object:
        """Runs a call of the task's life on the thread and waits for it."""
        future: Future[object] = Future()
        context = contextvars.copy_context()

        def job() -> None:
            try:
                future.set_result(context.run(function, *args))
            except BaseException as error:
                future.set_exception(error)

        self._jobs.put(job)
        return future.result()

    def close(self) -> None:
        """Ends the thread after its last call."""
        self._jobs.put(None)


def run_call(call: _core.Call) -> None:
    """Runs one call here and now."""
    token = _core.current_call.set(call)
    try:
        result = call.function(*call.args)
    except BaseException as error:
        call.raised(error)
    else:
        call.done(result)
    finally:
        _core.current_call.reset(token)


class Offloaders:
    """Gives each component the place where its code runs.

    Args:
        marks: makes the mark of a task that gets a place of its own.
    """

    def __init__(self, marks: Callable[[str], Mark] = unmarked) -> None:
        self._marks = marks
        self._loop: EventLoopThread | None = None
        self._made: list[Offloader] = []

    def __call__(self, spec: ComponentSpec, instance: Any) -> Offloader | None:
        """The place of one more task; None: the loop's thread."""
        if spec.mode is Mode.LOOP:
            return None
        if spec.mode is Mode.ASYNC:
            self._loop = self._loop or EventLoopThread()
            place: Offloader = AsyncOffloader(self._loop, instance, self._marks(spec.name))
        else:
            place = ThreadOffloader(spec.name, self._marks(spec.name))
        self._made.append(place)
        return place

    def close(self) -> None:
        """Ends all threads."""
        for place in self._made:
            place.close()
        if self._loop is not None:
            self._loop.close()
