"""`FileSink`: formats, rotation, partitions, refused rows; in simulated time on real files."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard
from squall import Topology
from squall.connectors.files import Csv, FileSink, JsonLines, Parquet, Rotation, Text
from squall.connectors.files.writing import publishing as publishing_module
from squall.connectors.files.writing.staging import shown
from squall.testing import LocalCluster

FIELDS = ("country", "n")


def cluster_of(sink: FileSink, rows: list[Any] | None = None, fields: Any = FIELDS, tasks: int = 1) -> LocalCluster:
    topology = Topology("sinking")
    source = topology.spout("rows", lambda: iter(()), outputs=fields)
    topology.bolt("sink", sink, parallelism=tasks).shuffle(source)
    return LocalCluster(topology, mock_sources={"rows": rows or []})


def write(sink: FileSink, rows: list[Any], fields: Any = FIELDS) -> list[str]:
    """Writes rows in one run; the errors of the dead letters."""
    with cluster_of(sink, rows, fields) as cluster:
        cluster.run_until_idle()
        assert len(cluster.acked("rows")) + len(cluster.dead_letters()) == len(rows)
        return [letter.error for letter in cluster.dead_letters()]


def files(folder: Path, hidden: bool = False) -> list[Path]:
    """The files below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return found if hidden else [path for path in found if not path.name.startswith(".")]


def only(folder: Path) -> Path:
    (path,) = files(folder, hidden=True)
    return path


@pytest.mark.parametrize("length", [207, 208, 210])
def test_a_name_that_has_room_for_its_rows_has_room_to_be_published(tmp_path: Path, length: int) -> None:
    """Else rows would be acked that nobody ever sees."""
    assert write(FileSink(tmp_path / f"{'x' * length}.txt", compression="gzip"), [("de", 1)]) == []
    assert gzip.decompress(only(tmp_path).read_bytes()) == b"de\t1\n"


# -- formats -----------------------------------------------------------------------------------------------------


def test_the_simple_sink_appends_lines_that_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.txt"
    for _ in range(2):
        with cluster_of(FileSink(path), [("de", 1), ("fr", None)]) as cluster:
            cluster.run_until_idle()
            assert path.read_text().endswith("de\t1\nfr\tNone\n")
    assert path.read_text() == 2 * "de\t1\nfr\tNone\n"


def test_the_separator_of_text(tmp_path: Path) -> None:
    write(FileSink(tmp_path / "out", format=Text(separator=" | ")), [("de", 1)])
    assert (tmp_path / "out").read_text() == "de | 1\n"


def test_csv_has_its_header_once_and_quotes_what_needs_it(tmp_path: Path) -> None:
    path, rows = tmp_path / "out.csv", [('a "quoted", one', 1), ("two\nlines", 2), ("", 3)]
    write(FileSink(path, format=Csv()), rows[:2])
    write(FileSink(path, format=Csv()), rows[2:])
    with path.open(newline="") as text:
        assert list(csv.reader(text)) == [["country", "n"], *([one, str(n)] for one, n in rows)]
    write(FileSink(tmp_path / "own", format=Csv(header=("c", "x"), delimiter=";", quote_all=True)), [("de", 1)])
    assert (tmp_path / "own").read_text() == '"c";"x"\n"de";"1"\n'
    write(FileSink(tmp_path / "none", format=Csv(header=False)), [("de", 1)])
    assert (tmp_path / "none").read_text() == "de,1\n"


def test_json_lines_are_objects_and_a_row_that_json_cannot_take_is_dead_alone(tmp_path: Path) -> None:
    rows = [("de", 1), ("x", object()), ("fr", [date(2026, 1, 2), Decimal("1.50"), "ü\n"])]
    (error,) = write(FileSink(tmp_path / "out", format=JsonLines()), rows)
    assert "the row cannot be written: TypeError" in error
    assert [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()] == [
        {"country": "de", "n": 1},
        {"country": "fr", "n": ["2026-01-02", "1.50", "ü\n"]},
    ]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_files_are_one_stream_with_their_suffix(tmp_path: Path, compression: Any) -> None:
    write(FileSink(tmp_path / "out.txt", compression=compression), [("de", n) for n in range(2000)])
    path = only(tmp_path)
    assert path.name.endswith(".txt.gz" if compression == "gzip" else ".txt.zst")
    packed = path.read_bytes()
    text = gzip.decompress(packed) if compression == "gzip" else zstandard.ZstdDecompressor().decompress(packed)
    assert text.decode() == "".join(f"de\t{n}\n" for n in range(2000))
    assert len(packed) < len(text) / 2


