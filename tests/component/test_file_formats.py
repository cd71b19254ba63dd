"""Formats of files go both ways: one object says what a `FileSink` writes and what a `FileSpout` reads."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from squall import Bolt, Topology, Tuple
from squall.connectors.files import Csv, FileSink, FileSpout, JsonLines, Parquet, Text
from squall.errors import TopologyError
from squall.testing import LocalCluster


class Click(NamedTuple):
    user: str
    n: int


@dataclass
class Visit:
    user: str


class Take(Bolt):
    def process(self, tup: Tuple) -> None: ...


def write(sink: FileSink, fields: tuple[str, ...], rows: list[Any]) -> list[str]:
    """Writes rows; what the dead letters say."""
    topology = Topology("writing")
    topology.bolt("sink", sink).shuffle(topology.spout("rows", lambda: iter(()), outputs=fields))
    with LocalCluster(topology, mock_sources={"rows": rows}) as cluster:
        cluster.run_until_idle()
        return [letter.error for letter in cluster.dead_letters()]


def read(spout: FileSpout) -> list[Any]:
    """The rows of files that have no bad ones."""
    topology = Topology("reading")
    topology.bolt("take", Take).shuffle(topology.spout("files", spout))
    with LocalCluster(topology) as cluster:
        cluster.finish()
        assert cluster.dead_letters() == []
        return cluster.emitted("files")


HARD = ['a "quoted", one', "two\nlines", "it's; \\", "", " ", "grün"]
ROUND_TRIPS: dict[str, tuple[Any, tuple[str, ...], list[Any]]] = {
    "text": (Text(), ("line",), [(text,) for text in ("a\tb", "", "grün")]),
    "text in another encoding": (Text(field="name", encoding="latin-1"), ("name",), [("grün",), ("ÿ",)]),
    "text of any bytes": (Text(errors="surrogateescape"), ("line",), [("\udcff x",)]),
    "csv": (Csv(), ("a", "b"), [(text, "x") for text in HARD]),
    "csv of one column": (Csv(), ("a",), [(text,) for text in HARD]),
    "csv with types": (Csv(types={"n": int}), ("text", "n"), [("a", 1), ("b", -2)]),
    "csv with its own names": (Csv(header=["Text", "Number"]), ("Text", "Number"), [("a", "1")]),
    "csv without a header": (Csv(header=False, fields=["a", "b"]), ("a", "b"), [(text, text) for text in HARD]),
    "csv, all quoted": (Csv(quote="'", quote_all=True, encoding="cp1252"), ("a", "b"), [(text, "") for text in HARD]),
    "csv that escapes": (Csv(delimiter="\t", quote=None, escape="\\"), ("a", "b"), [(text, "x") for text in HARD]),
    "csv of some fields": (Csv(fields=["b", "a"]), ("b", "a"), [("1", "2")]),
    "json of named keys": (JsonLines(fields=["user", "n"]), ("user", "n"), [("a", 1), (None, [2])]),
    "json of types": (JsonLines(fields={"user": str, "n": float}), ("user", "n"), [("a\n", 1.5)]),
    "json of a named tuple": (JsonLines(Click), ("user", "n"), [("a", 1)]),
    "json of a dataclass": (JsonLines(Visit), ("value",), [(Visit("a"),)]),
    "json of one value": (JsonLines(field="order"), ("order",), [({"n": 1},), ([],), (None,), ("x",)]),
    "parquet": (Parquet(), ("text", "n"), [("a", 1), (None, 2)]),
    "parquet with types": (Parquet(fields={"n": "int32", "x": float}), ("n", "x"), [(1, 0.5), (None, 1.0)]),
    "parquet of some columns": (Parquet(fields=["n"]), ("n",), [(1,), (2,)]),
}


@pytest.mark.parametrize("case", ROUND_TRIPS)
def test_what_a_format_wrote_it_reads_as_the_same_rows(case: str, tmp_path: Path) -> None:
    format, fields, rows = ROUND_TRIPS[case]
    assert write(FileSink(tmp_path / "out.x", format=format), fields, rows) == []
    spout = FileSpout(tmp_path / "out*.x", format=format)
    assert spout.outputs == fields
    assert read(spout) == rows


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zst", ".csv.zstd"])
def test_a_suffix_compresses_what_is_written_and_decompresses_what_is_read(suffix: str, tmp_path: Path) -> None:
    assert write(FileSink(tmp_path / f"out{suffix}", format=Csv()), ("a", "b"), [("1", "2")] * 500) == []
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 200
    assert path.name.startswith("out-")
    assert path.name.endswith(suffix)
    assert read(FileSpout(tmp_path / f"*{suffix}", format=Csv())) == [("1", "2")] * 500
    assert write(FileSink(tmp_path / "plain.gz", compression=None), ("a",), [("x",)]) == []
    assert (tmp_path / "plain.gz").read_text() == "x\n"


CSV_TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\ufeff") | st.sampled_from("\",\n\r;\\'|"), max_size=6
)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(CSV_TEXTS, CSV_TEXTS), max_size=8),
    format=st.sampled_from(
        [
            Csv(),
            Csv(header=False, fields=["a", "b"]),
            Csv(quote="'", escape="\\", delimiter=";"),
            Csv(quote=None, escape="|"),
            Csv(quote_all=True),
        ]
    ),
)
@example(rows=[("\\'", "\r\n")], format=Csv(quote="'", escape="\\", delimiter=";"))
def test_any_text_comes_back_from_csv(rows: list[tuple[str, str]], format: Csv) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.csv"
        assert write(FileSink(path, format=format), ("a", "b"), rows) == []
        assert not rows or read(FileSpout(path, format=format)) == rows


def test_fields_say_which_are_written_and_a_row_that_lacks_one_is_dead_alone(tmp_path: Path) -> None:
    for name, format in (
        ("csv", Csv(header=["N", "B"], fields=["n", "b"])),
        ("json", JsonLines(fields=["n", "b"])),
        ("parquet", Parquet(fields=["n", "b"])),
    ):
        assert write(FileSink(tmp_path / name, format=format), ("a", "b", "n"), [(1, 2, 3)]) == []
        (error,) = write(FileSink(tmp_path / f"{name}-2", format=format), ("a", "n"), [(1, 3)])
        assert "it has no field b; it has a, n" in error
    assert (tmp_path / "csv").read_text() == "N,B\n3,2\n"
    assert (tmp_path / "json").read_text() == '{"n":3,"b":2}\n'
    (path,) = tmp_path.glob("parquet-[0-9]*T*")
    assert read(FileSpout(path, format=Parquet())) == [(3, 2)]


def test_text_that_its_encoding_cannot_have_is_dead_alone_or_as_errors_says(tmp_path: Path) -> None:
    rows = [("a",), ("\u20ac",), ("b",)]
    for format in (Text(encoding="latin-1"), Csv(header=False, encoding="latin-1")):
        path = tmp_path / type(format).__name__
        (error,) = write(FileSink(path, format=format), ("line",), rows)
        assert "UnicodeEncodeError" in error
        assert path.read_text() == "a\nb\n"
    assert write(FileSink(tmp_path / "x", format=Text(encoding="latin-1", errors="replace")), ("line",), rows) == []
    assert (tmp_path / "x").read_text() == "a\n?\nb\n"


def test_what_has_no_quotes_and_needs_them_is_dead_alone(tmp_path: Path) -> None:
    rows = [("a",), ("b,c",), ("d\ne",)]
    errors = write(FileSink(tmp_path / "x", format=Csv(header=False, quote=None)), ("line",), rows)
    assert len(errors) == 2
    assert (tmp_path / "x").read_text() == "a\n"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Csv(delimiter=";;"), "delimiter, quote and escape are one character"),
        (lambda: Csv(delimiter="'", quote="'"), "different characters"),
        (lambda: Csv(quote="\n"), "one character"),
        (lambda: Csv(header="name"), "`header` is True, False, or names"),
        (lambda: Csv(quote=None, quote_all=True), "`quote` says what"),
        (lambda: Csv(types={"n": 1}), "`types` is name → function"),  # pyright: ignore[reportArgumentType]
        (lambda: Csv(fields=["a"], types={"b": int}), "`types` names b"),
        (lambda: FileSpout("x", format=Csv(header=False)), "name the columns"),
        (lambda: FileSpout("x", format=Csv(header=["a"], fields=["b"])), "name in `header` what is in `fields`: b"),
        (lambda: FileSink("x", format=Csv(header=["a"], fields=["b", "c"])), "as many columns as are in `fields`"),
        (lambda: FileSink("x", format=Csv(quote="þ")), "that are ASCII"),
        (lambda: FileSink("x", format=Csv(encoding="iso2022_jp")), "keeps ASCII apart"),
        (lambda: JsonLines(Click, fields=["user"]), "`type` or `fields`"),
        (lambda: JsonLines(fields=["user"], field="x"), "leave out `field`"),
        (lambda: FileSpout("x", format=JsonLines(type=object())), "types that msgspec knows"),
        (lambda: FileSink("x", format=Parquet(batches=True)), "leave out `batches`"),
        (lambda: FileSink("x", format=Parquet(fields={"n": "int33"})), "give types such as"),
        (lambda: Parquet(compression="lzma"), "one of zstd"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_format_that_means_nothing_or_only_the_other_way_is_refused(make: Any, says: str) -> None:
    with pytest.raises(TopologyError, match="code: file_format") as refused:
        make()
    assert says in str(refused.value)
