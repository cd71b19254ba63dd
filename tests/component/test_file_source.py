"""`FileSpout` on real files, in simulated time: what is read, what is bad, what a position brings back."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from squall import Bolt, Topology, Tuple
from squall.connectors.files import Csv, FileSpout, JsonLines, Parquet, Text
from squall.connectors.files.reading import blocks as blocks_module
from squall.connectors.files.reading.chunks import START
from squall.connectors.files.reading.format import Opening
from squall.connectors.files.reading.progress import Progress
from squall.errors import StateError, TopologyError
from squall.testing import LocalCluster


class Take(Bolt):
    def process(self, tup: Tuple) -> None: ...


def topology_of(spout: Any, bolt: Any = None, tasks: int = 1) -> Topology:
    topology = Topology("files")
    source = topology.spout("files", spout, parallelism=tasks)
    topology.bolt("take", bolt or Take).shuffle(source)
    return topology


def read(spout: FileSpout, tasks: int = 1) -> list[Any]:
    """Everything that a spout emits; rows of one value are bare."""
    with LocalCluster(topology_of(spout, Take, tasks)) as cluster:
        cluster.finish()
        assert cluster.dead_letters() == []
        return [row[0] if len(row) == 1 else row for row in cluster.emitted("files")]


def read_with_letters(spout: FileSpout) -> tuple[list[Any], list[Any]]:
    with LocalCluster(topology_of(spout, Take)) as cluster:
        cluster.finish()
        return cluster.emitted("files"), cluster.dead_letters()


# -- which files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt", "deep/er/c.txt", "d.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"1 {name}\n2 {name}\n")
    return tmp_path


def test_files_are_read_by_name_one_after_the_other(tree: Path) -> None:
    assert read(FileSpout(tree / "*.txt")) == ["1 a.txt", "2 a.txt", "1 b.txt", "2 b.txt"]
    assert read(FileSpout([tree / "**" / "*.txt"])) == [
        f"{n} {name}" for name in ("a.txt", "b.txt", "deep/er/c.txt") for n in (1, 2)
    ]


def test_files_are_read_by_age_where_wanted(tree: Path) -> None:
    os.utime(tree / "b.txt", (1, 1))
    assert read(FileSpout(tree / "*.txt", order="age"))[0] == "1 b.txt"


def test_a_file_that_several_patterns_match_is_read_once(tree: Path) -> None:
    os.link(tree / "a.txt", tree / "z.txt")
    (tree / "y.txt").symlink_to(tree / "a.txt")
    assert len(read(FileSpout([tree / "*.txt", tree / "a.txt", tree / "**"]))) == 8


def test_tasks_share_the_files(tmp_path: Path) -> None:
    for n in range(40):
        (tmp_path / f"{n}.txt").write_text(f"{n}\n")
    assert sorted(map(int, read(FileSpout(tmp_path / "*.txt"), tasks=3))) == list(range(40))


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("nothing-*.txt", "file_not_found", "no file matches"),
        ("none.txt", "file_not_found", "there is no file"),
        ("deep", "file_not_regular", "is a folder"),
        ("pipe", "file_not_regular", "StdinSpout"),
    ],
)
def test_what_cannot_be_read_is_told_at_the_start(tree: Path, name: str, code: str, text: str) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(StateError, match=text) as caught, LocalCluster(topology_of(FileSpout(tree / name))):
        pass
    assert caught.value.code == code
    assert str(tree / name) in str(caught.value)


def test_all_that_is_wrong_is_told_at_once(tree: Path) -> None:
    with (
        pytest.raises(StateError, match="also: ") as caught,
        LocalCluster(topology_of(FileSpout([tree / "deep", tree / "none.txt"]))),
    ):
        pass
    assert "none.txt" in str(caught.value)


def test_a_file_that_vanishes_before_its_turn_is_a_dead_letter(tree: Path) -> None:
    seen: list[str] = []

    class Remove(Bolt):
        def process(self, line: str) -> None:
            (tree / "b.txt").unlink(missing_ok=True)
            seen.append(line)

    with LocalCluster(topology_of(FileSpout(tree / "*.txt"), Remove)) as cluster:
        cluster.finish()
        (letter,) = cluster.dead_letters()
    assert seen == ["1 a.txt", "2 a.txt"]
    assert letter.values == (str(tree / "b.txt"),)
    assert "file_unreadable" in letter.traceback


@pytest.mark.parametrize("arguments", [{"compression": "zip"}, {"order": "size"}, {"max_record": 0}, {"look_every": 0}])
def test_a_wrong_argument_is_refused(arguments: Any) -> None:
    with pytest.raises(TopologyError, match="code: file_spout_argument"):
        FileSpout("x", **arguments)
    with pytest.raises(TopologyError, match="names no files"):
        FileSpout([])


# -- lines and compression -----------------------------------------------------------------------------------------


def packed(suffix: str, data: bytes) -> bytes:
    match suffix:
        case ".gz":
            half = len(data) // 2  # two members, as `cat a.gz b.gz` has them
            return gzip.compress(data[:half]) + gzip.compress(data[half:])
        case ".zst":
            half = len(data) // 2
            compress = zstandard.ZstdCompressor().compress
            return compress(data[:half]) + compress(data[half:])
        case _:
            return data


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_lines_are_those_of_the_file(tmp_path: Path, suffix: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 1000)
    lines = ["", "grün", "x" * 3000, *(f"line {n}" for n in range(500)), ""]
    between = end or "\n"
    text = between.join(lines) + (end if end else "")
    path = tmp_path / f"lines.txt{suffix}"
    path.write_bytes(packed(suffix, text.encode()))
    expected = lines if end else lines[:-1]  # an empty last line without its end is none
    assert read(FileSpout(path)) == expected


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfone\ntwo\n")
    assert read(FileSpout(tmp_path / "bom.txt")) == ["one", "two"]


def test_a_line_that_is_no_text_is_a_dead_letter_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mixed.txt"
    path.write_bytes(b"one\n\xff\xfe\nthree\n\xff\n")
    rows, letters = read_with_letters(FileSpout(path))
    assert rows == [("one",), ("three",)]
    assert [letter.values for letter in letters] == [(b"\xff\xfe",), (b"\xff",)]
    assert [f"{path}:{n}: " in letter.error for letter, n in zip(letters, (2, 4), strict=True)] == [True, True]
    assert read(FileSpout(path, format=Text(errors="replace")))[1] == "\ufffd\ufffd"
    assert read(FileSpout(path, format=Text(encoding="latin-1")))[1] == "ÿþ"


def test_a_line_that_is_too_long_is_a_dead_letter_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 100)
    path = tmp_path / "long.txt"
    path.write_text("one\n" + "x" * 5000 + "\nthree\nfour\n")
    rows, (letter,) = read_with_letters(FileSpout(path, max_record=2000))
    assert rows == [("one",), ("three",), ("four",)]
    assert letter.values == (b"x" * 1024,)
    assert f"{path}:2: a line of more than 2,000 bytes" in letter.error


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_damaged_archive_gives_what_it_has_and_a_dead_letter(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    data = "".join(f"{n} {random.Random(n).random()}\n" for n in range(50_000)).encode()
    path.write_bytes(packed(suffix, data)[:-5000])
    (tmp_path / "later.txt").write_text("later\n")
    rows, (letter,) = read_with_letters(FileSpout(tmp_path / "*"))
    assert rows[-1] == ("later",)
    assert 1000 < len(rows) < 50_000
    assert letter.values == (str(path),)
    assert "cut off" in letter.traceback


@pytest.mark.parametrize("wrong", [{"encoding": "utf-16"}, {"encoding": "none such"}, {"errors": "dead"}])
def test_lines_that_cannot_be_told_apart_are_refused(wrong: Any) -> None:
    with pytest.raises(TopologyError, match="code: file_format"):
        Text(**wrong)


# -- CSV -----------------------------------------------------------------------------------------------------------

ORDERS = 'id,item,price\n1,"tea, green",2.50\n\n2,"two\nlines",3\n3,bread,free\n4,salt\n5,"a ""b""",1\n'


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    return path


