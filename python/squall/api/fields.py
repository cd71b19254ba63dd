"""How outputs are declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

FieldsLike: TypeAlias = tuple[str, ...] | Mapping[str, object] | type[tuple[Any, ...]]


class Fields:
    """The fields of a stream: names, name → type, or a NamedTuple class; `direct` for streams whose emitter chooses."""

    def __init__(self, fields: FieldsLike, /, *, direct: bool = False) -> None:
        self.fields = fields
        self.direct = direct

    def __repr__(self) -> str:
        return f"Fields({self.fields!r}, direct={self.direct})"
