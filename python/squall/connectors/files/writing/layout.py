"""Which file a row goes into, and when that file is full: pure decisions."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, TypeAlias

from squall.connectors.files.compression import SUFFIXES
from squall.connectors.files.writing.options import refused, size_bytes
from squall.model.durations import Seconds, seconds


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is closed and published; whichever comes first. Also at the end of a run.

    Args:
        size: bytes before compression, or a size such as `"64MB"`.
        rows: number of rows.
        every: age of its first row.
        idle: time without a row.
    """

    size: int | str = "128MB"
    rows: int | None = None
    every: Seconds = 60.0
    idle: Seconds = 10.0

    def __post_init__(self) -> None:
        size_bytes(self.size, "Rotation has size=")
        for name, value in (("every", self.every), ("idle", self.idle)):
            if isinstance(value, bool) or not seconds(value) > 0:
                raise refused(f"Rotation has {name}={value!r}", "give seconds, or a timedelta, above 0")
        if self.rows is not None and (isinstance(self.rows, bool) or self.rows < 1):
            raise refused(f"Rotation has rows={self.rows!r}", "give a whole number from 1")

    @property
    def look_every_s(self) -> float:
        """How often files are to be looked at for their age."""
        return min(1.0, seconds(self.every) / 2, seconds(self.idle) / 2)

    def limits(self) -> Limits:
        """The limits in plain numbers."""
        most = math.inf if self.rows is None else self.rows
        return Limits(size_bytes(self.size, ""), most, seconds(self.every), seconds(self.idle))


@dataclass(frozen=True, slots=True)
class Limits:
    """When a file is full."""

    size_bytes: int
    rows: float
    every_s: float
    idle_s: float

    def is_full(self, size: int, rows: int) -> bool:
        """Whether a file takes no more rows."""
        return size >= self.size_bytes or rows >= self.rows

    def is_old(self, began_s: float, touched_s: float, now_s: float) -> bool:
        """Whether a file is to be published for its age."""
        return now_s - began_s >= self.every_s or now_s - touched_s >= self.idle_s


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a path: literal text, or a field with a format."""

    text: str = ""
    field: str | None = None
    spec: str = ""
    conversion: str | None = None

    def of(self, values: Mapping[str, Any]) -> str:
        """What it stands for in a row."""
        if self.field is None:
            return self.text
        if self.field not in values:
            raise KeyError(f'the path has the field "{self.field}", which the row has not')
        value = values[self.field]
        convert = {"s": str, "r": repr, "a": ascii}.get(self.conversion or "")
        return escaped(format(convert(value) if convert else value, self.spec))


Segment: TypeAlias = tuple[Piece, ...]

UNSAFE = re.compile(r"[\x00-\x1f\x7f/%\\]")


def escaped(value: str) -> str:
    """A value as part of a file's name: what could leave the folder is written as %XX."""
    return UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", value)


def _named(segment: Segment, values: Mapping[str, Any]) -> str:
    name = "".join(piece.of(values) for piece in segment)
    is_literal = all(piece.field is None for piece in segment)
    if not is_literal and (name in (".", "..") or (name.startswith(".") and segment[0].field is not None)):
        name = name.replace(".", "%2E")  # neither a folder above nor a hidden file
    os.fsencode(name)  # what has no bytes fails here, alone
    return name or "_"


class Layout:
    """The paths of a sink's files: `out/{country}/{day:%Y-%m-%d}/part.csv`."""

    def __init__(self, path: str, added_suffix: str = "") -> None:
        self.shown = path
        pieces = _parsed(path)
        root, self.segments = _split(pieces)
        self.root = Path(root)
        self.fields = tuple(dict.fromkeys(piece.field for piece in pieces if piece.field is not None))
        self.is_partitioned = bool(self.fields)
        self._stem, suffix = _suffix_apart(self.segments[-1])
        self._suffix = suffix + added_suffix

    def place(self, values: Mapping[str, Any]) -> Path:
        """The path of a row's file without what tells files of one place apart."""
        folders = [_named(segment, values) for segment in self.segments[:-1]]
        return self.root.joinpath(*folders, _named(self._stem, values) + self._suffix)

    def numbered(self, place: Path, addition: str) -> Path:
        """The place's path with an addition before the suffix."""
        stem = place.name[: len(place.name) - len(self._suffix)] if self._suffix else place.name
        return place.with_name(f"{stem}{addition}{self._suffix}")

    def patterns(self, addition: str) -> list[re.Pattern[str]]:
        """What folders and files of the sink are called, from the root on, whatever their suffix.

        Args:
            addition: as in `numbered`, a pattern.
        """
        folders = [_pattern(segment) for segment in self.segments[:-1]]
        return [*folders, re.compile(f"{_pattern(self._stem).pattern}{addition}(\\..+)?")]


def _suffix_apart(name: Segment) -> tuple[Segment, str]:
    """A file's name without its suffix, and that; of a compressed file both suffixes: `.csv.gz`."""
    stem, dot, suffix = name[-1].text.rpartition(".") if name[-1].field is None else ("", "", "")
    if not dot or not (stem or len(name) > 1):
        return name, ""
    apart = (*name[:-1], Piece(stem))
    if f".{suffix}" not in SUFFIXES:
        return apart, f".{suffix}"
    stem_of_all, inner = _suffix_apart(apart)
    return stem_of_all, f"{inner}.{suffix}"


def _pattern(segment: Segment) -> re.Pattern[str]:
    return re.compile("".join(".+" if piece.field is not None else re.escape(piece.text) for piece in segment))


def _parsed(path: str) -> list[Piece]:
    try:
        parts = list(Formatter().parse(path))
    except ValueError as error:
        raise refused(f"FileSink has path={path!r}: {error}", "write {field}, and {{ for a brace") from error
    pieces: list[Piece] = []
    for text, field, spec, conversion in parts:
        if text:
            pieces.append(Piece(text))
        if field is None:
            continue
        if not field.isidentifier() or "{" in (spec or ""):
            fix = "name a field of the rows, with a format if wanted: {country}, {day:%Y-%m-%d}"
            raise refused(f"FileSink has {field!r} in path={path!r}", fix)
        pieces.append(Piece(field=field, spec=spec or "", conversion=conversion))
    return pieces


def _split(pieces: list[Piece]) -> tuple[str, list[Segment]]:
    """The folder above the first field, and the names below it; slashes in formats are not looked at."""
    segments: list[list[Piece]] = [[]]
    for piece in pieces:
        if piece.field is not None:
            segments[-1].append(piece)
            continue
        first, *others = piece.text.split("/")
        segments[-1].append(Piece(first))
        segments.extend([Piece(text)] for text in others)
    kept = [tuple(piece for piece in segment if piece.field is not None or piece.text) for segment in segments]
    if not kept[-1]:
        raise refused("FileSink has a path that ends with a slash", "add the file's name: out/part.csv")
    literal = 0
    while literal < len(kept) - 1 and all(piece.field is None for piece in kept[literal]):
        literal += 1
    root = "/".join("".join(piece.text for piece in segment) for segment in kept[:literal])
    is_absolute = literal > 0 and not kept[0]
    return root or ("/" if is_absolute else "."), [segment for segment in kept[literal:] if segment]
