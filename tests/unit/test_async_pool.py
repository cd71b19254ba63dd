"""The coroutines that serve async calls, when calls are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from squall import Bolt
from squall.runtime.async_pool import AsyncPool
from squall.runtime.offload import EventLoopThread


class Wait(Bolt):
    """Its calls wait until they are let go of."""

    max_in_flight = 1


class InOrder(Wait):
    max_in_flight = 2
    ordered = True


class Call:
    """A call as the core makes one; what it came to is kept under its name."""

    kind = "process"
    task = 0

    def __init__(self, name: str, ends: list[tuple[str, object]], function: Callable[[], Awaitable[Any]]) -> None:
        self.function, self.args = function, ()
        self.done = lambda result: ends.append((name, result))
        self.raised = lambda error: ends.append((name, getattr(error, "code", error)))


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def serving(bolt: Bolt) -> SimpleNamespace:
    """A pool on the running event loop, its calls by name, and what they came to."""
    loop, ends = asyncio.get_running_loop(), list[tuple[str, object]]()
    pool = AsyncPool(loop.create_task, loop.call_soon_threadsafe, bolt)
    calls: dict[str, Call] = {}

    def submit(name: str, function: Callable[[], Awaitable[Any]]) -> None:
        calls[name] = Call(name, ends, function)
        pool.submit(calls[name])

    return SimpleNamespace(ends=ends, submit=submit, cancel=lambda name: pool.cancel(calls[name]))


async def hang() -> None:
    await asyncio.sleep(1000)


async def give(value: str) -> str:
    return value


def test_cancelled_call_frees_its_place() -> None:
    """Semantics 16."""

    async def run() -> list[tuple[str, object]]:
        pool = serving(Wait())
        pool.submit("first", hang)
        pool.submit("second", lambda: give("b"))
        await settle()
        assert pool.ends == []
        pool.cancel("first")
        await settle()
        return list(pool.ends)

    assert asyncio.run(run()) == [("first", "call_cancelled"), ("second", "b")]


def test_call_that_has_not_begun_is_cancelled_too() -> None:
    async def run() -> list[tuple[str, object]]:
        pool = serving(Wait())
        for name in ("first", "second"):
            pool.submit(name, hang)
        await settle()
        pool.cancel("second")
        await settle()
        return list(pool.ends)

    assert asyncio.run(run()) == [("second", "call_cancelled")]


def test_cancelled_call_gives_its_turn_up() -> None:
    """The API page, Input: in order if `ordered`; one that has ended already keeps its turn."""

    async def run() -> list[tuple[str, object]]:
        pool = serving(InOrder())
        pool.submit("first", hang)
        pool.submit("second", lambda: give("b"))
        await settle()
        pool.cancel("second")
        await settle()
        assert pool.ends == []
        pool.cancel("first")
        pool.submit("third", lambda: give("c"))
        await settle()
        return list(pool.ends)

    assert asyncio.run(run()) == [("first", "call_cancelled"), ("second", "b"), ("third", "c")]


@pytest.mark.parametrize("bolt", [Wait, InOrder])
def test_call_that_ignores_its_cancellation_ends_when_it_does(bolt: type[Bolt]) -> None:
    async def run() -> list[tuple[str, object]]:
        pool, over = serving(bolt()), asyncio.Event()

        async def stubborn() -> str:
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue
            return "a"

        pool.submit("first", stubborn)
        await settle()
        pool.cancel("first")
        await settle()
        assert pool.ends == []
        over.set()
        pool.submit("second", lambda: give("b"))
        await settle()
        return list(pool.ends)

    assert asyncio.run(run()) == [("first", "a"), ("second", "b")]


def test_event_loop_is_closed_with_its_thread() -> None:
    thread = EventLoopThread()
    assert thread.wait_for(give("a")) == "a"
    thread.close()
    assert thread.loop.is_closed()


def test_idle_coroutine_that_user_code_cancelled_is_replaced() -> None:
    async def run() -> list[tuple[str, object]]:
        pool = serving(Wait())
        pool.submit("first", lambda: give("a"))
        await settle()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await settle()
        pool.submit("second", lambda: give("b"))
        await settle()
        return list(pool.ends)

    assert asyncio.run(run()) == [("first", "a"), ("second", "b")]
