"""What is left of a file whose writer died: whatever was cut off, no row is torn and no whole row is missing."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squall.connectors.files import Csv, JsonLines, Parquet, Text
from squall.connectors.files.writing.recovery import recover
from squall.connectors.files.writing.staged import ARROW, LINES, CsvLog, Log, Staged
from squall.connectors.files.writing.staging import Appended, hidden, open_hidden, open_visible, shown

FIELDS = ("text", "n")
TEXTS = st.text(alphabet="a\",\n\r;\\'", max_size=6)
ROWS = st.lists(st.tuples(TEXTS, st.integers(0, 9)), min_size=1, max_size=8)
FORMATS = {
    "csv": Csv(),
    "csv without header": Csv(header=False, quote_all=True),
    "csv with other marks": Csv(header=False, delimiter=";", quote="'"),
    "csv that escapes": Csv(header=False, quote=None, escape="\\"),
    "json": JsonLines(),
    "parquet": Parquet(),
}
TEXT, GZIP = Staged(LINES), Staged(LINES, "gzip")


def of(format: Any) -> Staged:
    return Staged(format.log, format.seal)


@contextmanager
def left(format: Any, batches: list[list[Any]], cut_bytes: int) -> Iterator[tuple[Path, list[int]]]:
    """A hidden file that nobody holds, without its last bytes, and how many rows stood before each of its sizes."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out"
        fd = open_hidden(target, of(format), sync=False)
        assert fd is not None
        file = Appended(fd, format.encoder(is_begun=False), 0.0, target)
        ends: list[int] = []
        for batch in batches:
            data, failures = file.encoder.encode(FIELDS, batch)
            assert not failures
            file.add(data, len(batch), 0.0)
            file.encoder.written()
            ends.append(file.size)
        size = max(0, file.size - cut_bytes)
        with hidden(target, of(format)).open("r+b") as torn:
            torn.truncate(size)
        file.close()
        yield target, [sum(map(len, batches[: number + 1])) for number, end in enumerate(ends) if end <= size]


def read(path: Path, name: str) -> list[Any]:
    if name == "parquet":
        return [(row["text"], row["n"]) for row in pq.read_table(path).to_pylist()]
    with path.open(newline="") as text:
        if name == "json":
            return [(row["text"], row["n"]) for row in map(json.loads, text)]
    return [(one, int(n)) for one, n in records(path, FORMATS[name])[name == "csv" :]]


def records(path: Path, format: Any) -> list[list[str]]:
    quoting = csv.QUOTE_NONE if format.quote is None else csv.QUOTE_MINIMAL
    marks = {"delimiter": format.delimiter, "quotechar": format.quote, "escapechar": format.escape}
    with path.open(newline="") as text:
        return list(csv.reader(text, quoting=quoting, **marks))


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(max_examples=60, deadline=None)
@given(batches=st.lists(ROWS, min_size=1, max_size=3), cut_bytes=st.integers(0, 120))
def test_what_is_published_is_a_beginning_of_the_rows_with_all_whole_batches(
    name: str, batches: list[list[Any]], cut_bytes: int
) -> None:
    format = FORMATS[name]
    with left(format, batches, cut_bytes) as (target, whole):
        is_published = recover(target, of(format), sync=False)
        rows = read(target, name) if is_published else []
        assert is_published == target.exists() == bool(rows)
        assert rows == [row for batch in batches for row in batch][: len(rows)]
        assert len(rows) >= max(whole, default=0)
        assert list(target.parent.iterdir()) == [target] * is_published


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(ROWS, min_size=1, max_size=2), cut_bytes=st.integers(0, 40), more=ROWS)
@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith("csv")])
def test_rows_that_are_appended_after_a_torn_one_stand_alone(
    name: str, batches: list[list[Any]], cut_bytes: int, more: list[Any]
) -> None:
    """A file that is visible keeps what is torn, since it may be another's; what is added later is not spoilt by it."""
    format = FORMATS[name]
    with left(format, batches, cut_bytes) as (target, _):
        hidden(target, of(format)).rename(target)
        fd = open_visible(target, format.log.ending, sync=False)
        file = Appended(fd, format.encoder(is_begun=target.stat().st_size > 0), 0.0, None)
        file.add(file.encoder.encode(FIELDS, more)[0], len(more), 0.0)
        file.close()
        rows = records(target, format)
    assert rows[-len(more) :] == [[one, str(n)] for one, n in more]


def test_a_writer_that_lives_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "out"
    fd = open_hidden(target, TEXT, sync=True)
    assert fd is not None
    file = Appended(fd, Text().encoder(is_begun=False), 0.0, target)
    file.add(b"one\n", 1, 0.0)
    assert not recover(target, TEXT, sync=True)
    assert hidden(target, TEXT).read_bytes() == b"one\n"
    file.close()
    assert recover(target, TEXT, sync=True)
    assert target.read_bytes() == b"one\n"


def test_a_file_that_was_published_already_is_not_published_again(tmp_path: Path) -> None:
    """A writer that died between the rename of the compressed file and the end of the hidden one."""
    target = tmp_path / "out.gz"
    hidden(target, GZIP).write_bytes(b"one\n")
    target.write_bytes(gzip.compress(b"one\n"))
    assert not recover(target, GZIP, sync=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.gz"]


def test_a_half_made_compressed_file_is_made_anew(tmp_path: Path) -> None:
    target = tmp_path / "out.gz"
    hidden(target, GZIP).write_bytes(b"one\ntw")
    (tmp_path / ".out.gz.seal").write_bytes(b"half")
    assert recover(target, GZIP, sync=True)
    assert gzip.decompress(target.read_bytes()) == b"one\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.gz"]


MARKS = st.sampled_from([*map(chr, range(1, 128))])
LOGS: st.SearchStrategy[Log] = st.one_of(
    st.sampled_from([LINES, ARROW]),
    st.builds(CsvLog, quote=MARKS, escape=st.just(""), has_header=st.booleans()),
    st.builds(CsvLog, quote=st.just(""), escape=MARKS | st.just(""), has_header=st.booleans()),
)


@given(log=LOGS, seal=st.sampled_from(["", "gzip", "zstd", "snappy", "none"]))
def test_the_name_of_a_hidden_file_says_all_that_its_recovery_needs(log: Log, seal: str) -> None:
    """Whatever the sink that finds it is told to write."""
    staged = Staged(log, seal)
    path, tag = shown(hidden(Path("out/rows-1.csv"), staged))
    assert (path, Staged.of_tag(tag)) == (Path("out/rows-1.csv"), staged)
    assert "/" not in tag
    assert "." not in tag