def test_csv_rows_have_the_columns_of_the_header(orders: Path) -> None:
    spout = FileSpout(orders, format=Csv(types={"price": Decimal, "id": int}))
    assert spout.outputs == ("id", "item", "price")
    rows, letters = read_with_letters(spout)
    assert rows == [
        (1, "tea, green", Decimal("2.50")),
        (2, "two\nlines", Decimal(3)),
        (5, 'a "b"', Decimal(1)),
    ]
    assert [letter.values for letter in letters] == [("3", "bread", "free"), ("4", "salt")]
    assert f"{orders}:6: price: " in letters[0].error
    assert f"{orders}:7: 2 values, where 3 are wanted" in letters[1].error


def test_csv_columns_are_picked_by_name_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("id;name\n1;a\n")
    (tmp_path / "2.csv").write_text("name;more;id\nb;x;2\n")
    (tmp_path / "3.csv").write_text("name;more\nc;x\n")
    spout = FileSpout(tmp_path / "*.csv", format=Csv(fields=["id", "name"], delimiter=";"))
    rows, (letter,) = read_with_letters(spout)
    assert rows == [("1", "a"), ("2", "b")]
    assert letter.values == (str(tmp_path / "3.csv"),)
    assert "no id" in letter.traceback


@pytest.mark.parametrize("header", [b"a\rb,c\n", b"x" * 5000 + b"\n"])
def test_csv_whose_header_is_none_is_refused_by_its_name(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(header + b"1,2\n")
    with pytest.raises(TopologyError, match=r"the header of .*x\.csv cannot be read") as refused:
        FileSpout(tmp_path / "x.csv", format=Csv(), max_record=1000)
    assert refused.value.code == "file_format"


def test_csv_header_of_several_lines_is_waited_for(tmp_path: Path) -> None:
    """What there is of a file that is followed may end within its header."""
    path, format = tmp_path / "x.csv", Csv(fields=["b"])
    found: list[object] = []
    for part in (b'"first', b'\ncolumn",', b"b\n", b"1,2\n"):
        with path.open("ab") as file:
            file.write(part)
        reader = format.reader(str(path), START, Opening(None, 1000, follow=True))
        chunk = reader.read(to_the_end=False) if reader is not None else None
        found.append(chunk.rows if chunk is not None else reader is not None)
        if reader is not None:
            reader.close()
    assert found == [False, False, True, [("2",)]]


def test_a_line_s_end_does_not_depend_on_the_lines_beside_it(tmp_path: Path) -> None:
    """Line by line, as after a line that is no text, a lone carriage return was taken for an end."""
    (tmp_path / "x").write_bytes(b"\xff\r\na\r\nb\r")
    rows, (letter,) = read_with_letters(FileSpout(tmp_path / "x", format=Text()))
    assert (rows, letter.values) == ([("a",), ("b\r",)], (b"\xff",))
    (tmp_path / "x").write_bytes(b"a\r\nb\r")
    assert read(FileSpout(tmp_path / "x", format=Text())) == ["a", "b\r"]


def test_csv_without_a_header_has_the_fields_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,a\n2,b")
    assert read(FileSpout(tmp_path / "x.csv", format=Csv(header=False, fields=["n", "c"], types={"n": int}))) == [
        (1, "a"),
        (2, "b"),
    ]
    with pytest.raises(TopologyError, match="name the columns"):
        FileSpout("x.csv", format=Csv(header=False))


def test_csv_that_is_no_text_is_a_dead_letter_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n1,gr\xc3\xbcn\n2,\xff\n")
    rows, (letter,) = read_with_letters(FileSpout(path, format=Csv()))
    assert rows == [("1", "grün")]
    assert letter.values == ("2", b"\xff")


def test_csv_whose_columns_are_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="give `fields`"):
        FileSpout(tmp_path / "*.csv", format=Csv(), follow=True)


