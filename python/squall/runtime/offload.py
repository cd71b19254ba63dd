"""Where the code of async and blocking components runs in real time: one event loop a worker, one thread a task.

The loop's thread only hands calls over and takes results.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from queue import SimpleQueue
from types import FrameType
from typing import Any

from squall import _core
from squall.model.graph import ComponentSpec, Mode
from squall.runtime.async_pool import AsyncPool
from squall.runtime.build import Offloader
from squall.runtime.marks import Mark, unmarked
from squall.runtime.watch import Place, Stuck, Watched, frame_of, stack_of

log = logging.getLogger("squall.worker")


class EventLoopThread:
    """The event loop that a worker's async components share."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.tasks: list[AsyncOffloader] = []
        self.is_living = False
        self._is_closing = False
        self._asked = self._answered = 0
        self._thread = threading.Thread(target=self._run, name="squall-async", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._is_closing:
            try:
                self.loop.run_forever()
            except BaseException:  # `sys.exit` in a coroutine that user code began: it ends that one only
                log.exception("event=coroutine_exited")
        self.loop.close()

    def wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine on the loop and waits for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def running(self) -> int:
        """The number of the newest beat: it stays as long as the loop does not come to it (`Watched`).

        Calls of a task's life are watched where they are waited for.
        """
        if self.is_living:
            return 0
        if self._answered == self._asked:
            self._asked += 1
            self.loop.call_soon_threadsafe(self._answer, self._asked)
        return self._asked

    def _answer(self, beat: int) -> None:
        self._answered = beat

    def waits_for(self) -> str:
        """Nothing: what is awaited does not hold the loop up (`Watched`)."""
        return ""

    def stuck(self) -> Stuck:
        """Whose code holds the loop up, and its stack (`Watched`)."""
        thread = self._thread.ident or 0
        return Stuck(self._owner(frame_of(thread)), stack_of(thread))

    def _owner(self, frame: FrameType | None) -> str:
        """The component whose pool or instance is on the stack; else one that has begun calls."""
        while frame is not None:
            this = frame.f_locals.get("self")
            for task in self.tasks:
                if this is not None and (this is task.pool or this is task.bolt):
                    return task.component
            frame = frame.f_back
        return next((task for task in self.tasks if task.pool.is_running), self.tasks[0]).component

    def close(self) -> None:
        """Ends the loop and its thread."""
        self._is_closing = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)


class AsyncOffloader:
    """An async task's code on the worker's event loop."""

    def __init__(self, thread: EventLoopThread, component: str, bolt: Any, mark: Mark) -> None:
        self._thread, self.component, self.bolt = thread, component, bolt
        self._tasks: set[asyncio.Task[None]] = set()
        self.pool = AsyncPool(self._spawn, thread.loop.call_soon_threadsafe, bolt, mark)
        self.submit, self.cancel = self.pool.submit, self.pool.cancel
        thread.tasks.append(self)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine, loop=self._thread.loop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def run(self, function: Callable[..., object], /, *args: object) -> object:
        """Runs a call of the task's life on the event loop and waits for it."""

        async def call() -> tuple[object, BaseException | None]:
            try:
                result: Any = function(*args)
                return await result if asyncio.iscoroutine(result) else result, None
            except BaseException as error:  # let go here, an exit would end the event loop
                return None, error

        self._thread.is_living = True
        try:
            result, error = self._thread.wait_for(call())
        finally:
            self._thread.is_living = False
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Cancels the idle coroutines."""

        async def cancel() -> None:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._thread.wait_for(cancel())


class ThreadOffloader:
    """A blocking task's code on a thread of its own."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"squall-{name}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._place.thread = threading.get_ident()
        while (job := self._jobs.get()) is not None:
            job()

    def submit(self, call: _core.Call) -> None:
        """Takes a call over from the loop's thread."""
        self._jobs.put(lambda: self._run_call(call))

    def _run_call(self, call: _core.Call) -> None:
        self._place.begin(may_wait=call.kind == "poll")
        run_call(call)
        self._place.end()

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
        watch: is given each place where a call may not return.
    """

    def __init__(
        self, marks: Callable[[str], Mark] = unmarked, watch: Callable[[Watched], None] = lambda _place: None
    ) -> None:
        self._marks, self._watch = marks, watch
        self._loop: EventLoopThread | None = None
        self._made: list[Offloader] = []

    def __call__(self, spec: ComponentSpec, instance: Any) -> Offloader | None:
        """The place of one more task; None: the loop's thread."""
        if spec.mode is Mode.LOOP:
            return None
        mark = self._marks(spec.name)
        make = self._asynchronous if spec.mode is Mode.ASYNC else self._thread
        made = make(spec.name, instance, mark)
        self._made.append(made)
        return made

    def _asynchronous(self, component: str, instance: Any, mark: Mark) -> Offloader:
        if self._loop is None:
            self._loop = EventLoopThread()
            self._watch(self._loop)
        return AsyncOffloader(self._loop, component, instance, mark)

    def _thread(self, component: str, instance: Any, mark: Mark) -> Offloader:
        place = Place(component, mark, instance)
        self._watch(place)
        return ThreadOffloader(place, component)

    def close(self) -> None:
        """Ends all threads."""
        for place in self._made:
            place.close()
        if self._loop is not None:
            self._loop.close()
