"""`Spout` and `Bolt`: what users subclass.

The bases are compiled; `emit`, `ack`, `fail` and `reset_timeout` come from there and are never wrapped, since they are
the hot path. What stands here are the declarations that a subclass may override.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast

from squall import _core
from squall.model.durations import Seconds

if TYPE_CHECKING:
    from squall.api.context import TopologyContext
    from squall.api.fields import Fields, FieldsLike

Action: TypeAlias = Literal["retry", "dead", "drop", "die"]
OnError: TypeAlias = Action | Mapping[type[Exception], Action]


class Component:
    """What spouts and bolts have in common: declared outputs, a life, ticks.

    `open(context)` → work → `close()`; `tick()` each `tick_every`. Only what a subclass defines is called.
    """

    __slots__ = ()

    outputs: ClassVar[FieldsLike | Fields] = ()
    streams: ClassVar[Mapping[str, FieldsLike | Fields]] = {}
    blocking: ClassVar[bool] = False
    tick_every: ClassVar[Seconds | None] = None
    on_error: ClassVar[OnError] = "retry"

    if TYPE_CHECKING:

        @property
        def context(self) -> TopologyContext: ...

        def open(self, context: TopologyContext, /) -> Awaitable[None] | None: ...

        def tick(self) -> object: ...

        def close(self) -> Awaitable[None] | None: ...

    def __getstate__(self) -> object:
        """The attributes of the subclass, for copies: Python refuses those of a compiled base unless it is told so.

        The compiled part holds nothing that a copy needs; it is made anew, unbound to any task.
        """
        return object.__getstate__(self)

    def __setstate__(self, state: Any) -> None:
        """Takes the attributes one by one: an instance whose `__dict__` was touched pays for it at each access."""
        parts = cast("tuple[dict[str, Any] | None, ...]", state if isinstance(state, tuple) else (state,))
        for name, value in chain.from_iterable(part.items() for part in parts if part):
            object.__setattr__(self, name, value)


class Spout(Component, _core.SpoutBase):
    """A source of tuples. Override `next_batch` or `next_tuple`; `ack` and `fail` where the source can replay.

    Delivery: at least once. Without `fail` the engine keeps the values of each pending root and emits them again.
    Failure: what `next_batch` or `next_tuple` raises is reported, and after a pause they are called again; with
        `on_error` "die" the worker ends. The pause is 0.1 s and doubles up to 10 s; it begins anew when the spout has
        gone on for longer than its last pause was.
    Threading: all methods run on the task's executor, one at a time.
    """

    rate_per_s: ClassVar[float | None] = None
    idle_wait: ClassVar[Seconds] = 0.001

    if TYPE_CHECKING:

        def next_batch(self, limit: int, /) -> object: ...

        def next_tuple(self) -> object: ...

        ack: Callable[[Any], object]
        ack_many: Callable[[list[Any]], object]
        fail: Callable[[Any], object]
        dead: Callable[[Any], object]
        position: Callable[[], bytes | None]
        seek: Callable[[bytes], object]
        commit: Callable[[bytes], object]

        def activate(self) -> None: ...

        def deactivate(self) -> None: ...


class Bolt(Component, _core.BoltBase):
    """A processing step. Override `process` (one call a tuple) or `process_batch` (one call for many).

    Delivery: an input is acked when its call returns, unless `manual_ack`; an exception fails it. An async call that is
        held for longer than the time-out fails too, and is cancelled.
    Order: with `ordered` the calls of an async bolt interleave as ever, but what they give goes out in the order of
        their inputs, what they emit too; with `manual_ack` and in batches they have to return it.
    Threading: all methods run on the task's executor; an `async` bolt interleaves only at `await`.
    """

    manual_ack: ClassVar[bool] = False
    hold_max: ClassVar[Seconds | None] = None
    batch_max: ClassVar[int] = 256
    batch_wait: ClassVar[Seconds] = 0.0
    max_in_flight: ClassVar[int] = 100
    timeout: ClassVar[Seconds | None] = None
    ordered: ClassVar[bool] = False

    if TYPE_CHECKING:
        process: Callable[..., object]
        process_batch: Callable[..., object]

        def drain(self) -> object: ...