SCHEMA = {"at": datetime, "n": "int32", "price": Decimal, "name": str}


def test_parquet_has_the_columns_of_its_schema_and_refuses_rows_that_do_not_fit(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, 3, tzinfo=UTC)
    rows = [
        (1, "one", Decimal("1.5"), at, "left out"),
        ("two", "two", Decimal("1"), at, ""),
        (3_000_000_000, "three", Decimal("1"), at, ""),
        (4, None, None, None, ""),
    ]
    sink = FileSink(tmp_path / "out.parquet", format=Parquet(SCHEMA))
    errors = write(sink, rows, ("n", "name", "price", "at", "more"))
    assert len(errors) == 2
    table = pq.read_table(only(tmp_path))
    assert [str(one.type) for one in table.schema] == ["timestamp[us, tz=UTC]", "int32", "decimal128(38, 9)", "string"]
    assert [row["n"] for row in table.to_pylist()] == [1, 4]
    assert table.to_pylist()[0] == {"at": at, "n": 1, "price": Decimal("1.5"), "name": "one"}


def test_parquet_without_a_schema_takes_the_types_of_the_first_rows(tmp_path: Path) -> None:
    """Where rows disagree, those that do not fit are dead alone; many small batches are one row group."""
    rows = [("de", 1), ("x", "poison"), *(("fr", n / 2) for n in range(3000))]
    (error,) = write(FileSink(tmp_path / "out.parquet", format=Parquet()), rows)
    assert "poison" in error
    table = pq.read_table(only(tmp_path))
    assert table.num_rows == 3001
    assert str(table.schema.field("n").type) == "double"
    assert pq.read_metadata(only(tmp_path)).num_row_groups == 1


