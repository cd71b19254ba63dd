"""Which key a row belongs to, and its values as Redis has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from string import Formatter
from typing import Any, TypeAlias, cast

from squall._core import Tuple
from squall.connectors.redis.options import refused
from squall.errors import DeadLetter, repr_of

Key: TypeAlias = str | Callable[[Tuple], str | bytes]
"""A name, with fields in braces if wanted (`"user:{user}"`), or a function of the tuple."""
KeyOf: TypeAlias = Callable[[Tuple], str | bytes]


def varies(key: Key) -> bool:
    """Whether rows may have different keys."""
    return callable(key) or bool(fields_of(key))


def fields_of(key: str) -> tuple[str, ...]:
    """The fields that a name has in braces."""
    return tuple(dict.fromkeys(field for _, field, _, _ in Formatter().parse(key) if field is not None))


def fields_in(key: object) -> tuple[str, ...]:
    """The same of any key; of a function nobody knows."""
    return fields_of(key) if isinstance(key, str) else ()


def check_key(who: str, name: str, key: object) -> None:
    """Refuses what names no key.

    Raises:
        TopologyError: `redis_option`.
    """
    if callable(key):
        return
    fix = 'give a name, with fields in braces if wanted: "user:{user}", or a function of the tuple'
    if not isinstance(key, str) or not key:
        raise refused(f"{who} has {name}={repr_of(key)}", fix)
    try:
        fields = fields_of(key)
    except ValueError as error:
        raise refused(f"{who} has {name}={repr_of(key)}: {error}", f"{fix}; {{{{ is a brace") from error
    if not all(field.isidentifier() for field in fields):
        raise refused(f"{who} has {name}={repr_of(key)}", fix)


def key_of(key: Key) -> KeyOf:
    """The function of a key; it raises `DeadLetter` for a row that has none."""
    if not callable(key):
        if not varies(key):
            name = key.format()
            return lambda _: name

        def formatted(tup: Tuple) -> str:
            return key.format_map(dict(zip(tup.fields, tup.values, strict=True)))

        return _careful(formatted, key)
    return _careful(key, key)


def _careful(function: Callable[[Tuple], Any], key: object) -> KeyOf:
    def careful(tup: Tuple) -> str | bytes:
        try:
            made = function(tup)
        except KeyError as error:
            raise DeadLetter(f"the key {key!r} has the field {error}, which the row has not") from error
        except Exception as error:
            raise DeadLetter(f"the row has no key: {type(error).__name__}: {error}") from error
        if not isinstance(made, str | bytes) or not made:
            raise DeadLetter(f"the row's key is {repr_of(made)}, which is no name")
        return made

    return careful


def stored(value: Any) -> str | bytes | int | float:
    """A value as Redis keeps it: text, bytes and numbers as they are, all else as JSON.

    Raises:
        DeadLetter: it cannot be JSON.
    """
    if type(value) in (str, bytes, int, float):
        return value
    import msgspec

    try:
        data = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DeadLetter(f"{repr_of(value)} cannot be a value of Redis: {error}") from error
    if data[:1] == b'"' and not isinstance(value, str):  # a date, a decimal, a UUID: their text, without quotes
        return cast("str", msgspec.json.decode(data))
    return data.decode()


def picked(tup: Tuple, names: Sequence[str]) -> list[Any]:
    """The values of some fields, as Redis keeps them.

    Raises:
        DeadLetter: the row has not all of them.
    """
    try:
        return [stored(tup[name]) for name in names]
    except (KeyError, IndexError) as error:
        raise DeadLetter(f"the row has not the fields {', '.join(names)}: it has {', '.join(tup.fields)}") from error
