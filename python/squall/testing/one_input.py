"""One task of a topology, alone with one input: the rest of the graph stands around it and does nothing.

It is the topology's own graph, so names, task ids, streams and groupings are right; what feeds the task gives the one
input, and all other components take tuples and make nothing of them. The engine's time is simulated, so that nothing
times out while somebody thinks; the component's own code, async code too, has the real world around it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from squall import Exhausted, Spout, _core
from squall.model.graph import (
    Binding,
    ComponentSpec,
    Graph,
    GroupingKind,
    InputSpec,
    Kind,
    Mode,
    Retry,
    StreamId,
    StreamSpec,
)
from squall.planner.plan import plan
from squall.runtime import life
from squall.runtime.async_pool import AsyncPool
from squall.runtime.build import Built, Offloader, Task, build, core_settings
from squall.runtime.context import WorkerServices
from squall.runtime.hooks import Hooks
from squall.runtime.letters import Letter
from squall.testing.letters import MemoryLetters
from squall.testing.pace import run
from squall.testing.virtual import Inline

LOOK_EVERY_S = 0.005
HELD_WITHIN_S = 600.0
"""Simulated time in which a component may do something with an input that it holds."""
Around = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes of a component's function the one that is called in its place."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the input: rows by stream, the error if it failed, whether the component still holds it."""

    emitted: Mapping[str, list[tuple[Any, ...]]]
    error: Letter | None
    is_held: bool


class RealLoop:
    """An event loop that runs while something is awaited."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def run_until(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine to its end."""
        return self.loop.run_until_complete(coroutine)


class AwaitedHere:
    """An async task's code on this thread: each call is run to its end at once."""

    def __init__(self, loop: RealLoop, bolt: Any) -> None:
        self._loop = loop
        if bolt is not None:  # as of a function
            object.__setattr__(bolt, "timeout", None)  # in a debugger a call takes as long as it takes
        self._pool = AsyncPool(loop.loop.create_task, loop.loop.call_soon, bolt)
        self.cancel = self._pool.cancel

    def submit(self, call: _core.Call) -> None:
        """Runs the call."""
        self._pool.submit(call)
        self._loop.run_until(self._ended())

    async def _ended(self) -> None:
        await asyncio.sleep(0)  # the pool takes the call over
        await asyncio.sleep(0)  # and begins it
        while self._pool.is_running:
            await asyncio.sleep(LOOK_EVERY_S)

    def run(self, function: Callable[..., object], /, *args: object) -> object:
        """Runs one call of the task's life on the loop."""

        async def call() -> object:
            result: Any = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return self._loop.run_until(call())

    def close(self) -> None:
        """The loop is closed with all that is left on it."""


class Here:
    """Gives each component its place on the one thread."""

    def __init__(self) -> None:
        self._loop = RealLoop()
        self._inline = Inline(self._loop)

    def __call__(self, spec: ComponentSpec, instance: Any) -> Offloader | None:
        """The place of one component's code."""
        if spec.mode is Mode.LOOP:
            return None
        return AwaitedHere(self._loop, instance) if spec.mode is Mode.ASYNC else self._inline

    def serve(self, task: Task) -> None:
        """Gives the task a place for its life, so that `open` may be async wherever it runs."""
        task.offloader = task.offloader or self._inline

    def close(self) -> None:
        """Ends what still runs on the loop."""
        loop = self._loop.loop
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class OneInput(Spout):
    """Gives one row to one task; its tasks share what is left to give."""

    def __init__(self, left: list[tuple[str, tuple[Any, ...], int]]) -> None:
        self._left = left

    def next_tuple(self) -> None:
        """Emits it the first time."""
        if not self._left:
            raise Exhausted
        stream, values, task = self._left.pop()
        self.emit(*values, stream=stream, task=task)


def input_of(graph: Graph, letter: Letter) -> InputSpec | None:
    """The subscription by which the letter's input came, in the graph as it is now."""
    spec = graph.components.get(letter.component)
    source = StreamId(letter.source, letter.stream)
    return next((one for one in spec.inputs if one.source == source), None) if spec is not None else None


def run_one(graph: Graph, letter: Letter, around: Around) -> Outcome:
    """Opens the task that the letter failed in and gives it the letter's input.

    Args:
        around: is given the function that takes the input.

    Raises:
        life.OpenFailed: the component's `open` raised.
    """
    with tempfile.TemporaryDirectory(prefix="squall-debug-") as folder, _built(graph, letter, around, folder) as parts:
        built, letters = parts
        task = _task(built, letter)
        rows: dict[str, list[tuple[Any, ...]]] = {}
        for number, stream in enumerate(task.spec.streams):
            built.worker.tap(task.index, number, rows.setdefault(stream, []).append)
        try:
            life.call(task, "open", task.context)
        except Exception as error:
            raise life.OpenFailed(task.spec.name, task.task.task_id, error) from error
        built.worker.start_spouts()
        _run(built.worker, letters)
        return Outcome(rows, letters.letters[0] if letters.letters else None, bool(built.worker.pending()))