def test_a_parquet_column_that_gets_a_type_or_fractions_begins_a_new_file(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.parquet", format=Parquet())
    with cluster_of(sink) as cluster:
        for row in [("de", None), ("de", 1), ("fr", 2), ("fr", 2.5), ("it", 3), ("it", "poison")]:
            cluster.feed("rows", [row])
            cluster.run_until_idle()
        assert len(cluster.dead_letters()) == 1
    tables = [pq.read_table(path) for path in files(tmp_path, hidden=True)]
    found = {str(table.schema.field("n").type): table.column("n").to_pylist() for table in tables}
    assert found == {"null": [None], "int64": [1, 2], "double": [2.5, 3.0]}


def test_rows_of_other_fields_do_not_fit_into_a_file_with_columns(tmp_path: Path) -> None:
    for name, format in (("a", Csv()), ("b", Parquet())):
        topology = Topology("two")
        one = topology.spout("one", lambda: iter(()), outputs=("a", "b"))
        two = topology.spout("two", lambda: iter(()), outputs=("a", "c"))
        topology.bolt("sink", FileSink(tmp_path / name / "out", format=format)).shuffle(one).shuffle(two)
        with LocalCluster(topology, mock_sources={"one": [], "two": []}) as cluster:
            cluster.feed("one", [(1, 2)])
            cluster.run_until_idle()
            cluster.feed("two", [(1, 2)])
            cluster.run_until_idle()
            (letter,) = cluster.dead_letters()
            assert "columns" in letter.error


# -- rotation ----------------------------------------------------------------------------------------------------


def test_a_file_is_hidden_until_it_is_full_and_then_whole(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.csv", format=Csv(), rotate=Rotation(rows=512))
    with cluster_of(sink, [("de", n) for n in range(1200)]) as cluster:
        cluster.run_until_idle()
        assert len(cluster.acked("rows")) == 1200
        assert [len(path.read_text().splitlines()) for path in files(tmp_path)] == [513, 513]
        (rest,) = set(files(tmp_path, hidden=True)) - set(files(tmp_path))
        assert rest.name.startswith(".out-")
        assert cluster.metrics()["sink"]["user"] | {"bytes": 0} == {
            "rows": 1200,
            "bytes": 0,
            "files": 2,
            "open files": 1,
        }
    assert len(files(tmp_path)) == 3
    assert files(tmp_path) == files(tmp_path, hidden=True)
    rows = [line for path in files(tmp_path) for line in path.read_text().splitlines()[1:]]
    assert sorted(rows) == sorted(f"de,{n}" for n in range(1200))


def test_a_file_is_published_by_its_age_and_when_nothing_comes(tmp_path: Path) -> None:
    with cluster_of(FileSink(tmp_path / "out", rotate=Rotation(every=30, idle=10))) as cluster:
        for _ in range(4):
            cluster.feed("rows", [("de", 1)])
            cluster.advance(8)
        assert len(files(tmp_path)) == 1
        cluster.feed("rows", [("de", 2)])
        cluster.advance(9)
        assert len(files(tmp_path)) == 1
        cluster.advance(2)
        assert len(files(tmp_path)) == 2


def test_a_run_without_rows_leaves_no_file(tmp_path: Path) -> None:
    write(FileSink(tmp_path / "out.parquet", format=Parquet()), [])
    assert files(tmp_path, hidden=True) == []


def test_runs_and_tasks_never_write_over_a_file(tmp_path: Path) -> None:
    """Simulated time begins anew in each run, so all names would be the same."""
    for _ in range(3):
        with cluster_of(
            FileSink(tmp_path / "out.txt", compression="gzip"), [("de", n) for n in range(600)], tasks=2
        ) as c:
            c.run_until_idle()
    assert len(files(tmp_path)) == 6
    lines = [line for path in files(tmp_path) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert len(lines) == 1800


def test_appending_tasks_have_files_of_their_own(tmp_path: Path) -> None:
    with cluster_of(FileSink(tmp_path / "out.txt"), [("de", n) for n in range(600)], tasks=2) as cluster:
        cluster.run_until_idle()
    assert [path.name for path in files(tmp_path)] == ["out.0.txt", "out.1.txt"]


# -- partitions --------------------------------------------------------------------------------------------------


def test_fields_in_the_path_part_rows_and_a_row_that_makes_no_path_is_dead_alone(tmp_path: Path) -> None:
    rows = [("de", date(2026, 1, 2)), ("../../fr", date(2026, 1, 2)), ("de", None), ("de", date(2026, 1, 3))]
    sink = FileSink(tmp_path / "out" / "{country}/{n:%Y-%m-%d}.csv", format=Csv())
    (error,) = write(sink, rows)
    assert "the row cannot be written: TypeError" in error
    assert [str(path.relative_to(tmp_path / "out")) for path in files(tmp_path)] == [
        "%2E%2E%2F%2E%2E%2Ffr/2026-01-02.csv",
        "de/2026-01-02.csv",
        "de/2026-01-03.csv",
    ]


@pytest.mark.parametrize("rotate", [None, Rotation()])
def test_the_number_of_open_files_is_bounded_and_nothing_is_lost(tmp_path: Path, rotate: Rotation | None) -> None:
    sink = FileSink(str(tmp_path / "{n}.txt"), rotate=rotate, max_open_files=5)
    with cluster_of(sink, [("de", n % 40) for n in range(400)]) as cluster:
        before = len(os.listdir("/proc/self/fd"))
        cluster.run_until_idle()
        assert cluster.metrics()["sink"]["user"]["open files"] == 5
        assert len(os.listdir("/proc/self/fd")) <= before + 5
        assert len(cluster.acked("rows")) == 400
    assert sum(len(path.read_text().splitlines()) for path in files(tmp_path)) == 400
    assert rotate or len(files(tmp_path)) == 40


# -- a disk that refuses -----------------------------------------------------------------------------------------


class Disk:
    """Refuses a system call of the sink while it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str, number: int = errno.ENOSPC) -> None:
        self.is_full, self.calls = True, 0
        real = getattr(os, call)

        def refusing(*arguments: Any) -> Any:
            self.calls += 1
            if self.is_full:
                raise OSError(number, os.strerror(number))
            return real(*arguments)

        monkeypatch.setattr(os, call, refusing)


@pytest.mark.parametrize("format", [Csv(), Parquet()])
def test_a_disk_that_is_full_at_the_sync_takes_the_batch_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Any
) -> None:
    """The header too: it is written anew with the rows. Nothing is dead, doubled or cut."""
    disk = Disk(monkeypatch, "fdatasync")
    with cluster_of(FileSink(tmp_path / "out", format=format, rotate=Rotation()), [("de", n) for n in range(9)]) as c:
        c.run_until_idle()
        c.advance(3.5)
        assert disk.calls == 4
        assert c.acked("rows") == c.dead_letters() == []
        assert [path.stat().st_size for path in files(tmp_path, hidden=True)] == [0]
        disk.is_full = False
        c.advance(1)
        assert len(c.acked("rows")) == 9
    path = only(tmp_path)
    if isinstance(format, Csv):
        assert path.read_text() == "country,n\n" + "".join(f"de,{n}\n" for n in range(9))
    else:
        assert pq.read_table(path).column("n").to_pylist() == list(range(9))


def test_a_file_that_cannot_be_made_for_want_of_room_waits_and_holds_rows_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressing needs room that appending did not: rows that are acked stay safe, new ones are not taken."""
    full = [True]
    real = publishing_module._to_gzip  # pyright: ignore[reportPrivateUsage]

    def seal(source: Path, sealed: Any) -> None:
        if full[0]:
            sealed.write(b"half")
            raise OSError(errno.ENOSPC, "no space left")
        real(source, sealed)

    monkeypatch.setattr(publishing_module, "_to_gzip", seal)
    sink = FileSink(tmp_path / "out.txt", compression="gzip", rotate=Rotation(rows=10))
    with cluster_of(sink, [("de", n) for n in range(10)]) as cluster:
        cluster.run_until_idle()
        assert len(cluster.acked("rows")) == 10
        cluster.feed("rows", [("fr", 11)])
        cluster.advance(5)
        assert len(cluster.acked("rows")) == 10
        assert files(tmp_path) == cluster.dead_letters() == []
        full[0] = False
        cluster.advance(1)
        assert len(cluster.acked("rows")) == 11
    assert [gzip.decompress(path.read_bytes()).count(b"\n") for path in files(tmp_path, hidden=True)] == [10, 1]


def test_rule_10_another_error_of_the_disk_counts_for_each_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster_of(FileSink(tmp_path / "out"), [("de", 1), ("fr", 2)]) as cluster:
        disk = Disk(monkeypatch, "fdatasync", errno.EIO)
        cluster.advance(60)
        assert disk.calls == 1 + 2 * 4  # together, then each alone
        assert len(cluster.dead_letters()) == 2
        disk.is_full = False
        cluster.feed("rows", [("it", 3)])
        cluster.run_until_idle()
    assert (tmp_path / "out").read_text() == "it\t3\n"


def test_without_fsync_nothing_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, "fdatasync")
    assert write(FileSink(tmp_path / "out.csv", fsync=False, rotate=Rotation()), [("de", 1)]) == []
    assert disk.calls == 0
    assert only(tmp_path).read_text() == "de\t1\n"


def test_a_batch_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, "fdatasync")
    disk.is_full = False
    write(FileSink(tmp_path / "out"), [("de", n) for n in range(5000)])
    assert 5000 / 1024 <= disk.calls <= 5000 / 64 + 1


def test_what_cannot_be_recovered_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    """The next start of the sink tries again."""
    sink = FileSink(tmp_path / "out.parquet", format=Parquet())
    with cluster_of(sink, [("de", 1)]) as cluster:
        cluster.run_until_idle()
        (left,) = files(tmp_path, hidden=True)
        data = left.read_bytes()
    only(tmp_path).unlink()
    left.write_bytes(data[:-8] + b"\xff" * 8 + data)  # whole batches, but not of one stream
    with cluster_of(sink, [("fr", 2)]) as cluster:
        cluster.run_until_idle()
        assert [error.where for error in cluster.errors()] == ["report_error"]
        assert str(left) in cluster.errors()[0].traceback
    assert left.exists()
    (path,) = files(tmp_path)
    assert pq.read_table(path).to_pylist() == [{"country": "fr", "n": 2}]


ROTATED = Rotation(every=3600, idle=3600)
OF_BEFORE = {
    "text": ("out.txt", {"rotate": ROTATED}),
    "gzip": ("out.txt", {"compression": "gzip"}),
    "zstd": ("out.csv.zst", {"format": Csv()}),
    "csv": ("out.csv", {"format": Csv(quote="'"), "rotate": ROTATED}),
    "parquet": ("out.parquet", {"format": Parquet(compression="snappy")}),
    "no suffix": ("out", {"format": JsonLines(), "rotate": ROTATED}),
}
OF_NOW = {
    "appending": ("out.txt", {}),
    "rotated": ("out.txt", {"rotate": Rotation(rows=1)}),
    "gzip": ("out.txt.gz", {}),
    "json": ("out.jsonl", {"format": JsonLines(), "rotate": ROTATED}),
    "parquet": ("out.parquet", {"format": Parquet()}),
}


@pytest.mark.parametrize("now", OF_NOW)
@pytest.mark.parametrize("before", OF_BEFORE)
def test_what_a_killed_run_left_is_published_by_a_sink_of_any_other_options(
    tmp_path: Path, before: str, now: str
) -> None:
    """Its own name says what it holds: it is cut at its last whole row and published as it would have been."""
    name, options = OF_BEFORE[before]
    with cluster_of(FileSink(tmp_path / name, **options), [("de", 1), ("fr", 2)]) as cluster:
        cluster.run_until_idle()
        (left,) = files(tmp_path, hidden=True)
        data = left.read_bytes()
    only(tmp_path).unlink()
    left.write_bytes(data + b"it")  # cut off within the next row
    name, options = OF_NOW[now]
    assert write(FileSink(tmp_path / name, **options), []) == []
    assert [path for path in files(tmp_path, hidden=True) if path.name.startswith(".")] == []
    assert countries_in(shown(left)[0]) == ["de", "fr"]


def countries_in(path: Path) -> list[str]:
    """What is in a file, whatever it is written in."""
    if path.suffix == ".parquet":
        return pq.read_table(path).column("country").to_pylist()
    data = path.read_bytes()
    unpacked = {
        ".gz": gzip.decompress,
        ".zst": lambda raw: zstandard.ZstdDecompressor().decompressobj().decompress(raw),
    }
    text = unpacked.get(path.suffix, bytes)(data).decode()
    return re.findall("de|fr|it", text)


def test_leftovers_that_this_squall_does_not_know_or_cannot_see_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And stop nothing."""
    unknown = tmp_path / ".out-20260101T000000000-0.txt.future.open"
    unknown.write_bytes(b"de")
    with cluster_of(FileSink(tmp_path / "out.txt"), [("fr", 2)]) as cluster:
        cluster.run_until_idle()
        (error,) = cluster.errors()
        assert '"future" is no kind of file that this squall knows' in error.error
        assert str(unknown) in error.traceback

    def unlistable(*_: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr("squall.connectors.files.writing.open_files.leftovers", unlistable)
    with cluster_of(FileSink(tmp_path / "out.txt"), [("it", 3)]) as cluster:
        cluster.run_until_idle()
        (error,) = cluster.errors()
        assert f"left files in {tmp_path} cannot be seen" in error.traceback
    assert (tmp_path / "out.txt").read_text() == "fr\t2\nit\t3\n"


def test_a_file_that_cannot_be_published_is_reported_and_published_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seal(_source: Path, _sealed: Any) -> None:
        raise ValueError("no such luck")

    sink = FileSink(tmp_path / "out.txt", compression="gzip", rotate=Rotation(rows=1))
    with monkeypatch.context() as patched:
        patched.setattr(publishing_module, "_to_gzip", seal)
        with cluster_of(sink) as cluster:
            for n in range(3):
                cluster.feed("rows", [("de", n)])
                cluster.run_until_idle()
            assert len(cluster.acked("rows")) == 3
            assert {error.error for error in cluster.errors()} == {"ValueError: no such luck"}
    assert files(tmp_path) == []
    write(sink, [])
    assert sorted(gzip.decompress(path.read_bytes()) for path in files(tmp_path, hidden=True)) == [
        b"de\t0\n",
        b"de\t1\n",
        b"de\t2\n",
    ]
