"""Clusters with one defect each, so that it can be shown that the model finds it.

The defect is put where the runtime hands things to the core; no file of the product knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from squall import _core
from squall.runtime import hooks
from squall.testing import one_worker
from squall.testing.letters import MemoryLetters

EVERY = 5
"""Each how many calls a mutant that is wrong now and then is wrong."""
Change = Callable[[dict[str, Any]], None]


def worker(**changes: Change) -> Callable[[pytest.MonkeyPatch], None]:
    """Workers whose methods of these names are given changed arguments."""

    class Changed:
        def __init__(self, **options: Any) -> None:
            changes.get("made", lambda _options: None)(options)
            self._worker = _core.Worker(**options)

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._worker, name)
            if name not in changes:
                return method

            def changed(*args: Any, **options: Any) -> Any:
                changes[name](options)
                return method(*args, **options)

            return changed

    class Core:
        Worker = Changed

        def __getattr__(self, name: str) -> Any:
            return getattr(_core, name)

    return lambda patch: patch.setattr(one_worker, "_core", Core())


def sets(name: str, value: Any, *, where: Callable[[dict[str, Any]], bool] = lambda _options: True) -> Change:
    """Gives an argument another value, or what a function makes of it."""

    def change(options: dict[str, Any]) -> None:
        if where(options):
            options[name] = value(options[name]) if callable(value) else value

    return change


def wraps(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Change:
    """Puts something around the user's code of each input."""
    return sets("function", wrap)


def twice(function: Callable[..., Any]) -> Callable[..., Any]:
    """Delivers some inputs again."""
    calls = count(1)

    def delivered(*args: Any) -> Any:
        if next(calls) % EVERY == 0:
            function(*args)
        return function(*args)

    return delivered


def never(function: Callable[..., Any]) -> Callable[..., Any]:
    """Loses some inputs."""
    calls = count(1)
    return lambda *args: function(*args) if next(calls) % EVERY else None


def swapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Delivers each second input before the one that came first."""
    waiting: list[Any] = []

    def delivered(*args: Any) -> Any:
        waiting.append(args)
        if len(waiting) < 2:
            return None
        results = [function(*waiting.pop()), function(*waiting.pop())]
        return [result for result in results if result is not None]

    return delivered


def anchors(most: int) -> Change:
    """What a bolt with `manual_ack` emits hangs on so many tuples at most."""

    def change(options: dict[str, Any]) -> None:
        bolt = options["instance"]
        if not options["spout"] and getattr(bolt, "manual_ack", False):
            emit = bolt.emit

            def changed(*values: Any, anchors: Any = None, **more: Any) -> None:
                emit(*values, anchors=anchors[:most] if anchors else anchors, **more)

            object.__setattr__(bolt, "emit", changed)

    return change


def judged(change: Callable[[tuple[int, bool, Any]], tuple[int, bool, Any]]) -> Callable[[pytest.MonkeyPatch], None]:
    """Exceptions mean something else."""
    true = hooks.classify
    return lambda patch: patch.setattr(hooks, "classify", lambda *args: change(true(*args)))


def letters_of_one_more_try(patch: pytest.MonkeyPatch) -> None:
    """Dead letters tell of one try too many."""
    put = MemoryLetters.put
    patch.setattr(
        MemoryLetters, "put", lambda self, handle, one: put(self, handle, replace(one, attempts=one.attempts + 1))
    )


def told_twice(patch: pytest.MonkeyPatch) -> None:
    """Acks are told again."""
    observe = one_worker.OneWorker._observe

    def changed(self: Any, event: str, *args: Any) -> None:
        observe(self, event, *args)
        if event == "acked":
            observe(self, event, *args)

    patch.setattr(one_worker.OneWorker, "_observe", changed)


DROP, RETRY = _core.ACTION_DROP, _core.ACTION_RETRY
_seeds = count(1000)

MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "loses acks": worker(configure_bolt=sets("manual_ack", True)),
    "acks are told twice": told_twice,
    "delivers twice": worker(bind=wraps(twice)),
    "loses rows": worker(bind=wraps(never)),
    "swaps rows": worker(bind=wraps(swapped)),
    "sends a key to any task": worker(subscribe=sets("grouping", "none", where=lambda o: o["grouping"] == "fields")),
    "sends to one task, not to all": worker(
        subscribe=sets("grouping", "shuffle", where=lambda o: o["grouping"] == "all")
    ),
    "sends to the last task, not the first": worker(
        subscribe=sets("targets", lambda targets: targets[::-1], where=lambda o: o["grouping"] == "global")
    ),
    "shuffles unevenly": worker(subscribe=sets("grouping", "none", where=lambda o: o["grouping"] == "shuffle")),
    "tries once too often": worker(add_task=sets("retries", lambda retries: retries + 1)),
    "tries once too seldom": worker(add_task=sets("retries", lambda retries: max(0, retries - 1))),
    "loses a retry": judged(lambda it: (DROP, True, None) if it[0] == RETRY else it),
    "counts what does not count": judged(lambda it: (it[0], True, it[2])),
    "counts nothing": judged(lambda it: (it[0], False, it[2])),
    "tries again too soon": judged(lambda it: (it[0], it[1], 0.05 if it[2] is None else it[2])),
    "tries again too late": judged(lambda it: (it[0], it[1], 0.15 if it[2] is None else it[2])),
    "holds for twice as long": worker(configure_bolt=sets("hold_max", lambda hold_s: 2 * hold_s)),
    "holds for half as long": worker(configure_bolt=sets("hold_max", lambda hold_s: hold_s / 2)),
    "hangs rows on nothing": worker(add_task=anchors(0)),
    "hangs what is joined on one": worker(add_task=anchors(1)),
    "ignores the limit of pending": worker(configure_spout=sets("max_pending", None)),
    "letters of one try too many": letters_of_one_more_try,
    "depends on more than the seed": worker(made=sets("seed", lambda _seed: next(_seeds))),
}


@contextmanager
def mutant(name: str) -> Iterator[None]:
    """Inside, clusters have this defect."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        yield