def _run(worker: _core.Worker, letters: MemoryLetters) -> None:
    """Runs until the input has ended, or is still held when timers had time to do something with it."""
    run(worker, until_idle=True)
    while worker.pending() and not letters.letters:
        due_s = worker.next_due()
        if due_s is None or due_s > HELD_WITHIN_S:
            return
        worker.advance_to(due_s)
        run(worker, until_idle=True)


@contextmanager
def _built(graph: Graph, letter: Letter, around: Around, folder: str) -> Generator[tuple[Built, MemoryLetters]]:
    letters = MemoryLetters()
    hooks = Hooks(graph.settings, lambda: datetime.now(UTC), lambda: 0.0, letters)
    settings = {**core_settings(graph.settings), "topology.tree.max.age.secs": None}
    worker = _core.Worker(incarnation=1, seed=0, hooks=hooks, virtual=True, settings=settings)
    letters.worker = worker
    offloaders = Here()
    services = WorkerServices(
        worker=worker,
        plan=plan(_alone(graph, letter, around)),
        topology_id=f"{graph.name}-1-0",
        number=1,
        work_dir=Path(folder),
        seed=0,
    )
    hooks.built = built = build(services, offloader=offloaders)
    for task in built.tasks:
        offloaders.serve(task)
    try:
        yield built, letters
    finally:
        offloaders.close()
        worker.close()


def _task(built: Built, letter: Letter) -> Task:
    """The letter's task; the first one if the component has fewer now."""
    tasks = built.of(letter.component)
    return next((task for task in tasks if task.task.task_id == letter.task), tasks[0])


def _alone(graph: Graph, letter: Letter, around: Around) -> Graph:
    """The graph in which only the letter's component has code, and its source gives the letter's input."""
    name = letter.component
    # A bolt may feed itself; then its input has to come from a stand-in.
    source = letter.source if letter.source != name else f"{letter.source} (its own output)"
    one = input_of(graph, letter)
    assert one is not None
    specs = {other.name: _still(other) for other in graph.components.values()}
    specs[name] = _with(graph.components[name], replace(one, source=StreamId(source, letter.stream)), around)
    tasks = [task.task_id for task in plan(graph).tasks_of(name)]
    wanted = letter.task if letter.task in tasks else tasks[0]
    fields = graph.components[letter.source].streams[letter.stream].fields

    left = [(letter.stream, letter.values, wanted)]

    def give(_context: object) -> OneInput:
        return OneInput(left)

    specs[source] = replace(
        _still(graph.components[letter.source]),
        name=source,
        kind=Kind.SPOUT,
        make=give,
        function=None,
        streams={letter.stream: StreamSpec(letter.stream, fields, direct=True)},
    )
    order = tuple(bolt for bolt in graph.order if bolt != source)
    for bolt in order:
        inputs = tuple(
            one for one in specs[bolt].inputs if bolt == name or one.source.component not in (letter.source, source)
        )
        specs[bolt] = replace(specs[bolt], inputs=inputs)
    return replace(graph, components=specs, order=order)


def _still(spec: ComponentSpec) -> ComponentSpec:
    """The component without its code: a bolt that takes everything, a spout that gives nothing."""
    is_bolt = spec.kind is Kind.BOLT
    binding = Binding(None, ())

    def make(_context: object) -> Any:
        return None if is_bolt else iter(())

    return replace(
        spec,
        mode=Mode.LOOP,
        make=make,
        function=(lambda: None) if is_bolt else None,
        inputs=tuple(replace(one, binding=binding) for one in spec.inputs),
        tick_every=None,
        listens=False,
        has_sockets=False,
    )


def _with(spec: ComponentSpec, one: InputSpec, around: Around) -> ComponentSpec:
    """The component with its code, `around` it, and one input; what fails is not tried again."""
    method = one.binding.method

    def make(context: Any) -> Any:
        instance = spec.make(context)
        if method is not None:
            # Past `__setattr__`: a frozen dataclass is a component as good as any.
            object.__setattr__(instance, method, around(getattr(instance, method)))
        return instance

    return replace(
        spec,
        make=make,
        function=around(spec.function) if spec.function is not None else None,
        inputs=(replace(one, grouping=GroupingKind.DIRECT, keys=(), custom=None, closes_loop=False),),
        retry=Retry({BaseException: "dead"}, 0),
        tick_every=None,
    )
