"""Semantics 31: files over real runs that are killed, interrupted, and end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .conftest import Running, Squall, wait_until

LINES = 60_000
COPYING = """
    from squall import Topology
    from squall.connectors.files import FileSink, FileSpout

    topology = Topology("copy")
    lines = topology.spout("lines", {spout}, parallelism={tasks})
    topology.bolt("out", FileSink({folder!r} + "/out.txt")).shuffle(lines)
"""


def start(squall: Squall, *arguments: object, rate: float | None = 20_000, tasks: int = 1) -> Running:
    folder = str(squall.folder)
    spout = f"Limited({folder + '/in/*'!r})"
    text = COPYING.format(spout=spout, tasks=tasks, folder=folder)
    limited = f"    class Limited(FileSpout):\n        rate_per_s = {rate}\n\n    topology = Topology"
    return squall.run(text.replace("    topology = Topology", limited), *arguments)


@pytest.fixture
def files(squall: Squall) -> Path:
    folder = squall.folder / "in"
    folder.mkdir()
    for part in range(3):
        numbers = range(part * LINES // 3, (part + 1) * LINES // 3)
        (folder / f"{part}.txt").write_text("".join(f"{n:09}\n" for n in numbers))
    return folder


def seen(squall: Squall) -> list[int]:
    path = squall.folder / "out.txt"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_31_after_a_kill_each_line_is_processed_and_few_twice(squall: Squall, files: Path) -> None:
    run = start(squall)
    stored = squall.state / "positions" / "copy" / "lines" / "0"
    wait_until(lambda: stored.exists() and len(seen(squall)) > LINES // 2, what="half of the lines")
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    before = len(seen(squall))
    second = start(squall, rate=None)
    assert second.end() == 0, second.err
    assert len(second.events("resumed")) == 1
    numbers = seen(squall)
    assert set(numbers) == set(range(LINES))
    assert len(numbers) - LINES < before, "it did not begin at the start"
    assert len(numbers) - LINES <= 3 * 20_000, "at most what came since the last position, and what was pending"
    assert not stored.exists()


def test_31_after_an_interrupt_each_line_is_processed_once(squall: Squall, files: Path) -> None:
    for _ in range(2):
        before = len(seen(squall))
        run = start(squall, tasks=2)
        wait_until(lambda before=before: len(seen(squall)) > before + 2000, what="some lines")
        run.interrupt()
        assert run.end() == 0, run.err
    (files / "1.txt").rename(files / "renamed.txt")
    last = start(squall, rate=None, tasks=2)
    assert last.end() == 0, last.err
    assert sorted(seen(squall)) == list(range(LINES))


def test_31_after_the_end_of_all_files_a_run_begins_anew(squall: Squall, files: Path) -> None:
    for times in (1, 2):
        run = start(squall, rate=None)
        assert run.end() == 0, run.err
        assert len(seen(squall)) == times * LINES
        assert run.events("resumed") == []
    metrics = run.summary()["components"]["lines"]["metrics"]
    assert metrics["bytes_read"] == metrics["bytes_total"] == 10 * LINES


def test_31_a_run_that_follows_goes_on_with_what_came_meanwhile(squall: Squall) -> None:
    log = squall.folder / "app.log"
    log.write_text("1\n2\n")
    text = COPYING.format(spout=f"FileSpout({str(log)!r}, follow=True)", tasks=1, folder=str(squall.folder))
    first = squall.run(text)
    wait_until(lambda: seen(squall) == [1, 2], what="the first lines")
    first.interrupt()
    assert first.end() == 0, first.err
    with log.open("a") as file:
        file.write("3\n")
    second = squall.run(text)
    wait_until(lambda: seen(squall) == [1, 2, 3], what="what came meanwhile")
    second.interrupt()
    assert second.end() == 0, second.err
    log.unlink()
    third = squall.run(text)
    wait_until(lambda: "code: file_gone" in third.err, what="a word on the file that is gone")
    third.interrupt()
    assert third.end() == 0, third.err


def test_files_that_are_not_there_fail_the_run_in_plain_words(squall: Squall) -> None:
    run = start(squall)
    assert run.end() == 1
    assert f'no file matches "{squall.folder}/in/*"' in run.err
    assert "follow=True" in run.err
    assert "Traceback" not in run.err.partition("code: file_not_found")[2]
