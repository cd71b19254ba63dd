"""From a tuple to the record that a sink sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

from squall._core import Tuple
from squall.connectors.sending.wire import Record
from squall.errors import DeadLetter, Defect, TopologyError, repr_of

Encoder: TypeAlias = Literal["text", "json", "raw"] | Callable[[Tuple], Record]
"""How a tuple becomes a record.

`"text"`: the value, or the values with tabs between. `"json"`: an object by the names of the fields, in one line.
`"raw"`: the tuple's one value, which is bytes or text. Or a function of the tuple.
"""


def encoder_of(encoder: Encoder, who: str) -> Callable[[Tuple], Record]:
    """The function of an encoder.

    Raises:
        TopologyError: `encoder_unknown`.
    """
    if callable(encoder):
        return encoder
    known: dict[str, Callable[[Tuple], Record]] = {"text": _text, "json": _json, "raw": _raw}
    name = cast("object", encoder)
    if not isinstance(name, str) or name not in known:
        fix = 'give "text", "json", "raw", or a function that makes bytes or text of a tuple'
        raise TopologyError(Defect("encoder_unknown", f"{who} has encoder={repr_of(encoder)}", (), fix))
    return known[name]


def _text(tup: Tuple) -> bytes:
    return "\t".join(map(str, tup.values)).encode("utf-8", "backslashreplace")


def _json(tup: Tuple) -> bytes:
    import msgspec

    try:
        return msgspec.json.encode(dict(zip(tup.fields, tup.values, strict=True)))
    except (TypeError, ValueError) as error:
        raise DeadLetter(f"the tuple cannot be JSON: {error}") from error


def _raw(tup: Tuple) -> Any:
    if len(tup) != 1:
        raise DeadLetter(f"a raw record is one value, and the tuple has {len(tup)}")
    return tup[0]
