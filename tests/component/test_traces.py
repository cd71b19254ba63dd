"""Traces of real lives: what they hold, and that the laws hold on them."""

from __future__ import annotations

import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from squall import Bolt, DropTuple, Exhausted, Spout, Topology, TopologyContext, Tuple
from squall.testing import Faults, LocalCluster
from squall.trace import Life, check, lives_in
from squall.trace.notes import ACKED, DEAD, FAILED, Ended, Note, Opened, Taken

from .conftest import Squall, wait_until
from .over_workers import count, kept, kill, with_keep

EVERY_WAY = """
    import asyncio

    def numbers():
        for n in range(0, 3000, 5):
            yield [n, n + 1, n + 2, n + 3, n + 4]

    class Pairs(Bolt):
        outputs = ("n",)
        manual_ack = True

        def open(self, context):
            self.waiting = []

        def process(self, tup: Tuple):
            self.waiting.append(tup)
            if len(self.waiting) == 4:
                self.drain()

        def drain(self):
            for tup in self.waiting:
                self.emit(tup["n"], anchors=[tup, self.waiting[0]] if tup is not self.waiting[0] else [tup])
            self.ack(*self.waiting)
            self.waiting = []

    class Rows(Bolt):
        outputs = ("n",)

        def process_batch(self, n):
            return [[value] for value in n]

    class Async(Bolt):
        outputs = ("n",)

        async def process(self, n: int):
            await asyncio.sleep(0.001)
            return n

    class Blocking(Bolt):
        outputs = ("n",)
        blocking = True

        def process(self, n: int):
            yield n

    class Odd(Bolt):
        outputs = ("n",)
        retries = 1

        def open(self, context):
            self.seen = set()

        def process(self, n: int):
            if n % 10 == 7:
                raise DropTuple
            if n == 1001:
                raise ValueError("never")
            if n % 100 == 0 and n not in self.seen:
                self.seen.add(n)
                raise ValueError("once")
            return n

    topology = Topology("every-way")
    source = topology.spout("numbers", numbers, outputs=("n",))
    bolts = [topology.bolt(made.__name__.lower(), made, parallelism=3).shuffle(source)
             for made in (Pairs, Rows, Async, Blocking, Odd)]
    sink = topology.bolt("keep", Keep, parallelism=3)
    for bolt in bolts:
        sink.fields(bolt, "n")
"""


def traces(folder: Path) -> list[Life]:
    """The lives of the one run that wrote traces there."""
    (run,) = folder.iterdir()
    return lives_in(run)


def notes(lives: list[Life], kind: type[Note]) -> list[Any]:
    """The notes of a kind in all lives."""
    return [note for life in lives for block in life.blocks() for note in block.notes if isinstance(note, kind)]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_way_of_a_tuple_is_traced(squall: Squall, workers: int) -> None:
    folder = squall.folder / "traces"
    run = squall.run(with_keep(squall, EVERY_WAY), "-w", workers, "-c", f"topology.trace.dir={folder}")
    assert run.end() == 0, run.err
    lives, summary = traces(folder), run.summary()
    assert [life.worker for life in lives] == list(range(1, workers + 1))
    assert check(lives) == []
    ends = Counter(note.how for note in notes(lives, Ended))
    assert len(notes(lives, Opened)) == summary["emitted"]
    assert ends == {ACKED: summary["acked"], FAILED: summary["failed"] - summary["dead"], DEAD: summary["dead"]}
    assert max(note.together for note in notes(lives, Taken)) > 1


def test_a_life_that_is_killed_has_traced_whatever_others_saw_of_it(squall: Squall) -> None:
    """Semantics 19, 20."""
    folder = squall.folder / "traces"
    numbers = """
    def numbers():
        yield from range(60_000)

    topology = Topology("killed")
    twice = topology.bolt("twice", lambda n: n, outputs=("n",), parallelism=3)
    twice.shuffle(topology.spout("numbers", numbers, outputs=("n",)))
    topology.bolt("keep", Keep, parallelism=3).fields(twice, "n")
    """
    run = squall.run(with_keep(squall, numbers), "-w", 3, "-c", f"topology.trace.dir={folder}")
    for worker in (2, 1):
        before = sum(1 for _ in kept(squall))
        wait_until(lambda before=before: sum(1 for _ in kept(squall)) > before + 1000, what="more rows")
        kill(run, worker)
    assert run.end() == 0, run.err
    assert set(count(squall)) == set(range(60_000))
    lives = traces(folder)
    assert len(lives) == 5
    assert check(lives) == []
    assert FAILED in {note.how for note in notes(lives, Ended)}


