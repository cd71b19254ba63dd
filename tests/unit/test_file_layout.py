"""Where a `FileSink` puts rows, and when a file is full."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from squall.connectors.files import FileSink, Parquet, Rotation
from squall.connectors.files.compression import suffix_for
from squall.connectors.files.writing.layout import Layout
from squall.errors import TopologyError


def test_a_path_without_fields_is_one_file() -> None:
    layout = Layout("some/folder/out.txt")
    assert (layout.root, layout.is_partitioned) == (Path("some/folder"), False)
    assert layout.place({}) == Path("some/folder/out.txt")
    assert layout.numbered(layout.place({}), "-1") == Path("some/folder/out-1.txt")
    assert [str(Layout(path).place({})) for path in ("/out", "out.txt", ".hidden")] == ["/out", "out.txt", ".hidden"]


def test_fields_part_rows_into_folders_and_names() -> None:
    layout = Layout("out/{country}/{day:%Y-%m-%d}/part.csv")
    assert layout.root == Path("out")
    values = {"country": "de", "day": datetime(2026, 2, 3, 4), "other": 1}
    assert layout.place(values) == Path("out/de/2026-02-03/part.csv")
    assert Layout("{n:03d}-x.csv").place({"n": 7}) == Path("007-x.csv")
    assert Layout("a{{b}}/{n!r}.csv").place({"n": "q"}) == Path("a{b}/'q'.csv")


def test_a_slash_in_a_format_makes_no_folder() -> None:
    assert Layout("out/{day:%Y/%m}.csv").place({"day": datetime(2026, 2, 3)}) == Path("out/2026%2F02.csv")


@given(st.text(), st.text())
def test_no_value_leaves_its_folder_or_hides_its_file(one: str, two: str) -> None:
    layout = Layout("out/{one}{two}/{two}/{one}.csv")
    try:
        place = layout.place({"one": one, "two": two})
    except UnicodeEncodeError:
        return  # a row whose path has no bytes goes to the dead letters
    parts = str(place).split("/")
    assert len(parts) == 4
    assert parts[0] == "out"
    assert not any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in parts)


@given(st.lists(st.text(alphabet="/%.ab\n", min_size=1), min_size=2, max_size=2, unique=True))
def test_different_values_are_different_places(values: list[str]) -> None:
    layout = Layout("out/{v}/part.csv")
    first, second = (layout.place({"v": value}) for value in values)
    assert first != second


def test_a_name_of_literal_dots_and_a_value_is_no_folder_above() -> None:
    assert Layout("out/.{v}/x.csv").place({"v": "."}) == Path("out/%2E%2E/x.csv")
    assert Layout("../{v}/x.csv").place({"v": "a"}) == Path("../a/x.csv")


def test_compression_is_seen_in_the_name_once() -> None:
    assert Layout("out.csv", suffix_for("out.csv", "gzip")).place({}) == Path("out.csv.gz")
    assert [suffix_for(name, "zstd") for name in ("out.zst", "out.zstd", "out.gz")] == ["", "", ".zst"]
    assert suffix_for("out.gz", None) == ""
    names = ("out.csv.gz", "out.gz", ".csv.gz", "{n}.csv.gz", "a.b.csv")
    numbered = [layout.numbered(layout.place({"n": 7}), "-1").name for layout in map(Layout, names)]
    assert numbered == ["out-1.csv.gz", "out-1.gz", ".csv-1.gz", "7-1.csv.gz", "a.b-1.csv"]


def test_the_patterns_find_what_the_layout_makes() -> None:
    layout = Layout("out/{country}/{day}.csv")
    folder, name = layout.patterns(r"-\d+")
    made = layout.numbered(layout.place({"country": "d.e", "day": "x-y"}), "-12")
    compressed = Layout("out/{country}/{day}.csv", ".gz")
    assert folder.fullmatch(made.parent.name)
    assert name.fullmatch(made.name)
    assert name.fullmatch(compressed.numbered(compressed.place({"country": "d", "day": "x"}), "-12").name)
    assert name.fullmatch("x-12"), "other suffixes, and none"
    assert not name.fullmatch("x-y.csv")


def test_a_file_is_full_by_size_rows_age_or_rest() -> None:
    limits = Rotation(size="1KB", rows=10, every=60, idle=5).limits()
    assert [limits.is_full(999, 9), limits.is_full(1000, 1), limits.is_full(1, 10)] == [False, True, True]
    assert not limits.is_old(began_s=100, touched_s=155, now_s=159.9)
    assert limits.is_old(began_s=100, touched_s=159, now_s=160)
    assert limits.is_old(began_s=100, touched_s=101, now_s=106)
    assert [Rotation(size=size).limits().size_bytes for size in (5, "5", "2kb", "2KiB", "3 MB")] == [
        5,
        5,
        2000,
        2048,
        3_000_000,
    ]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FileSink("out/"), "ends with a slash"),
        (lambda: FileSink("out/{a.b}"), "'a.b'"),
        (lambda: FileSink("out/{"), "path="),
        (lambda: FileSink("out", compression="lzma"), "compression='lzma'"),  # pyright: ignore[reportArgumentType]
        (lambda: FileSink("out", format=Parquet(), compression="gzip"), "Parquet"),
        (lambda: FileSink("out", max_open_files=0), "max_open_files=0"),
        (lambda: Rotation(size="5 parsecs"), "size= '5 parsecs'"),
        (lambda: Rotation(every=0), "every=0"),
        (lambda: Rotation(rows=0), "rows=0"),
    ],
)
def test_options_of_no_use_are_refused_when_the_topology_is_built(make: Any, says: str) -> None:
    with pytest.raises(TopologyError, match="file_option") as refused:
        make()
    assert says in str(refused.value)


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squall.connectors.extras.find_spec", lambda _name: None)
    with pytest.raises(TopologyError, match=r'pip install "squall\[parquet\]"'):
        FileSink("out", format=Parquet())
    with pytest.raises(TopologyError, match=r'pip install "squall\[zstd\]"'):
        FileSink("out", compression="zstd")
