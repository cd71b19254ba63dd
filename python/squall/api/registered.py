"""Types of the user's own: as keys of fields grouping, and as values that go to other workers.

What other types mean as keys is known to the runtime; how they are written is known to the core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from squall import _core
from squall.errors import Defect, TopologyError, repr_of

_T = TypeVar("_T")

KEYS: dict[type, Callable[[Any], object]] = {}
"""What names an instance as a key, by its class."""

_WRITTEN = frozenset(
    f"builtins.{name}"
    for name in (
        *("NoneType", "bool", "int", "float", "complex", "str", "bytes", "bytearray"),
        *("list", "tuple", "dict", "set", "frozenset"),
    )
) | {
    *("datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta", "datetime.timezone"),
    *("decimal.Decimal", "uuid.UUID", "zoneinfo.ZoneInfo"),
}
"""Types that the core writes itself and would not ask for."""


def register_type(
    cls: type[_T],
    *,
    key: Callable[[_T], object] | None = None,
    encode: Callable[[_T], object] | None = None,
    decode: Callable[[Any], _T] | None = None,
) -> None:
    """Lets instances of `cls` be keys of fields groupings, or values that go to other workers, or both.

    Call it where every worker runs it: at the top level of the topology's file or of what that imports. Registering a
    class of the same name again replaces the former one.

    Args:
        cls: the class; keys may also be instances of its subclasses, values may not.
        key: two instances are equal as keys when `key(instance)` is.
        encode: gives what the instance is made of, in plain values or instances of registered types.
        decode: makes the instance from that again, in the worker that it was sent to.

    Raises:
        TopologyError: `register_type_invalid`, for what is no class, for neither a key nor both functions, and for
            types whose instances travel already.
    """
    if not isinstance(cls, type):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _invalid(f"{repr_of(cls)} is registered, which is no class", "give the class itself")
    name = f"{cls.__module__}.{cls.__qualname__}"
    for what, given in (("key", key), ("encode", encode), ("decode", decode)):
        if given is not None and not callable(given):
            raise _invalid(
                f"{name} is registered with {what}={repr_of(given)}, which cannot be called", "give a function"
            )
    if (encode is None) != (decode is None):
        missing = "decode" if decode is None else "encode"
        raise _invalid(f"{name} is registered without `{missing}`", "give both: what is written must be read again")
    if encode is None and key is None:
        raise _invalid(f"{name} is registered for nothing", "give `key=`, or `encode=` and `decode=`, or all three")
    if encode is not None and decode is not None:
        if name in _WRITTEN:
            raise _invalid(
                f"{name} is registered with `encode`, but squall writes its instances itself",
                "leave `encode` and `decode` out, or register a subclass",
            )
        _core.register_codec(cls, name, encode, decode)
    if key is not None:
        KEYS[cls] = key


def _invalid(message: str, fix: str) -> TopologyError:
    return TopologyError(Defect("register_type_invalid", message, fix=fix))
