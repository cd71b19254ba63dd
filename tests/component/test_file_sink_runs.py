"""`FileSink` in real runs: killed, interrupted, on a full disk."""

from __future__ import annotations

import csv
import gzip
import os
import resource
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from .conftest import NO_SECOND_LIFE, Squall, wait_until

NUMBERS = """
    import os
    from squall import Exhausted, Spout, Topology
    from squall.connectors.files import Csv, FileSink, Parquet, Rotation, Text

    class Numbers(Spout):
        outputs = ("text", "n")

        def __init__(self, count):
            self.left, self.n = count, 0

        def open(self, context):
            self.log = os.open("acked", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def next_tuple(self):
            if self.n == self.left:
                raise Exhausted
            self.emit(f"line {{self.n}}\\nof a row", self.n, id=self.n)
            self.n += 1

        def ack(self, id):
            os.write(self.log, b"%d\\n" % id)

    topology = Topology("filling")
    numbers = topology.spout("numbers", Numbers({count}))
    sink = topology.bolt("sink", FileSink("out/rows", {options})).shuffle(numbers)
"""
ROTATE = 'format={format}, rotate=Rotation(size="20KB", every=3600, idle=3600)'


def lines_of(path: Path) -> list[str]:
    """The numbers in a file, each from a whole row."""
    if path.name.endswith(".parquet"):
        rows = [(row["text"], row["n"]) for row in pq.read_table(path).to_pylist()]
    else:
        text = gzip.decompress(path.read_bytes()).decode() if path.name.endswith(".gz") else path.read_text()
        rows = list(csv.reader(text.splitlines(keepends=True), strict=True))[1:]
    assert all(text == f"line {n}\nof a row" for text, n in rows)
    return [str(n) for _, n in rows]


def visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rows.csv", ROTATE.format(format="Csv()")),
        ("rows.csv", ROTATE.format(format="Csv()") + ', compression="gzip"'),
        ("rows.parquet", ROTATE.format(format="Parquet()")),
    ],
    ids=["csv", "gzip", "parquet"],
)
def test_every_acked_row_is_in_a_whole_file_after_a_kill(squall: Squall, name: str, options: str) -> None:
    """Killed at any moment, the next run publishes what is left: no acked row is missing, no visible file is torn."""
    out, acked = squall.folder / "out", squall.folder / "acked"
    topology = NUMBERS.replace("/rows", f"/{name}")
    run = squall.run(topology.format(count=10**9, options=options), *NO_SECOND_LIFE)
    wait_until(lambda: len(visible(out)) > 2, what="three published files")
    os.kill(run.worker_pid(), signal.SIGKILL)
    assert run.end() == 1
    for path in visible(out):
        lines_of(path)
    assert squall.run(topology.format(count=0, options=options)).end() == 0
    assert [path for path in out.rglob(".*")] == []
    found = [line for path in visible(out) for line in lines_of(path)]
    assert len(found) == len(set(found))
    assert set(acked.read_text().splitlines()) - set(found) == set()


def test_a_killed_run_loses_nothing_when_the_next_one_does_not_rotate(squall: Squall) -> None:
    out, acked = squall.folder / "out", squall.folder / "acked"
    topology = NUMBERS.replace("/rows", "/rows.csv")
    rotated = ROTATE.format(format="Csv()") + ', compression="gzip"'
    run = squall.run(topology.format(count=10**9, options=rotated), *NO_SECOND_LIFE)
    wait_until(lambda: len(visible(out)) > 1, what="two published files")
    os.kill(run.worker_pid(), signal.SIGKILL)
    assert run.end() == 1
    assert squall.run(topology.format(count=0, options="format=Csv()")).end() == 0
    assert [path for path in out.rglob(".*")] == []
    (out / "rows.csv").unlink()
    found = [line for path in visible(out) for line in lines_of(path)]
    assert set(acked.read_text().splitlines()) - set(found) == set()


def test_an_interrupted_run_publishes_everything(squall: Squall) -> None:
    out = squall.folder / "out"
    run = squall.run(NUMBERS.format(count=10**9, options=ROTATE.format(format="Csv()")))
    wait_until(lambda: len(visible(out)) > 1, what="two published files")
    run.interrupt()
    assert run.end() == 0
    found = [line for path in out.iterdir() for line in lines_of(path)]
    assert [path for path in out.rglob(".*")] == []
    assert sorted(map(int, found)) == list(range(run.summary()["acked"]))


def test_two_runs_write_into_one_folder_without_touching_each_other(squall: Squall) -> None:
    """A run that starts finds the hidden file of one that lives, and leaves it alone."""
    out = squall.folder / "out"
    options = "format=Csv(), rotate=Rotation(every=3600, idle=3600)"
    first = squall.run(NUMBERS.format(count=10**9, options=options).replace('"filling"', '"first"'))
    wait_until(lambda: any(path.stat().st_size for path in out.rglob(".*.open")), what="the first run's file")
    second = squall.file(NUMBERS.format(count=100, options=options), "second.py")
    assert squall.start("run", second, "--json").end() == 0
    assert len(visible(out)) == 1
    assert len(list(out.rglob(".*.open"))) == 1
    assert len(lines_of(visible(out)[0])) == 100
    first.interrupt()
    assert first.end() == 0
    assert len(visible(out)) == 2


def test_rows_wait_on_a_full_disk_and_all_are_published_when_there_is_room(squall: Squall) -> None:
    out = squall.folder / "out"
    options = 'format=Csv(), rotate=Rotation(size="1MB", every=3600, idle=3600)'
    text = NUMBERS.format(count=3000, options=options)
    run = squall.run(text.replace("self.n += 1", "self.n += 1; import time; time.sleep(1 if self.n == 1 else 0)"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    worker = run.worker_pid()
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (30_000, hard))
    wait_until(lambda: "File too large" in run.err, what="the full disk")
    assert visible(out) == []
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))
    assert run.end() == 0
    assert sorted(int(line) for path in visible(out) for line in lines_of(path)) == list(range(3000))
    assert run.summary()["dead"] == 0


COPY = """
    from squall import Topology
    from squall.connectors.files import FileSink, FileSpout, Rotation

    topology = Topology("copying")
    lines = topology.spout("lines", FileSpout("in.txt"))
    topology.bolt("sink", FileSink("out/copy", rotate=Rotation(size="200KB"))).shuffle(lines)
"""


def test_a_file_is_copied_whole_over_kills(squall: Squall) -> None:
    """The source goes on at its position, the sink publishes what it left: at least once from end to end."""
    wanted = [f"{n:07d} {'x' * 40}" for n in range(100_000)]
    (squall.folder / "in.txt").write_text("".join(f"{line}\n" for line in wanted))
    out = squall.folder / "out"
    for kill in range(3):
        published = len(visible(out))
        run = squall.run(COPY, *NO_SECOND_LIFE)
        if kill < 2:
            wait_until(lambda: len(visible(out)) > published + 1 or run.process.poll() is not None, what="progress")  # noqa: B023
            os.kill(run.worker_pid(), signal.SIGKILL)
            assert run.end() == 1
    assert run.end() == 0
    assert [path for path in out.rglob(".*")] == []
    found = [line for path in visible(out) for line in path.read_text().splitlines()]
    assert set(found) == set(wanted)
