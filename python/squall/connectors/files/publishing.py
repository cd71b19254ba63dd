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
from pathlib import Path
from typing import Any, Literal, TypeAlias

from squall.connectors.files.formats import Seal
from squall.connectors.files.staging import hidden, sync_folder

Compression: TypeAlias = Literal["gzip", "zstd"]
SUFFIXES = {"gzip": ".gz", "zstd": ".zst"}
SEALING = ".sealing"
GZIP_LEVEL, ZSTD_LEVEL = 6, 3
CHUNK = 1 << 20


def compressing(compression: Compression) -> Seal:
    """Makes the compressed file."""
    return _to_gzip if compression == "gzip" else _to_zstd


def _to_gzip(source: Path, sealed: Any) -> None:
    with source.open("rb") as raw, gzip.GzipFile("", "wb", GZIP_LEVEL, sealed, mtime=0) as packed:
        shutil.copyfileobj(raw, packed, CHUNK)


def _to_zstd(source: Path, sealed: Any) -> None:
    import zstandard

    with source.open("rb") as raw:
        zstandard.ZstdCompressor(level=ZSTD_LEVEL).copy_stream(raw, sealed, size=source.stat().st_size)


def publish(target: Path, seal: Seal | None, sync: bool) -> None:
    """Gives the hidden file of a target, which is on disk, its own name; may be called again after any failure."""
    source = hidden(target)
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
