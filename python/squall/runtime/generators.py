"""Generators that are run again after their worker was lost: what had ended is not sent again (semantics 31)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, cast

from squall._core import Batch


def without(source: Iterator[Any], outputs: int) -> Iterator[Any]:
    """What is left of a generator without its first outputs; it must give the same as before.

    Cost: as much time as making them took; nothing after that.
    """
    left = outputs
    for item in map(_listed, source if left else ()):
        given = _outputs_of(item)
        if given > left:
            return chain([_rest_of(item, left)], source) if left else chain([item], source)
        left -= given
        if not left:
            break
    return source


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
