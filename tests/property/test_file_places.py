"""A place in a file gives the same outputs again, however the file is cut into reads (semantics 31)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squall.connectors.files import Csv, JsonLines, Text
from squall.connectors.files.reading import blocks as blocks_module
from squall.connectors.files.reading import csv_records
from squall.connectors.files.reading.chunks import START, Chunk, Place
from squall.connectors.files.reading.format import Opening, ReadFormat

OPENING = Opening(None, 200, follow=False)
PIECES = st.sampled_from(["a", "grün", ",", '"', "\n", "\r\n", "\n\n", '"x\ny"', "1", '""', "é" * 30, "z" * 150])
JSON = st.one_of(
    st.integers(), st.none(), st.text(max_size=5), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)


def chunks(format: ReadFormat, path: str, place: Place) -> Iterator[Chunk]:
    reader = format.reader(path, place._replace(skip=0), OPENING)
    if reader is None:
        return
    while (chunk := reader.read(to_the_end=True)) is not None:
        yield chunk
    reader.close()


def outputs(format: ReadFormat, path: str, place: Place = START) -> list[Any]:
    """Everything from a place on; bad records as what is said of them."""
    found = [
        str(chunk.bad[at].error) if at in chunk.bad else row
        for chunk in chunks(format, path, place)
        for at, row in enumerate(chunk.rows)
    ]
    return found[place.skip :]


def check(format: ReadFormat, text: str, block_bytes: int, again_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder, monkeypatch.context() as patch:
        path = str(Path(folder) / "x")
        Path(path).write_bytes(text.encode())
        patch.setattr(csv_records, "ROWS", 3)
        patch.setattr(blocks_module, "BLOCK_BYTES", block_bytes)
        seen = list(chunks(format, path, START))
        whole = outputs(format, path)
        assert sum(len(chunk.rows) for chunk in seen) == len(whole)
        patch.setattr(blocks_module, "BLOCK_BYTES", again_bytes)
        assert outputs(format, path) == whole
        given = 0
        for chunk in seen:
            for skip in range(len(chunk.rows) + 1):
                assert outputs(format, path, chunk.before._replace(skip=skip)) == whole[given + skip :]
            given += len(chunk.rows)
            assert outputs(format, path, chunk.after) == whole[given:]


SIZES = st.integers(1, 400)
PATCHES = settings(max_examples=50, deadline=None)


@PATCHES
@given(pieces=st.lists(PIECES, max_size=25), sizes=st.tuples(SIZES, SIZES))
def test_31_a_place_among_lines_gives_the_same_lines_again(pieces: list[str], sizes: tuple[int, int]) -> None:
    check(Text(), "".join(pieces), *sizes, pytest.MonkeyPatch())


@PATCHES
@given(pieces=st.lists(PIECES, max_size=25), sizes=st.tuples(SIZES, SIZES))
def test_31_a_place_among_csv_records_gives_the_same_records_again(pieces: list[str], sizes: tuple[int, int]) -> None:
    check(Csv(header=False, fields=["a", "b"]), "".join(pieces), *sizes, pytest.MonkeyPatch())


@PATCHES
@given(records=st.lists(JSON, max_size=12), pieces=st.lists(PIECES, max_size=5), sizes=st.tuples(SIZES, SIZES))
def test_31_a_place_among_json_lines_gives_the_same_records_again(
    records: list[Any], pieces: list[str], sizes: tuple[int, int]
) -> None:
    lines = [*map(json.dumps, records), *pieces]
    check(JsonLines(), "\n".join(lines), *sizes, pytest.MonkeyPatch())


def grown(format: ReadFormat, path: str, data: bytes, cuts: list[int]) -> list[Any]:
    """What a reader gives that comes again after each addition to the file."""
    Path(path).write_bytes(b"")
    reader = format.reader(path, START, OPENING)
    assert reader is not None
    found: list[Any] = []
    for begin, end in pairwise([0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]):
        with Path(path).open("ab") as file:
            file.write(data[begin:end])
        for to_the_end in [False, True] if end == len(data) else [False]:
            while (chunk := reader.read(to_the_end=to_the_end)) is not None:
                found += [str(chunk.bad[at].error) if at in chunk.bad else row for at, row in enumerate(chunk.rows)]
    reader.close()
    return found


@PATCHES
@given(
    format=st.sampled_from([Text(), JsonLines(), Csv(header=False, fields=["a", "b"])]),
    pieces=st.lists(PIECES, max_size=25),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
    size=SIZES,
)
def test_a_file_that_grows_gives_what_it_gives_when_it_is_whole(
    format: ReadFormat, pieces: list[str], cuts: list[int], size: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch().context() as patch:
        path = str(Path(folder) / "x")
        data = "".join(pieces).encode()
        patch.setattr(csv_records, "ROWS", 3)
        patch.setattr(blocks_module, "BLOCK_BYTES", size)
        found = grown(format, path, data, cuts)
        assert found == outputs(format, path)
