"""The only place that turns a plan into core calls; for real workers and for `LocalCluster` alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from squall import _core
from squall.api.components import Bolt, Spout
from squall.api.context import TopologyContext
from squall.model.durations import seconds
from squall.model.graph import (
    ARG_CONTEXT,
    ARG_TUPLE,
    Binding,
    ComponentSpec,
    GroupingKind,
    Kind,
    Mode,
    Plan,
    TaskSpec,
)
from squall.runtime import generators, keys
from squall.runtime.context import ContextRuntime, WorkerServices


class Offloader(Protocol):
    """Runs calls of one task away from the loop's thread."""

    def submit(self, call: _core.Call, /) -> None:
        """Takes a call over."""
        ...

    def run(self, function: Callable[..., object], /, *args: object) -> object:
        """Runs one call of the task's life (open, drain, close) and waits for it."""
        ...

    def close(self) -> None:
        """Ends; no call is running any more."""
        ...


@dataclass
class Task:
    """A task that is built: its instance, its place in the core, where its code runs."""

    spec: ComponentSpec
    task: TaskSpec
    index: int
    instance: Any
    context: TopologyContext
    runtime: ContextRuntime
    offloader: Offloader | None
    native: bool = False


@dataclass(frozen=True, slots=True)
class FarTask:
    """A task of another worker, by its index in this one's core."""

    spec: ComponentSpec
    task: TaskSpec
    index: int


@dataclass
class Built:
    """A worker's tasks, in the order of their indexes in the core: spouts, then bolts in topological order.

    `far`: the tasks of other workers, whose indexes follow.
    """

    plan: Plan
    worker: _core.Worker
    tasks: list[Task] = field(default_factory=list[Task])
    far: list[FarTask] = field(default_factory=list[FarTask])

    def at(self, index: int) -> Task | FarTask:
        """The task with this index in the core."""
        own = len(self.tasks)
        return self.tasks[index] if index < own else self.far[index - own]

    def of(self, component: str) -> list[Task]:
        """The tasks of one component that this worker has."""
        return [task for task in self.tasks if task.spec.name == component]

    def everywhere(self, component: str) -> list[Task | FarTask]:
        """The tasks of one component in all workers, in ascending order of their ids."""
        tasks = [task for task in (*self.tasks, *self.far) if task.spec.name == component]
        return sorted(tasks, key=lambda task: task.task.task_id)


def build(
    services: WorkerServices,
    *,
    offloader: Callable[[ComponentSpec, Any], Offloader | None],
    replace_spout: Callable[[ComponentSpec, TaskSpec], Spout | None] = lambda _spec, _task: None,
) -> Built:
    """Makes every task of the plan and wires it into the worker.

    Args:
        offloader: gives the place where a component's code runs; None for the loop's thread.
        replace_spout: gives another spout in place of a component's own (dead letters, tests).
    """
    keys.install()
    worker, plan = services.worker, services.plan
    built = Built(plan, worker)
    names = [*(s.name for s in plan.graph.spouts), *plan.graph.order]
    numbers = {name: worker.add_component(name) for name in names}
    for name in names:
        spec = plan.graph.components[name]
        for task in plan.tasks_of(name):
            if task.worker == services.number:
                index = len(built.tasks)
                services.components.append(name)
                built.tasks.append(_task(services, spec, task, numbers[name], index, offloader, replace_spout))
    for task in plan.tasks:
        if task.worker != services.number:
            built.far.append(_far_task(worker, plan.graph.components[task.component], task, numbers))
    for name in plan.graph.order:
        with services.life.of(name):  # its groupings may be the user's own
            _connect(worker, built, plan.graph.components[name])
    return built


