"""Makes a finished file visible: in one step, under its own name, never in part.

What was written row by row is published by a rename. Compressed files and Parquet are made anew from it, under another
hidden name, and renamed: so what is acked can always be cut at its last whole record and published after a crash,
whatever the format, and no file has a seam in its compression where a batch ended. The price is that such a file is
written twice, the second time in one go.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from squall.connectors.files.writing.arrow_rows import to_parquet
from squall.connectors.files.writing.staged import ARROW, Staged
from squall.connectors.files.writing.staging import hidden, sync_folder

Seal: TypeAlias = Callable[[Path, Any], None]
"""Makes the published file, open for writing, from the hidden one."""
SEALING = ".seal"
"""No longer than the addition of the hidden file: a name that could be written can be published."""
GZIP_LEVEL, ZSTD_LEVEL = 6, 3
CHUNK = 1 << 20


def seal_of(staged: Staged) -> Seal | None:
    """What makes the published file; None: it is the hidden one.

    Raises:
        ValueError: its name says something that this squall does not know.
    """
    if staged.log == ARROW:
        return partial(to_parquet, staged.seal)
    match staged.seal:
        case "":
            return None
        case "gzip":
            return _to_gzip
        case "zstd":
            return _to_zstd
        case other:
            raise ValueError(f'"{other}" is no compression that this squall knows')


def _to_gzip(source: Path, sealed: Any) -> None:
    with source.open("rb") as raw, gzip.GzipFile("", "wb", GZIP_LEVEL, sealed, mtime=0) as packed:
        shutil.copyfileobj(raw, packed, CHUNK)


def _to_zstd(source: Path, sealed: Any) -> None:
    import zstandard

    with source.open("rb") as raw:
        zstandard.ZstdCompressor(level=ZSTD_LEVEL).copy_stream(raw, sealed, size=source.stat().st_size)


def publish(target: Path, staged: Staged, sync: bool) -> None:
    """Gives the hidden file of a target, which is on disk, its own name; may be called again after any failure."""
    source, seal = hidden(target, staged), seal_of(staged)
    if seal is None:
        source.rename(target)
    else:
        _publish_sealed(source, target, seal, sync)
    if sync:
        sync_folder(target.parent)


def _publish_sealed(source: Path, target: Path, seal: Seal, sync: bool) -> None:
    sealing = target.with_name(f".{target.name}{SEALING}")
    try:
        with sealing.open("wb") as sealed:
            seal(source, sealed)
            sealed.flush()
            if sync:
                os.fsync(sealed.fileno())
        sealing.rename(target)
    except BaseException:
        sealing.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(target.parent)  # before the hidden file goes
    source.unlink()
