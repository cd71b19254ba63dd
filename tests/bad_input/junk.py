"""Objects that nobody would pass: of every type, of odd sizes, and such as raise when they are looked at."""

from __future__ import annotations

import decimal
import enum
import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from squall import Bolt, Fields, Spout, Topology


class Mute:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise ValueError("no repr")


class Hollow:
    """Has no attribute, and says so wrongly."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


class Unequal:
    """Cannot be compared, hashed, counted or taken for a truth value."""

    def _refused(self, *_: Any) -> Any:
        raise RuntimeError("refused")

    __eq__ = __hash__ = __len__ = __bool__ = __iter__ = __lt__ = __contains__ = __str__ = _refused  # type: ignore


class Yes:
    """Has every attribute and can be called, like a mock."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Yes()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Yes()


class BrokenMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(["n"])

    def __len__(self) -> int:
        return 1


class Colour(enum.Enum):
    RED = 1


class Row(NamedTuple):
    n: int


class Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("no instances")


class Text(str):
    """A text that is no plain one."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        raise ValueError("no format")


class CannotBeCopied(Bolt):
    def __deepcopy__(self, _memo: Any) -> Any:
        raise SystemExit("no copies")

    def process(self, n: int) -> None: ...


class RaisesInInit(Bolt):
    def __init__(self) -> None:
        raise ValueError("no instances")


class ExitsInInit(Spout):
    def __init__(self) -> None:
        raise SystemExit(3)


class GivesUpInInit(Bolt):
    def __init__(self) -> None:
        raise GeneratorExit

    def process(self, n: int) -> None: ...


class WrongException(Bolt):
    def __init__(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        raise Broken


class HollowBolt(Bolt):
    """Its declarations raise."""

    @property
    def outputs(self) -> Any:  # type: ignore[override]
        raise KeyError("outputs")

    def process(self, n: int) -> None: ...


async def coroutine(n: int) -> int:
    return n


async def asynchronous() -> Any:
    yield 1


def generator() -> Iterator[int]:
    yield 1


def raising() -> Any:
    raise LookupError("no")


def _deep(levels: int = 5000) -> list[Any]:
    inside: list[Any] = []
    for _ in range(levels):
        inside = [inside]
    return inside


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def of_another_topology() -> Any:
    return Topology("another").spout("numbers", generator, outputs=("n",))


JUNK: Mapping[str, Callable[[], Any]] = {
    "None": lambda: None,
    "true": lambda: True,
    "zero": lambda: 0,
    "negative": lambda: -1,
    "milliard": lambda: 10**9,
    "beyond a double": lambda: 10**400,
    "beyond all digits": lambda: 10**6000,
    "fraction": lambda: 1.5,
    "nan": lambda: float("nan"),
    "infinite": lambda: float("inf"),
    "complex": lambda: 1j,
    "decimal nan": lambda: decimal.Decimal("sNaN"),
    "empty text": lambda: "",
    "text": lambda: "x",
    "number as text": lambda: "2",
    "control characters": lambda: "a\0\n\x1b",
    "surrogate": lambda: "\ud800",
    "long text": lambda: "x" * 1_000_000,
    "odd text": lambda: Text("x"),
    "bytes": lambda: b"x",
    "no bytes": lambda: b"",
    "list": lambda: [1],
    "empty list": list,
    "texts": lambda: ["a", "a"],
    "deep list": _deep,
    "circle": _circle,
    "long list": lambda: [None] * 1_000_000,
    "tuple": lambda: (1,),
    "empty tuple": tuple,
    "set": lambda: {1},
    "empty dict": dict,
    "dict": lambda: {1: 2},
    "dict of texts": lambda: {"x": 1},
    "dict of tuples": lambda: {("a",): ("b",)},
    "broken mapping": BrokenMapping,
    "mapping proxy": lambda: types.MappingProxyType({"x": Mute()}),
    "object": object,
    "mute": Mute,
    "hollow": Hollow,
    "unequal": Unequal,
    "everything": Yes,
    "Ellipsis": lambda: ...,
    "NotImplemented": lambda: NotImplemented,
    "module": lambda: inspect,
    "type": lambda: int,
    "metaclass": lambda: Meta("M", (), {}),
    "enum": lambda: Colour.RED,
    "enum class": lambda: Colour,
    "named tuple": lambda: Row,
    "row": lambda: Row(1),
    "exception class": lambda: KeyError,
    "exception": lambda: KeyError("x"),
    "timedelta": lambda: timedelta(days=-1),
    "longest timedelta": lambda: timedelta.max,
    "date": lambda: date(2026, 1, 1),
    "lambda": lambda: lambda: None,
    "many parameters": lambda: lambda a, b, *c, d, **e: None,
    "builtin": lambda: print,
    "partial": lambda: functools.partial(print, 1),
    "generator function": lambda: generator,
    "generator": generator,
    "coroutine function": lambda: coroutine,
    "asynchronous generator": lambda: asynchronous,
    "raises": lambda: raising,
    "spout class": lambda: Spout,
    "bolt class": lambda: Bolt,
    "bolt": Bolt,
    "spout": Spout,
    "fields": lambda: Fields(5),  # type: ignore[arg-type]
    "topology": lambda: Topology("another"),
    "stream of another": of_another_topology,
    "cannot be copied": CannotBeCopied,
    "raises in init": lambda: RaisesInInit,
    "exits in init": lambda: ExitsInInit,
    "gives up in init": lambda: GivesUpInInit,
    "exception without a text": lambda: WrongException,
    "hollow bolt": lambda: HollowBolt,
    "a hollow bolt": HollowBolt,
    "property": lambda: property(lambda self: 1 / 0),
    "slice": lambda: slice(1, 2),
    "memory": lambda: memoryview(b"x"),
    "range": lambda: range(10**12),
}
"""How each is made: some can be used but once."""