# -- JSON lines ----------------------------------------------------------------------------------------------------


class Click(NamedTuple):
    user: str
    n: int = 1


@dataclass
class Visit:
    user: str


@pytest.mark.parametrize(
    ("format", "rows"),
    [
        (JsonLines(), [{"user": "a", "n": 2}, [1, 2], None, {"user": "b"}]),
        (JsonLines(Click), [("a", 2), ("b", 1)]),
        (JsonLines(Visit), [Visit("a"), Visit("b")]),
        (JsonLines(fields=["n", "user"]), [(2, "a"), (None, "b")]),
        (JsonLines(fields={"user": str}), ["a", "b"]),
    ],
)
def test_json_lines_are_of_the_wanted_type(tmp_path: Path, format: JsonLines, rows: list[Any]) -> None:
    path = tmp_path / "x.jsonl"
    lines = ['{"user": "a", "n": 2}', "", "[1, 2]", "null", '{"user": "b"}', "{no json}"]
    path.write_text("\n".join(lines))
    emitted, letters = read_with_letters(FileSpout(path, format=format))
    assert [row[0] if len(row) == 1 else row for row in emitted] == rows
    assert len(letters) == 5 - len(rows)
    assert letters[-1].values == (b"{no json}",)
    assert f"{path}:6: " in letters[-1].error