def _task(
    services: WorkerServices,
    spec: ComponentSpec,
    task: TaskSpec,
    number: int,
    index: int,
    offloader: Callable[[ComponentSpec, Any], Offloader | None],
    replace_spout: Callable[[ComponentSpec, TaskSpec], Spout | None],
) -> Task:
    runtime = ContextRuntime(services, spec, task)
    runtime.bind(index)
    context = TopologyContext(runtime)
    is_spout = spec.kind is Kind.SPOUT
    with services.life.of(spec.name):
        instance: Any = services.life.run(
            lambda: (replace_spout(spec, task) if is_spout else None) or spec.make(context)
        )
    holder = instance if isinstance(instance, Spout | Bolt) else (Spout() if is_spout else Bolt())
    made = services.worker.add_task(
        component=number,
        task_id=task.task_id,
        instance=holder,
        context=context,
        spout=is_spout,
        streams=_streams(spec),
        retries=spec.retry.retries,
    )
    assert made == index
    place = offloader(spec, instance)
    built = Task(spec, task, index, instance, context, runtime, place)
    if is_spout:
        if wake_by := _callback(instance, "wake_by"):  # it hears from other threads when it has something
            wake_by(lambda: services.worker.wake_spout(index))
        _configure_spout(services.worker, built, services.ended)
    elif isinstance(holder, Bolt):
        _configure_bolt(services.worker, built, holder)
    return built


def _far_task(worker: _core.Worker, spec: ComponentSpec, task: TaskSpec, numbers: Mapping[str, int]) -> FarTask:
    index = worker.add_far_task(
        component=numbers[spec.name],
        task_id=task.task_id,
        worker=task.worker,
        streams=_streams(spec),
        retries=spec.retry.retries,
    )
    return FarTask(spec, task, index)


def _streams(spec: ComponentSpec) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(stream.name, stream.fields, stream.direct) for stream in spec.streams.values()]


def _callback(instance: object, name: str) -> Callable[..., Any] | None:
    found = getattr(instance, name, None)
    return found if callable(found) else None


def _configure_spout(worker: _core.Worker, task: Task, ended: Mapping[str, int] | None) -> None:
    """Says where a spout's roots come from, and how.

    Args:
        ended: outputs of generators that had ended in lives before; None: nobody counts them.
    """
    instance, settings = task.instance, task.spec.settings
    is_component = isinstance(instance, Spout)
    idle_ms = settings["topology.sleep.spout.wait.strategy.time.ms"]
    idle_wait = seconds(instance.idle_wait) if is_component and _says_idle_wait(instance) else idle_ms / 1000
    kind, source = _source(task, ended or {}, worker.monotonic)
    task.native = kind == "tcp"
    # Without an order of its outputs none of them counts as ended, so a new life leaves none out.
    is_counted = ended is not None and task.spec.is_replayable
    callbacks = {
        name: _callback(instance, name) if is_component else None for name in ("ack", "ack_many", "fail", "dead")
    }
    worker.configure_spout(
        task.index,
        kind=kind,
        source=source,
        rate_per_s=instance.rate_per_s if is_component else None,
        idle_wait=idle_wait,
        max_pending=settings["topology.max.spout.pending"],
        ordered=callbacks["fail"] is None
        and (_callback(instance, "position") is not None if is_component else is_counted),
        submit=task.offloader.submit if task.offloader else None,
        **callbacks,
    )


def _says_idle_wait(spout: Spout) -> bool:
    """Whether the user's class or instance sets it itself.

    Without a look at `__dict__`: an instance that was asked for it once keeps its attributes there, where each access
    costs several times more.
    """
    own = type(spout).__mro__[: type(spout).__mro__.index(Spout)]
    return spout.idle_wait is not Spout.idle_wait or any("idle_wait" in vars(cls) for cls in own)


def _source_figures(native: Any) -> dict[str, int]:
    """What the native half of a source has counted: what it has a use for, and whatever is there nevertheless."""
    shown = {"records", "bytes", *native.figures}
    return {name: count for name, count in native.stats().items() if count or name in shown}


