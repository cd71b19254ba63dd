"""From the bytes of a record to the fields of a tuple.

msgspec reads JSON and MessagePack straight into a struct of the wanted fields, which the core takes apart: no dict is
made for a record, and what is not wanted is skipped. One decoder serves all records of a task, one record at a time:
whole chunks at once gained nothing (0.43 µs a record against 0.47 by `decode_lines`), and would have decoded far ahead.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeAlias, cast

from squall.connectors.framing import Delimiter, Framing, Lines
from squall.errors import Defect, TopologyError, repr_of


@dataclass(frozen=True, slots=True)
class Json:
    """Decodes each record as one JSON document.

    Out: with `outputs` (names, name → type, or a NamedTuple class), the object's values by name; what else the object
        has is skipped. With a msgspec `Struct`, a NamedTuple class or a dataclass as `type`, its fields. Else one
        field, `field`: the document as `type` has it, or as Python has it (dict, list, str, …).
    Delivery: a record that is no JSON, lacks a field or does not fit a type goes to the dead letters, which say why.
    Threading: decodes in C on the loop's thread, as records are emitted.
    """

    type: Any = None
    outputs: Any = None
    field: str = "value"


@dataclass(frozen=True, slots=True)
class MessagePack:
    """Decodes each record as one MessagePack value; `type`, `outputs` and `field` are those of `Json`.

    Wants a framing that may hold any byte: `LengthPrefix` or `Fixed`.
    """

    type: Any = None
    outputs: Any = None
    field: str = "value"


Decoder: TypeAlias = Json | MessagePack | Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Decoding:
    """What a decoder comes to: the declared outputs, and what the core is given."""

    outputs: Any
    native: Any

    def __deepcopy__(self, _memo: object) -> Decoding:
        return self  # nothing in it changes, and a decoder of msgspec cannot be copied


def as_framed(framing: Framing) -> Decoding:
    """What a framing gives without a decoder."""
    return Decoding((framing.field,), "text" if isinstance(framing, Lines) else "bytes")


def decoding_of(decoder: Decoder, outputs: Any, framing: Framing | None) -> Decoding:
    """What a decoder gives.

    Raises:
        TopologyError: `decoder_invalid`.
    """
    if isinstance(decoder, Json | MessagePack):
        if outputs is not None:
            what = type(decoder).__name__
            raise _invalid(f"`outputs` stands beside {what}", f"write {what}(outputs=…)")
        if isinstance(decoder, MessagePack) and isinstance(framing, Lines | Delimiter):
            fix = "give framing=LengthPrefix(4), and have the sender lead each record by its length"
            raise _invalid(f"MessagePack may hold the bytes that end {repr_of(framing)}", fix)
        return _by_msgspec(decoder)
    if not callable(decoder):
        raise _invalid(
            f"the decoder {repr_of(decoder)} cannot be called", "give Json(), MessagePack(), or a function of bytes"
        )
    if inspect.iscoroutinefunction(decoder) or inspect.isasyncgenfunction(decoder):
        fix = "make it an ordinary function, or do the waiting in an async bolt"
        raise _invalid(f"the decoder {_name(decoder)} is async", fix)
    if outputs is None:
        fix = "say what it returns: decoder=parse, outputs=('user', 'url')"
        raise _invalid(f"nothing says the fields of what the decoder {_name(decoder)} returns", fix)
    return Decoding(outputs, ("outputs", decoder))


def _name(decoder: Any) -> str:
    return getattr(decoder, "__name__", None) or repr(decoder)


def _invalid(message: str, fix: str) -> TopologyError:
    return TopologyError(Defect("decoder_invalid", message, (), fix))


def _by_msgspec(decoder: Json | MessagePack) -> Decoding:
    import msgspec

    if decoder.type is not None and decoder.outputs is not None:
        raise _invalid(f"{repr_of(decoder)} has a type and outputs", "keep one of them: a type has its own fields")
    codec = msgspec.json if isinstance(decoder, Json) else msgspec.msgpack
    try:
        wanted, outputs, row = _wanted(decoder.type, decoder.outputs)
        decode = codec.Decoder(Any if wanted is None else wanted).decode
    except (TypeError, NameError, ValueError) as error:
        fix = "give types that msgspec knows: str, int, float, bool, bytes, datetime, list[…], Struct, …"
        raise _invalid(f"{repr_of(decoder)} cannot be decoded to: {error}", fix) from error
    if row is None:
        return Decoding({decoder.field: wanted} if isinstance(wanted, type) else (decoder.field,), ("value", decode))
    return Decoding(outputs, ("row", decode, row))


def _wanted(kind: Any, outputs: Any) -> tuple[Any, Any, Callable[[Any], tuple[Any, ...]] | None]:
    """What msgspec decodes to, the declared outputs, and what makes a row of it; None: one value."""
    import msgspec

    if outputs is None and not _is_named_tuple(kind):
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return kind, typing.get_type_hints(kind), msgspec.structs.astuple
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            names = [field.name for field in dataclasses.fields(kind)]
            hints = typing.get_type_hints(kind)
            return kind, {name: hints[name] for name in names}, _getter(names)
        return cast("Any", kind), None, None
    outputs = kind if outputs is None else outputs
    return _struct_of(outputs), outputs, msgspec.structs.astuple


def _is_named_tuple(kind: Any) -> bool:
    return (
        isinstance(kind, type) and issubclass(cast("type[Any]", kind), tuple) and hasattr(cast("Any", kind), "_fields")
    )


def _are_names(outputs: Any) -> bool:
    names = cast("list[Any]", outputs) if isinstance(outputs, tuple | list) else []
    return len(names) > 0 and all(isinstance(name, str) for name in names)


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:
        return lambda value: (getattr(value, names[0]),)
    return attrgetter(*names)


def _struct_of(outputs: Any) -> Any:
    """A struct whose fields are the outputs, by their names in the document."""
    import msgspec

    defaults: Mapping[str, Any] = {}
    if _is_named_tuple(outputs):
        hints, defaults = typing.get_type_hints(outputs), outputs._field_defaults
        typed = {name: hints.get(name, Any) for name in outputs._fields}
    elif isinstance(outputs, Mapping):
        typed = dict(cast("Mapping[str, Any]", outputs))
    elif _are_names(outputs):
        typed = dict.fromkeys(cast("list[str]", outputs), Any)
    else:
        raise TypeError(f"outputs are names, names with types, or a NamedTuple class, not {repr_of(outputs)}")
    # Numbered, as a name in a document need not be one in Python.
    names = {f"f{number}": name for number, name in enumerate(typed)}
    fields = [
        (number, typed[name], defaults[name]) if name in defaults else (number, typed[name])
        for number, name in names.items()
    ]
    return msgspec.defstruct("Record", cast("Any", fields), rename=names, kw_only=True)
