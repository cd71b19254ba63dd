"""Generators that are run again after their worker was lost: what had ended is not sent again (semantics 31).

They are run again in the loop, in its turns, not before: so a long way is no call that hangs, the others go on, and
what takes forever is named as any other call that does. Where they run and what is opened before is as in the first
life.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from squall._core import Batch

log = logging.getLogger("squall.worker")
TURN_S = 0.01
"""How long outputs are left out before the others have their turn."""


def without(source: Iterator[Any], outputs: int, clock: Callable[[], float]) -> Iterator[Any]:
    """What is left of a generator without its first outputs; it must give the same as before.

    Out: meanwhile None, which is "nothing now": where it gives that, and after each `TURN_S`.
    Cost: as much time as making them took; of each later output about 30 ns.
    """
    log.info("event=outputs_left_out outputs=%d", outputs)
    left = outputs
    until_s = clock() + TURN_S
    for item in map(_listed, source):
        given = _outputs_of(item)
        if given > left:
            yield _rest_of(item, left)
        left -= min(given, left)
        if not left:
            break
        if not given or clock() >= until_s:
            yield None
            until_s = clock() + TURN_S
    log.info("event=outputs_were_left_out outputs=%d", outputs - left)
    yield from source


def _listed(item: Any) -> Any:
    """An output whose iterators are lists, so that it can be looked at twice."""
    if isinstance(item, list) or (isinstance(item, Iterator) and not isinstance(item, tuple)):
        return [_listed(one) for one in cast("Iterable[Any]", item)]
    return item


def _outputs_of(item: Any) -> int:
    """How many roots one yielded value becomes."""
    match item:
        case None:
            return 0
        case Batch():
            return len(item.outputs)
        case list():
            return sum(map(_outputs_of, cast("list[Any]", item)))
        case _:
            return 1


def _rest_of(item: Any, left: int) -> Any:
    if isinstance(item, Batch):
        return Batch(item.outputs[left:], ids=item.ids[left:], stream=item.stream)
    rest: list[Any] = []
    for one in item:
        given = _outputs_of(one)
        if given > left:
            rest.append(_rest_of(one, left) if left else one)
        left = max(0, left - given)
    return rest