def _source(task: Task, ended: Mapping[str, int], clock: Callable[[], float]) -> tuple[Any, Any]:
    instance = task.instance
    if not isinstance(instance, Spout):
        outputs = ended.get(f"{task.spec.name}/{task.task.index}", 0)
        return "iterator", generators.without(instance, outputs, clock) if outputs else instance
    native: Any = instance
    if hasattr(instance, "native_source"):
        task.runtime.source_figures = partial(_source_figures, native)
        return "tcp", native.native_source(task.context.task_index, task.context.task_count)
    if callable(getattr(instance, "next_batch", None)):
        return "next_batch", instance.next_batch
    return "next_tuple", instance.next_tuple


def _configure_bolt(worker: _core.Worker, task: Task, bolt: Bolt) -> None:
    settings = task.spec.settings
    batch = any(one.binding.batch for one in task.spec.inputs)
    hold = seconds(bolt.hold_max) if bolt.hold_max is not None else settings["topology.message.timeout.secs"]
    if not settings["topology.enable.message.timeouts"] and bolt.hold_max is None:
        hold = 0.0
    worker.configure_bolt(
        task.index,
        manual_ack=bolt.manual_ack,
        hold_max=hold,
        batch_max=bolt.batch_max if batch else 0,
        batch_wait=seconds(bolt.batch_wait),
        max_in_flight=bolt.max_in_flight if task.spec.mode is Mode.ASYNC else 1,
        submit=task.offloader.submit if task.offloader else None,
        cancel=_callback(task.offloader, "cancel"),
        drains=_callback(bolt, "drain") is not None,
    )


def _connect(worker: _core.Worker, built: Built, spec: ComponentSpec) -> None:
    targets = built.everywhere(spec.name)
    for one in spec.inputs:
        sources = built.everywhere(one.source.component)
        stream = list(sources[0].spec.streams).index(one.source.stream)
        for target in built.of(spec.name):
            codes, constants = _codes(one.binding, target.context)
            function = target.spec.function
            if one.binding.method is not None:
                function = getattr(target.instance, one.binding.method)
            assert function is not None
            worker.bind(
                target.index,
                sources=[source.index for source in sources],
                stream=stream,
                function=function,
                codes=codes,
                constants=constants,
            )
        for source in sources:
            kind, among = one.grouping, targets
            if kind is GroupingKind.LOCAL_OR_SHUFFLE:
                kind, among = GroupingKind.SHUFFLE, _nearest(source, targets)
            worker.subscribe(
                source.index,
                stream,
                targets=[target.index for target in among],
                grouping=kind.value,  # pyright: ignore[reportArgumentType]
                keys=one.keys,
                custom=_custom(one.custom, source, one.source.stream, targets),
                closes_loop=one.closes_loop,
            )


def _nearest(source: Task | FarTask, targets: Sequence[Task | FarTask]) -> Sequence[Task | FarTask]:
    """The targets in the worker of the source, if there are any; else all."""
    return [target for target in targets if target.task.worker == source.task.worker] or targets


def _custom(
    grouping: Any, source: Task | FarTask, stream: str, targets: Sequence[Task | FarTask]
) -> Callable[..., Any] | None:
    """The grouping's choice; None where tuples of a task of another worker are never routed."""
    if grouping is None or isinstance(source, FarTask):
        return None
    import copy

    own = copy.deepcopy(grouping)
    own.prepare(source.context, stream, [target.task.task_id for target in targets])
    return own.choose


def _codes(binding: Binding, context: TopologyContext) -> tuple[list[int], list[object]]:
    codes: list[int] = []
    constants: list[object] = []

    def constant(value: object) -> int:
        constants.append(value)
        return _core.ARG_CONSTANT - (len(constants) - 1)

    for argument in binding.arguments:
        if isinstance(argument.source, int):
            codes.append(argument.source)
        elif argument.source == ARG_TUPLE:
            codes.append(_core.ARG_TUPLE)
        else:
            codes.append(constant(context if argument.source == ARG_CONTEXT else argument.constant))
    return codes, constants


def core_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the core reads."""
    return {key: value for key, value in settings.items() if key.startswith(("topology.", "backpressure."))}
