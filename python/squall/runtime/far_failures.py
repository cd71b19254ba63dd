"""What workers tell each other of a failure: enough for the log of errors and for the dead letter (semantics 11)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from squall.runtime import letter_codec
from squall.runtime.failures import FarError, summary, traceback_text


class Input(Protocol):
    """An input of a task: a `Tuple`, or what another worker told of one."""

    @property
    def source(self) -> str:
        """The component that emitted it."""
        ...

    @property
    def stream(self) -> str:
        """The stream that it came on."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its values."""
        ...

    @property
    def values(self) -> tuple[Any, ...]:
        """What it carried."""
        ...


@dataclass(frozen=True, slots=True)
class FarInput:
    """An input of a task in another worker."""

    source: str
    stream: str
    fields: tuple[str, ...]
    values: tuple[Any, ...]


def told(error: BaseException, given: Input | None, most_bytes: int) -> bytes:
    """A failure for the worker of its root, in at most so many bytes: first the values are cut, then the traceback.

    An input that is too long even so is left out.
    """
    traceback = traceback_text(error)
    record: dict[str, Any] = {"error": summary(error), "traceback": traceback, "input": None}
    if given is not None and sum(map(len, given.fields)) < most_bytes:
        values = letter_codec.encode_row(given.values)
        record["input"] = [given.source, given.stream, list(given.fields), values]
        if len(_bytes(record)) > most_bytes:
            record["input"][3] = letter_codec.encode_row(tuple(letter_codec.Unknown(_cut(one)) for one in given.values))
        if len(_bytes(record["input"])) > most_bytes:
            record["input"] = None
    while len(data := _bytes(record)) > most_bytes:
        record["traceback"] = record["traceback"][-len(record["traceback"]) // 2 :]
        record["error"] = record["error"][: max(100, len(record["error"]) // 2)]
        if len(record["traceback"]) < 100:
            record["input"] = None
    return data


def heard(data: bytes) -> tuple[FarError, FarInput | None]:
    """What another worker told of a failure."""
    if not data:
        return FarError("unknown: it could not be told", ""), None
    record: dict[str, Any] = json.loads(data)
    error = FarError(record["error"], record["traceback"])
    if record["input"] is None:
        return error, None
    source, stream, fields, values = record["input"]
    return error, FarInput(source, stream, tuple(fields), letter_codec.decode(values))


def _bytes(record: object) -> bytes:
    return json.dumps(record).encode()


def _cut(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= 200 else f"{text[:200]}…"
