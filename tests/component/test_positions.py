"""Semantics 31: a run goes on where the last one stopped, whatever ended it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .conftest import Running, Squall, wait_until

TOPOLOGY = """
    from pathlib import Path
    from squall import Exhausted, Spout, Topology
    from squall.connectors.files import FileSink

    HERE = Path({folder!r})

    class Numbers(Spout):
        outputs = ("n",)
        rate_per_s = {rate}

        def open(self, context):
            self.first = self.next = 0

        def seek(self, position):
            if position == b"bad":
                raise ValueError("no such place")
            self.first = self.next = int(position)

        def next_batch(self, limit):
            if self.next >= {end}:
                raise Exhausted
            rows = list(range(self.next, min(self.next + limit, {end})))
            self.next += len(rows)
            return rows

        def position(self):
            return b"%d" % (self.first + self.context.ended_prefix())

        def commit(self, position):
            with (HERE / "committed").open("ab") as file:
                file.write(position + b"\\n")

    topology = Topology("numbers")
    numbers = topology.spout("numbers", Numbers, parallelism={tasks})
    topology.bolt("out", FileSink(HERE / "out.txt")).shuffle(numbers)
"""


def text(squall: Squall, rate: float | None = 400, end: int = 10**9, tasks: int = 1) -> str:
    return TOPOLOGY.format(folder=str(squall.folder), rate=rate, end=end, tasks=tasks)


def committed(squall: Squall) -> list[int]:
    path = squall.folder / "committed"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def seen(squall: Squall) -> list[int]:
    return [int(line) for line in (squall.folder / "out.txt").read_text().split()]


def stored(squall: Squall) -> list[Path]:
    return [path for path in squall.state.glob("positions/numbers/*/*") if path.name.isdecimal()]


def stopped(squall: Squall, topology: str = "") -> Running:
    """A run that was interrupted after some of its numbers."""
    run = squall.run(topology or text(squall))
    wait_until(lambda: committed(squall), what="a commit")
    run.interrupt()
    assert run.end() == 0, run.err
    return run


@pytest.mark.parametrize("blocking", [False, True])
def test_31_an_interrupted_run_is_gone_on_with_exactly(squall: Squall, blocking: bool) -> None:
    topology = text(squall).replace('outputs = ("n",)', f'outputs = ("n",)\n        blocking = {blocking}')
    first = stopped(squall, topology).summary()["acked"]
    assert committed(squall)[-1] == first
    second = squall.run(topology.replace("rate_per_s = 400", "rate_per_s = None").replace(str(10**9), str(first + 500)))
    assert second.end() == 0, second.err
    assert seen(squall) == list(range(first + 500))
    assert second.event("resumed")["text"] == ("going on where the last run stopped: numbers; --from-start forgets")
    assert committed(squall)[-1] == first + 500
    assert stored(squall) == [], "a run that came to the end of its sources forgets"


def test_31_a_killed_run_repeats_what_had_ended_since_the_last_position(squall: Squall) -> None:
    run = squall.run(text(squall))
    wait_until(lambda: len(committed(squall)) >= 2, what="two commits")
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    (kept,) = stored(squall)
    at_least = committed(squall)[-1]
    end = max(seen(squall)) + 200
    second = squall.run(text(squall, rate=None, end=end))
    assert second.end() == 0, second.err
    numbers = seen(squall)
    assert sorted(set(numbers)) == list(range(end))
    repeated = len(numbers) - end
    assert 0 <= repeated <= end - at_least
    assert not kept.exists()


def test_31_from_start_forgets(squall: Squall) -> None:
    stopped(squall)
    (squall.folder / "out.txt").unlink()
    run = squall.run(text(squall, rate=None, end=100), "--from-start")
    assert run.end() == 0, run.err
    assert seen(squall) == list(range(100))
    assert run.events("resumed") == []


def test_31_a_timed_run_keeps_its_position(squall: Squall) -> None:
    run = squall.run(text(squall), "--for", "0.5s")
    assert run.end() == 0, run.err
    assert len(stored(squall)) == 1
    assert committed(squall)[-1] == run.summary()["acked"]


def refused(run: Running, code: str) -> str:
    assert run.end() in (1, 2)
    assert f"code: {code}" in run.err, run.err
    assert "squall run --from-start" in run.err
    assert run.events("progress") == []
    return run.err


def test_31_another_number_of_tasks_is_refused(squall: Squall) -> None:
    stopped(squall)
    err = refused(squall.run(text(squall, tasks=2)), "position_unmatched")
    assert "1 tasks" in err


def test_31_a_spout_that_is_gone_is_named(squall: Squall) -> None:
    stopped(squall)
    err = refused(squall.run(text(squall).replace('spout("numbers"', 'spout("others"')), "position_unmatched")
    assert '"numbers"' in err


def test_31_the_position_of_another_class_is_refused(squall: Squall) -> None:
    stopped(squall)
    err = refused(squall.run(text(squall).replace("Numbers", "Integers")), "position_unmatched")
    assert "stored by: Numbers" in err
    assert len(stored(squall)) == 1


def test_31_a_seek_that_raises_is_a_failed_start(squall: Squall) -> None:
    stopped(squall)
    err = refused(squall.run(text(squall).replace('position == b"bad"', "True")), "position_refused")
    assert "no such place" in err
    assert len(stored(squall)) == 1


def test_31_a_position_that_is_damaged_is_refused_by_its_file(squall: Squall) -> None:
    stopped(squall)
    (path,) = stored(squall)
    path.write_bytes(path.read_bytes()[:-9])
    err = refused(squall.run(text(squall)), "position_unreadable")
    assert str(path) in err


def test_31_two_runs_do_not_share_positions(squall: Squall) -> None:
    first = squall.run(text(squall))
    wait_until(lambda: committed(squall), what="a commit")
    second = squall.run(text(squall))
    assert second.end() == 1
    assert "code: positions_in_use" in second.err
    assert first.process.poll() is None


def test_31_what_position_and_commit_raise_is_reported_and_the_run_goes_on(squall: Squall) -> None:
    raising = text(squall).replace(
        'with (HERE / "committed")', 'raise OSError("no broker")\n            with (HERE / "x")'
    )
    run = squall.run(raising)
    wait_until(lambda: "where=commit" in run.err, what="the report")
    run.interrupt()
    assert run.end() == 0
    wrong = squall.run(text(squall).replace('return b"%d"', 'return "%d"'), "--from-start")
    wait_until(lambda: "code: position_invalid" in wrong.err, what="the report")
    wrong.interrupt()
    assert wrong.end() == 0


def test_31_a_position_that_cannot_be_stored_is_said_once_and_stored_when_it_can(squall: Squall) -> None:
    run = squall.run(text(squall))
    wait_until(lambda: committed(squall), what="a commit")
    folder = squall.state / "positions" / "numbers" / "numbers"
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.touch()
    wait_until(lambda: 'position of "numbers" cannot be stored' in run.err, what="the news")
    wait_until(lambda: run.events("progress"), what="figures")
    emitted = run.events("progress")[-1]["emitted"]
    wait_until(lambda: run.events("progress")[-1]["emitted"] > emitted + 800, what="two more seconds")
    assert run.err.count("cannot be stored") == 1
    folder.unlink()
    aside.rename(folder)
    run.interrupt()
    assert run.end() == 0
    assert committed(squall)[-1] == run.summary()["acked"]