def test_a_trace_stops_at_its_limit_and_says_so(squall: Squall) -> None:
    folder = squall.folder / "traces"
    options = ("-c", f"topology.trace.dir={folder}", "-c", "topology.trace.max.bytes=50000")
    run = squall.run(with_keep(squall, EVERY_WAY), "-w", 2, *options)
    assert run.end() == 0, run.err
    lives = traces(folder)
    assert [life.cut for life in lives] == ["it had become as long as it may be"] * 2
    assert all(path.stat().st_size <= 50_000 for path in folder.glob("*/*"))
    assert check(lives) == []


def test_a_trace_that_may_not_be_written_any_more_says_so(squall: Squall) -> None:
    """Also where not a byte may be written: others' traces of what came from there would break a law."""
    folder = squall.folder / "traces"
    numbers = """
    import pathlib

    from squall import Topology

    def numbers():
        n = 0
        while not pathlib.Path("stop").exists():
            yield (n := n + 1)

    topology = Topology("mute")
    twice = topology.bolt("twice", lambda n: n, outputs=("n",), parallelism=2)
    twice.shuffle(topology.spout("numbers", numbers, outputs=("n",)))
    topology.bolt("end", lambda n: None, parallelism=2).fields(twice, "n")
    """
    run = squall.run(numbers, "-w", 2, "-c", f"topology.trace.dir={folder}")
    pid = run.event("started")["workers"][0]["pid"]
    wait_until(lambda: sum(path.stat().st_size > 10_000 for path in folder.glob("*/*")) == 2, what="traces")
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
    wait_until(lambda: traces(folder)[0].cut, what="a mark")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
    (squall.folder / "stop").touch()
    assert run.end() == 0, run.err
    assert check(traces(folder)) == []


def test_a_trace_that_cannot_be_written_stops_nothing(squall: Squall) -> None:
    (squall.folder / "file").touch()
    run = squall.run(with_keep(squall, EVERY_WAY), "-c", f"topology.trace.dir={squall.folder / 'file'}")
    assert run.end() == 0, run.err


def test_a_block_that_was_being_written_is_none(squall: Squall) -> None:
    folder = squall.folder / "traces"
    assert squall.run(with_keep(squall, EVERY_WAY), "-c", f"topology.trace.dir={folder}").end() == 0
    (path,) = folder.glob("*/*")
    data = path.read_bytes()
    whole = [block.notes for block in Life.of_bytes(data).blocks()]
    for cut in (1, 19, 21):
        assert [block.notes for block in Life.of_bytes(data[:-cut]).blocks()] == whole[:-1]
    with pytest.raises(ValueError, match="no trace of a worker"):
        Life.of_bytes(data[1:])


class Lines(Spout):
    outputs = ("line",)

    def open(self, context: TopologyContext) -> None:
        self.left = [f"a{number} b{number % 7} c" for number in range(60)]

    def next_tuple(self) -> str:
        if not self.left:
            raise Exhausted
        return self.left.pop()


class Some(Bolt):
    manual_ack = True

    def process(self, tup: Tuple) -> None:
        if tup.attempt == 1 and tup["word"] == "b3":
            self.fail(tup)
        elif tup["word"] == "b4":
            raise DropTuple
        else:
            self.ack(tup)


@pytest.mark.parametrize("seed", range(10))
def test_the_laws_hold_in_simulated_lives(tmp_path: Path, seed: int) -> None:
    topology = Topology("lines")
    words = topology.bolt("split", lambda line: line.split(), outputs=("word",), parallelism=3).shuffle(
        topology.spout("lines", Lines)
    )
    topology.bolt("some", Some, parallelism=3).fields(words, "word")
    faults = Faults(crash=0.05, drop=0.05, slow=0.05, delay=0.05, corrupt=0.05, most=6)
    with LocalCluster(
        topology, workers=3, faults=faults, seed=seed, settings={"topology.trace.dir": str(tmp_path)}
    ) as cluster:
        cluster.finish()
    lives = traces(tmp_path)
    assert len(notes(lives, Opened)) >= 60
    assert check(lives) == []
