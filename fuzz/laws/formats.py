"""What holds of files of any bytes: their records are those that are found one after the other, good or bad.

They are the same from wherever a file is read on, and in whatever blocks it is read. A bad record takes no other with
it. What was read and is written is read again. That a compressed file is cut off is told.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import msgspec
from laws.refusal import check_refusal
from laws.script import Script, folder
from squall.connectors.files.formats.csv import Csv
from squall.connectors.files.formats.json_lines import JsonLines
from squall.connectors.files.formats.text import Text
from squall.connectors.files.reading import blocks
from squall.connectors.files.reading.chunks import START, Place
from squall.connectors.files.reading.format import Opening
from squall.errors import TopologyError

FILE = folder() / "records"
PACKED = FILE.with_suffix(".gz")
BAD = object()
Read: TypeAlias = tuple[list[Any], list[tuple[Place, int]]]
FORMATS = (
    *(Text(), Text(encoding="latin-1"), Text(errors="replace")),
    *(JsonLines(field="value"), JsonLines(fields=("a", "b")), JsonLines(fields={"a": int})),
    *(Csv(header=False, fields=("a", "b")), Csv(header=False, fields=("a", "b"), escape="\\", quote=None)),
    Csv(fields=("a",)),
)
WORDS = (
    *(b"\n", b"\r\n", b"\r", b'"', b'""', b",", b"\\", b"a", b"b", b"{", b'{"a":1}', b'{"a":1,"b":[]}', b"\xff"),
    *(b"\xc3\xa9", b"\0", b" ", b"1", b"\xef\xbb\xbf", b"a,b\n", b'"x\ny",', b"null", b"\xe2\x80\xa8", b"\x85"),
    *(b"\x0c", b"9" * 30),
)


def check(data: bytes) -> None:
    """The bytes are a file's, or choose its words."""
    script = Script(data)
    format_, max_record = script.one_of(FORMATS), 1 + script.below(200)
    block_bytes, cut = 1 + script.below(40), script.below(1 << 16)
    content = script.rest() if script.byte() % 2 else b"".join(script.one_of(WORDS) for _ in range(min(80, len(data))))
    FILE.write_bytes(content)
    opening = Opening(None, max_record, follow=False)
    at_once, places = _read(format_, opening, START)
    in_blocks, more_places = _read(format_, opening, START, block_bytes)
    assert in_blocks == at_once, "blocks make no difference"
    for place, before in (places + more_places)[:12]:
        from_there, _ = _read(format_, opening, place, block_bytes)
        assert from_there == at_once[before:], (place, "it goes on where it was left")
    _check_outputs(opening)
    _check_found(format_, content, max_record, at_once)
    _check_again(format_, [one for one in at_once if one is not BAD])
    _check_packed(format_, content, cut, max_record, at_once)


def _read(format_: Any, opening: Opening, place: Place, block_bytes: int = 256 << 10, path: Path = FILE) -> Read:
    """All records from a place on, and the places on the way with how many came before."""
    with patch.object(blocks, "BLOCK_BYTES", block_bytes):
        return _read_all(format_, opening, place, path)


def _read_all(format_: Any, opening: Opening, place: Place, path: Path) -> Read:
    records: list[Any] = []
    places: list[tuple[Place, int]] = []
    try:
        reader = format_.reader(str(path), place, opening)
    except (ValueError, csv.Error) as error:  # the header is none, or has other columns
        return [str(error)] if place == START else [], []
    if reader is None:
        return [], []
    try:
        while (chunk := reader.read(to_the_end=True)) is not None:
            places.append((chunk.before, len(records)))
            records += [BAD if at in chunk.bad else row for at, row in enumerate(chunk.rows)]
            places.append((chunk.after, len(records)))
            assert all(str(bad.error) for bad in chunk.bad.values())
    finally:
        reader.close()
    return records, places


def _check_outputs(opening: Opening) -> None:
    """The fields that a file's header names, or a refusal."""
    try:
        assert all(isinstance(name, str) for name in Csv().outputs(lambda: str(FILE), opening))
    except TopologyError as error:
        check_refusal(error)


def _check_found(format_: Any, content: bytes, max_record: int, found: list[Any]) -> None:
    *ended, rest = content.split(b"\n")
    lines = [*ended, rest] if rest else ended
    are_long = [len(line) > max_record for line in lines]
    if isinstance(format_, Csv):
        return _check_csv(format_, content, any(are_long), found)
    records: list[Any] = []
    for at, (line, is_long) in enumerate(zip(lines, are_long, strict=True)):
        line = line.removeprefix(blocks.BOM) if at == 0 else line
        if not line and at == len(ended):
            continue  # nothing but a byte order mark
        records.append(BAD if is_long else _naive(format_, line.removesuffix(b"\r") if at < len(ended) else line))
    assert found == [one for one in records if one is not None]


def _naive(format_: Any, line: bytes) -> Any:
    """What a line is; None: it is left out."""
    try:
        if isinstance(format_, Text):
            return line.decode(format_.encoding, format_.errors)
        if not line.strip():
            return None
        document = msgspec.json.decode(line)
        if format_.fields is None:
            return (document,)
        if not isinstance(document, dict) or ("a" not in document and isinstance(format_.fields, dict)):
            return BAD
        row = tuple(document.get(name) for name in format_.fields)
        return BAD if isinstance(format_.fields, dict) and type(row[0]) is not int else row
    except (ValueError, RecursionError):
        return BAD


def _check_csv(format_: Csv, content: bytes, is_any_long: bool, found: list[Any]) -> None:
    """A file without a bad record is what Python's reader finds in the whole."""
    if is_any_long or BAD in found or format_.header:
        return
    text = content.removeprefix(blocks.BOM).decode("utf-8")
    records = [record for record in csv.reader(io.StringIO(text, newline="\n"), **format_._dialect) if record]
    assert found == [tuple(record) for record in records]


def _check_again(format_: Any, rows: list[Any]) -> None:
    """What is written of rows that were read is read as the same rows."""
    if isinstance(format_, Text):
        rows = [row for row in rows if not row.endswith("\r")]  # it would be the end of a line
        tuples, fields = [(row,) for row in rows], ("line",)
    else:
        if any(isinstance(row, str) for row in rows):
            return
        tuples, fields = rows, format_.fields if format_.fields is not None else ("value",)
    if not tuples:
        return
    encoder = format_.encoder(False)
    written, refused = encoder.encode(tuple(fields), tuples)
    if written.startswith(blocks.BOM):
        return  # it marks the file then
    FILE.write_bytes(written)
    again, _ = _read(format_, Opening(None, 1 << 20, follow=False), START)
    kept = [row for at, row in enumerate(rows) if at not in refused]
    assert again == kept, (written, refused)


def _check_packed(format_: Any, content: bytes, cut: int, max_record: int, records: list[Any]) -> None:
    packed = gzip.compress(content, 1, mtime=0)
    cut = cut % (2 * len(packed))
    PACKED.write_bytes(packed[:cut])
    opening = Opening("gzip", max_record, follow=False)
    try:
        read, _ = _read(format_, opening, START, path=PACKED)
    except (EOFError, zlib.error, OSError) as error:
        assert str(error)
        assert 0 < cut < len(packed), "it is whole"
    else:
        is_without_rows = isinstance(format_, Csv) and any(isinstance(one, str) for one in read)  # by its header
        assert cut == 0 or cut >= len(packed) or is_without_rows, "it is cut off"
        assert read == (records if cut else []), "as if it were not compressed"
    os.truncate(PACKED, 0)
