"""A fixed pool of coroutines that serves the calls of one async task: a coroutine for each call costs three times more.

With `ordered` the outputs of a call go out in its turn, those of `self.emit` too: they are kept and given to the core
with what the call returns. To send them at once in the call's turn was dropped, since the core sends what earlier calls
returned only when its loop comes to them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from squall import _core
from squall.errors import Defect, EmissionError
from squall.model.durations import seconds
from squall.runtime.marks import NO_MARK, Mark

WITH_INPUTS = ("process", "batch")
"""Kinds of calls that take inputs."""

End = tuple[Callable[[Any], None], object]
"""How the core is told of a call's end, and what."""


@dataclass(slots=True)
class Turn:
    """An ordered call until all before it have ended: what it has emitted, and its end once it is there."""

    emitted: list[_core.Emit] = field(default_factory=list[_core.Emit])
    end: End | None = None


class AsyncPool:
    """Serves the calls of one async task, on the thread of its event loop.

    Bound: the core submits at most `max_in_flight` calls.

    Args:
        spawn: begins a coroutine.
        soon: has the event loop call a function; any thread.
    """

    def __init__(
        self,
        spawn: Callable[[Coroutine[Any, Any, None]], Any],
        soon: Callable[..., Any],
        bolt: Any,
        mark: Mark = NO_MARK,
    ) -> None:
        self._spawn, self._soon, self._mark = spawn, soon, mark
        timeout = getattr(bolt, "timeout", None)
        self._timeout = None if timeout is None else seconds(timeout)
        self._most = getattr(bolt, "max_in_flight", 100)
        self._handed: deque[_core.Call] = deque()
        self._waiting: deque[_core.Call] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._serving = 0
        self._running: dict[_core.Call, asyncio.Task[Any]] = {}
        self._turns: OrderedDict[_core.Call, Turn] = OrderedDict()
        self._ordered = bool(getattr(bolt, "ordered", False))
        self._manual_ack = bool(getattr(bolt, "manual_ack", False))
        if self._ordered:
            self._emit_now = bolt.emit
            object.__setattr__(bolt, "emit", self._emit)

    @property
    def is_running(self) -> bool:
        """Whether calls have begun that have not ended."""
        return bool(self._running)

    def submit(self, call: _core.Call) -> None:
        """Takes a call over from the loop's thread."""
        self._handed.append(call)
        if len(self._handed) == 1:
            self._soon(self._take)

    def cancel(self, call: _core.Call) -> None:
        """Ends a call that took too long, so that its place is free. Any thread.

        One that goes on when it is cancelled keeps its place until it ends.
        """
        self._soon(self._cancel, call)

    def _take(self) -> None:
        while self._handed:
            call = self._handed.popleft()
            self._waiting.append(call)
            if self._ordered:
                self._turns[call] = Turn()
            if not self._wake():
                self._serve_more()

    def _serve_more(self) -> None:
        if self._serving < self._most:
            self._serving += 1
            self._spawn(self._serve())

    def _wake(self) -> bool:
        """Wakes a coroutine that has nothing to do; whether there is one."""
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return True
        return False

    def _cancel(self, call: _core.Call) -> None:
        if task := self._running.get(call):
            task.cancel()
        elif call in self._waiting:
            self._waiting.remove(call)
            self._end(call, call.raised, _cancelled())

    async def _serve(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            while True:
                while not self._waiting:
                    idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._idle.append(idle)
                    await idle
                await self._run(self._waiting.popleft(), task)
        finally:
            self._serving -= 1
            if self._waiting:  # ticks and timers come beyond `max_in_flight`
                self._serve_more()

    async def _run(self, call: _core.Call, task: asyncio.Task[Any]) -> None:
        self._begin(call, task)
        try:
            result: Any = call.function(*call.args)
            if asyncio.iscoroutine(result):
                async with asyncio.timeout(self._timeout):
                    result = await result
            if self._ordered:
                result = self._collected(call, result)
        except asyncio.CancelledError as error:
            self._end(call, call.raised, _cancelled(error))
            if task.cancelling():
                raise  # this coroutine was cancelled; if not, user code awaited something that was
        except BaseException as error:
            self._end(call, call.raised, error)
        else:
            self._end(call, call.done, result)
        finally:
            self._forget(call)

    def _begin(self, call: _core.Call, task: asyncio.Task[Any]) -> None:
        _core.current_call.set(call)
        if not self._running:
            self._mark(True)
        self._running[call] = task

    def _forget(self, call: _core.Call) -> None:
        _core.current_call.set(None)
        del self._running[call]
        if not self._running:
            self._mark(False)

    # -- order ---------------------------------------------------------------------------------------------------

    def _emit(self, *values: object, **options: Any) -> None:
        """`self.emit` of an ordered bolt."""
        call: _core.Call | None = _core.current_call.get(None)
        turn = self._turns.get(call) if call is not None else None
        if call is None or turn is None or turn.end:
            self._emit_now(*values, **options)  # it belongs to no call, or its call has returned
        elif not self._manual_ack and call.kind != "batch":
            turn.emitted.append(_core.Emit(*values, **options))
        elif call.kind in WITH_INPUTS:
            raise _emit_ordered()
        else:
            self._emit_now(*values, **options)

    def _collected(self, call: _core.Call, result: Any) -> Any:
        """What an ordered call gives the core: what it returned, after what it emitted."""
        if hasattr(result, "__next__"):
            result = list(result)  # the core takes a generator bit by bit, and later calls would come between
        emitted = self._turns[call].emitted
        return [*emitted, result] if emitted else result

    def _end(self, call: _core.Call, tell: Callable[[Any], None], outcome: object) -> None:
        if not self._ordered:
            tell(outcome)
            return
        self._turns[call].end = tell, outcome
        while self._turns and (end := next(iter(self._turns.values())).end):
            self._turns.popitem(last=False)
            tell, outcome = end
            tell(outcome)


def _cancelled(error: BaseException | None = None) -> EmissionError:
    """What a cancelled call fails with: an ordinary failure, which ends nothing but its tuple."""
    fix = "catch asyncio.CancelledError where you await what may be cancelled, and raise an exception of your own"
    failure = EmissionError(Defect("call_cancelled", "an async call was cancelled", (), fix))
    failure.__cause__ = error
    return failure


def _emit_ordered() -> EmissionError:
    message = "`self.emit` was called in an ordered call whose outputs cannot be kept for its turn"
    facts = (("why", "it acks by hand, or takes a batch"),)
    fix = "return the outputs (`Emit(..., stream=...)` names a stream), or set `ordered = False`"
    return EmissionError(Defect("emit_ordered", message, facts, fix))