def test_a_json_record_is_a_line_whatever_its_block_looks_like(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a":\n1}\n1 2\n')
    rows, letters = read_with_letters(FileSpout(path, format=JsonLines()))
    assert rows == []
    assert len(letters) == 3


# -- Parquet -------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "x.parquet"
    rows = pa.table({"n": list(range(5000)), "name": [f"n{n}" if n % 7 else None for n in range(5000)]})
    pq.write_table(rows, path, row_group_size=1500)
    return path


def test_parquet_rows_are_those_of_the_table(table: Path) -> None:
    spout = FileSpout(table, format=Parquet())
    assert spout.outputs == ("n", "name")
    assert read(spout) == [(n, f"n{n}" if n % 7 else None) for n in range(5000)]
    assert read(FileSpout(table, format=Parquet(fields=["name"])))[:2] == [None, "n1"]


def test_parquet_batches_are_record_batches(table: Path) -> None:
    batches = read(FileSpout(table, format=Parquet(fields=["n"], batches=True)))
    assert [batch.num_rows for batch in batches] == [1500, 1500, 1500, 500]
    assert batches[1].column("n")[0].as_py() == 1500


def test_what_is_no_parquet_is_a_dead_letter(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    rows, (letter,) = read_with_letters(FileSpout(tmp_path / "x.parquet", format=Parquet(fields=["n"])))
    assert rows == []
    assert letter.values == (str(tmp_path / "x.parquet"),)


# -- positions -----------------------------------------------------------------------------------------------------


class Hold(Bolt):
    """Takes all inputs until `left` are; what comes after it holds."""

    manual_ack = True

    def __init__(self, left: int) -> None:
        self.left = left

    def open(self, context: object) -> None:
        self.rows: list[Any] = []

    def process(self, tup: Tuple) -> None:
        self.left -= 1
        if self.left >= 0:
            self.rows.append(tup.values)
            self.ack(tup)


def write_lines(folder: Path, rows: int) -> FileSpout:
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text("".join(f"{name} {n}\n" for n in range(rows)))
    return FileSpout(folder / "*.txt")


def write_gzip(folder: Path, rows: int) -> FileSpout:
    for name in ("a.gz", "b.gz"):
        (folder / name).write_bytes(gzip.compress("".join(f"{name} {n}\n" for n in range(rows)).encode(), mtime=0))
    return FileSpout(folder / "*.gz")


def write_bad_lines(folder: Path, rows: int) -> FileSpout:
    (folder / "x.txt").write_bytes(b"".join(b"%d\n%s" % (n, b"\xff\n" if n % 5 == 0 else b"") for n in range(rows)))
    return FileSpout(folder / "x.txt")


def write_csv(folder: Path, rows: int) -> FileSpout:
    text = "n,text\n" + "".join(f'{n},"a\n\nb{n}"\n\n{n},short\n' if n % 3 else f"{n},x\n" for n in range(rows))
    (folder / "x.csv").write_text(text)
    return FileSpout(folder / "x.csv", format=Csv(types={"n": int}))


def write_json(folder: Path, rows: int) -> FileSpout:
    (folder / "x.jsonl").write_text("".join(f"{json.dumps({'n': n})}\n\n" for n in range(rows)))
    return FileSpout(folder / "x.jsonl", format=JsonLines(fields={"n": int}))


def write_parquet(folder: Path, rows: int) -> FileSpout:
    pq.write_table(pa.table({"n": list(range(rows))}), folder / "x.parquet", row_group_size=300)
    return FileSpout(folder / "x.parquet", format=Parquet())


WRITERS = [write_lines, write_gzip, write_bad_lines, write_csv, write_json, write_parquet]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("stops", [(0,), (1, 64, 65), (501, 1000)])
def test_31_each_record_is_read_once_over_runs_that_stop_anywhere(
    tmp_path: Path, write: Callable[[Path, int], FileSpout], stops: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Semantics 31: what had ended is not read again, all else is."""
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 2000)
    write(tmp_path, 1000)
    (expected, letters), rows, dead = read_with_letters(write(tmp_path, 1000)), list[Any](), list[Any]()
    position: bytes | None = None
    for stop in (*stops, 10**9):
        topology = topology_of(write_nothing(write, tmp_path), Hold(stop))
        with LocalCluster(topology, positions={"files": position} if position is not None else None) as cluster:
            cluster.run_until_idle()
            hold = cluster.task("take", Hold)
            rows += hold.rows
            position = cluster.position("files")
            letters_seen = cluster.dead_letters()
        dead += [letter.values for letter in letters_seen]
    assert rows == expected
    assert set(dead) == {letter.values for letter in letters}


def write_nothing(write: Callable[[Path, int], FileSpout], folder: Path) -> FileSpout:
    """The spout of files that are there already."""
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}
    spout = write(folder, 1000)
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()} == before
    return spout


def half_read(spout: FileSpout, count: int) -> bytes:
    with LocalCluster(topology_of(spout, Hold(count))) as cluster:
        cluster.run_until_idle()
        return cluster.position("files")


def rest_of(spout: FileSpout, position: bytes) -> list[Any]:
    with LocalCluster(topology_of(spout, Take), positions={"files": position}) as cluster:
        cluster.finish()
        return [row[0] for row in cluster.emitted("files")]


def test_31_a_file_is_known_again_under_another_name(tmp_path: Path) -> None:
    position = half_read(write_lines(tmp_path, 10), 15)
    (tmp_path / "b.txt").rename(tmp_path / "z.txt")
    (tmp_path / "a.txt").rename(tmp_path / "y.txt")
    rest = rest_of(FileSpout(tmp_path / "*.txt"), position)
    assert rest == [f"c.txt {n}" for n in range(10)] + [f"b.txt {n}" for n in range(5, 10)]


def test_31_a_file_that_no_pattern_matches_any_more_is_found_by_its_inode(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("1\n2\n3\n")
    position = half_read(FileSpout(tmp_path / "app.log"), 1)
    (tmp_path / "app.log").rename(tmp_path / "app.log.1")
    (tmp_path / "app.log").write_text("4\n")
    assert sorted(rest_of(FileSpout(tmp_path / "app.log"), position)) == ["2", "3", "4"]


def test_31_another_file_with_the_inode_of_one_that_is_gone_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("1\n2\n")
    position = half_read(FileSpout(path), 1)
    path.write_text("something else\n")
    path.rename(tmp_path / "other.txt")
    with LocalCluster(topology_of(FileSpout(path, follow=True), Take), positions={"files": position}) as cluster:
        cluster.run_until_idle()
        assert cluster.emitted("files") == []
        (report,) = cluster.errors()
        assert "is gone" in report.error


def test_31_a_file_with_other_first_bytes_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1\n2\n3\n")
    position = half_read(FileSpout(path), 2)
    path.write_text("one\ntwo\n")
    assert rest_of(FileSpout(path), position) == ["one", "two"]


def test_31_what_was_added_to_a_file_that_was_read_is_read(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"{name} 1\n{name} 2\n")
    position = half_read(FileSpout(tmp_path / "*.txt"), 3)
    with (tmp_path / "a.txt").open("a") as file:
        file.write("more\n")
    assert rest_of(FileSpout(tmp_path / "*.txt"), position) == ["more", "b.txt 2"]


def test_31_files_that_were_read_take_little_room_in_a_position(tmp_path: Path) -> None:
    for n in range(300):
        (tmp_path / f"{n:03}.txt").write_text(f"{n}\n")
    position = half_read(FileSpout(tmp_path / "*.txt"), 299)
    assert len(position) < 300 * 64
    assert len(half_read(FileSpout(tmp_path / "*.txt"), 1)) < 200, "those that were not begun take none"
    assert rest_of(FileSpout(tmp_path / "*.txt"), position) == ["299"]


@pytest.mark.parametrize("tasks", [1, 3])
def test_31_files_are_known_again_when_their_device_has_another_number(tmp_path: Path, tasks: int) -> None:
    write_lines(tmp_path, 10)
    topology = topology_of(FileSpout(tmp_path / "*.txt"), Hold(25), tasks)
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        before = cluster.task("take", Hold).rows
        positions = [cluster.position("files", index) for index in range(tasks)]
    moved = [Progress("Text") for _ in positions]
    for progress, position in zip(moved, positions, strict=True):
        progress.restore(position)
        for device, inode in [*progress.known, *progress.done]:
            progress.renumber((device, inode), (device + 7, inode))
    topology = topology_of(FileSpout(tmp_path / "*.txt"), Take, tasks)
    with LocalCluster(topology, positions={"files": [progress.encode() for progress in moved]}) as cluster:
        cluster.finish()
        rows = before + cluster.emitted("files")
        assert cluster.errors() == []
    assert sorted(rows) == sorted((f"{name} {n}",) for name in ("a.txt", "b.txt", "c.txt") for n in range(10))


def test_31_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.txt")
    Path(path).write_text("1\n2\n")
    position = half_read(FileSpout(path), 1)
    Path(path).rename(path + ".old")
    with LocalCluster(topology_of(FileSpout(path, follow=True), Take), positions={"files": position}) as cluster:
        cluster.run_until_idle()
        assert cluster.emitted("files") == [("2",)]


def test_no_room_for_an_open_file_is_no_fault_of_the_file(tree: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with LocalCluster(topology_of(FileSpout(tree / "*.txt"), Take)) as cluster:
        cluster.open()
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            cluster.run_until_idle()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        cluster.finish()
        assert len(cluster.emitted("files")) == 4
        assert cluster.dead_letters() == []


def test_31_the_position_of_another_format_is_refused(tmp_path: Path) -> None:
    position = half_read(write_lines(tmp_path, 10), 5)
    topology = topology_of(FileSpout(tmp_path / "*.txt", format=JsonLines()))
    with (
        pytest.raises(StateError, match="read as Text") as caught,
        LocalCluster(topology, positions={"files": position}),
    ):
        pass
    assert caught.value.code == "position_refused"


# -- following -----------------------------------------------------------------------------------------------------


class Followed:
    """A spout that follows, with what it has emitted."""

    def __init__(self, spout: FileSpout, **options: Any) -> None:
        self.cluster = LocalCluster(topology_of(spout, Take), **options)

    def lines(self) -> list[str]:
        self.cluster.advance(1.2)
        rows = self.cluster.emitted("files")
        new, self.seen = rows[getattr(self, "seen", 0) :], len(rows)
        return [row[0] for row in new]

    def __enter__(self) -> Followed:
        self.cluster.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cluster.close()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_followed_file_gives_what_is_added_and_waits_for_line_feeds(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    with Followed(FileSpout(path, follow=True)) as followed:
        assert followed.lines() == [], "it may come later"
        append(path, "one\ntw")
        assert followed.lines() == ["one"]
        append(path, "o\n")
        assert followed.lines() == ["two"]
        assert followed.lines() == []


def test_a_file_that_is_rotated_is_read_to_its_end_and_the_new_one_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("1\n")
    with Followed(FileSpout(path, follow=True)) as followed:
        assert followed.lines() == ["1"]
        append(path, "2\n")
        path.rename(tmp_path / "app.log.1")
        path.write_text("3\n")
        append(tmp_path / "app.log.1", "2.5\nhalf")
        assert sorted(followed.lines()) == ["2", "2.5", "3"]
        followed.cluster.advance(7)
        assert followed.lines() == ["half"], "nothing will be added to it any more"
        append(path, "4\n")
        assert followed.lines() == ["4"]


def test_a_rotated_file_that_a_pattern_still_matches_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("1\n")
    with Followed(FileSpout(tmp_path / "app.log*", follow=True)) as followed:
        assert followed.lines() == ["1"]
        path.rename(tmp_path / "app.log.1")
        path.write_text("2\n")
        assert followed.lines() == ["2"]
        followed.cluster.advance(10)
        assert followed.lines() == []


def test_a_file_that_was_cut_is_reported_and_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("first\nsecond\n")
    with Followed(FileSpout(path, follow=True)) as followed:
        assert followed.lines() == ["first", "second"]
        path.write_text("new\n")
        assert followed.lines() == ["new"]
        (report,) = followed.cluster.errors()
        assert "got shorter" in report.error


def test_new_files_are_found_while_following(tmp_path: Path) -> None:
    with Followed(FileSpout(tmp_path / "**" / "*.log", follow=True)) as followed:
        assert followed.lines() == []
        (tmp_path / "deep").mkdir()
        append(tmp_path / "deep" / "x.log", "x\n")
        (tmp_path / "y.log").write_bytes(b"y\n")
        (tmp_path / "z.log.gz").write_bytes(gzip.compress(b"no match\n"))
        assert sorted(followed.lines()) == ["x", "y"]


def test_a_followed_csv_waits_for_the_end_of_a_quoted_value(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("n,te")
    with Followed(FileSpout(path, format=Csv(fields=["n", "text"]), follow=True)) as followed:
        assert followed.lines() == []
        append(path, 'xt\n1,a\n2,"two\n')
        assert followed.lines() == ["1"]
        append(path, 'lines"\n')
        assert followed.lines() == ["2"]
        assert followed.cluster.emitted("files")[-1] == ("2", "two\nlines")
        append(path, "3,c\n4,d\n")
        assert followed.lines() == ["3", "4"]
        assert followed.cluster.dead_letters() == []


def test_31_a_followed_file_goes_on_after_a_restart_with_what_was_added_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("1\n2\nha")
    with Followed(FileSpout(path, follow=True)) as followed:
        assert followed.lines() == ["1", "2"]
        position = followed.cluster.position("files")
    append(path, "lf\n3\n")
    path.rename(tmp_path / "app.log.1")
    path.write_text("4\n")
    with Followed(FileSpout(path, follow=True), positions={"files": position}) as followed:
        assert sorted(followed.lines()) == ["3", "4", "half"]


def test_31_a_rotated_file_is_in_the_position_until_what_was_read_of_it_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("1\n2\n3\n")
    with LocalCluster(topology_of(FileSpout(path, follow=True), Hold(1))) as cluster:
        cluster.run_until_idle()
        path.rename(tmp_path / "app.log.1")
        path.write_text("4\n")
        for _ in range(10):
            cluster.advance(1.2)
        position = cluster.position("files")
    with Followed(FileSpout(path, follow=True), positions={"files": position}) as followed:
        assert sorted(followed.lines()) == ["2", "3", "4"]


def test_31_a_file_that_was_empty_when_it_was_found_is_not_taken_for_a_later_one(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.touch()
    with Followed(FileSpout(path, follow=True)) as followed:
        assert followed.lines() == []
        append(path, "1\n2\n")
        assert followed.lines() == ["1", "2"]
        position = followed.cluster.position("files")
    path.write_text("another\nfile\n")  # its inode is given again
    with Followed(FileSpout(path, follow=True), positions={"files": position}) as followed:
        assert followed.lines() == ["another", "file"]


def test_31_a_file_that_got_shorter_between_two_runs_is_reported_and_read_from_its_start(tmp_path: Path) -> None:
    path, head = tmp_path / "a.txt", [str(n) for n in range(1000)]
    path.write_text("\n".join(head) + "\n" + "old\n" * 1000)
    position = half_read(FileSpout(path), 1500)
    path.write_text("\n".join(head) + "\nnew\n")
    with LocalCluster(topology_of(FileSpout(path), Take), positions={"files": position}) as cluster:
        cluster.finish()
        (report,) = cluster.errors()
        assert "got shorter" in report.error
        assert [row[0] for row in cluster.emitted("files")] == [*head, "new"]


def test_31_a_begun_file_that_cannot_be_read_any_more_is_a_dead_letter(tmp_path: Path) -> None:
    data = gzip.compress(random.Random(0).randbytes(9_000).hex().encode().replace(b"a", b"\n"))
    (tmp_path / "a.gz").write_bytes(data)
    position = half_read(FileSpout(tmp_path / "a.gz"), 500)
    (tmp_path / "a.gz").write_bytes(data[:1100])
    with LocalCluster(topology_of(FileSpout(tmp_path / "a.gz")), positions={"files": position}) as cluster:
        cluster.finish()
        (letter,) = cluster.dead_letters()
        assert "cannot be read to its end" in letter.error


def test_many_followed_files_do_not_hold_more_descriptors_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("squall.connectors.files.reading.task_files.OPEN_FILES", 4)
    paths = [tmp_path / f"{n}.log" for n in range(20)]
    for path in paths:
        path.write_text("a\n")
    with Followed(FileSpout(tmp_path / "*.log", follow=True)) as followed:
        assert len(followed.lines()) == 20
        opened = [
            os.readlink(f"/proc/self/fd/{fd}")
            for fd in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{fd}")
        ]
        assert sum(name.startswith(str(tmp_path)) for name in opened) <= 4
        for path in paths:
            append(path, "b\n")
        assert followed.lines() == ["b"] * 20


def test_progress_is_shown_in_bytes(tmp_path: Path) -> None:
    spout = write_lines(tmp_path, 100)
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    with LocalCluster(topology_of(spout, Take)) as cluster:
        cluster.finish()
        user = cluster.metrics()["files"]["user"]
    assert (user["bytes_read"], user["bytes_total"]) == (total, total)
