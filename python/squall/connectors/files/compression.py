"""How a file is compressed: as was said, or by its suffix."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

Packing: TypeAlias = Literal["gzip", "zstd"]
Compression: TypeAlias = Literal["auto"] | Packing | None
SUFFIXES: dict[str, Packing] = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
"""Of each compression the first one is what is added to names."""


def is_compression(value: object) -> bool:
    """Whether it is a `Compression`."""
    return value is None or (isinstance(value, str) and value in ("auto", "gzip", "zstd"))


def packing_of(path: str, compression: Compression) -> Packing | None:
    """How a file is compressed; None: it is not."""
    return SUFFIXES.get(os.path.splitext(path)[1]) if compression == "auto" else compression


def suffix_for(path: str, packing: Packing | None) -> str:
    """What is to be added to a path so that its suffix says how the file is compressed."""
    if packing is None or packing_of(path, "auto") == packing:
        return ""
    return next(suffix for suffix, one in SUFFIXES.items() if one == packing)
