"""One topology over several workers: what it does is what it does in one."""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from .conftest import Squall, wait_until
from .over_workers import count, kept, letters, pid, with_keep

GROUPINGS = """
    class Third(Grouping):
        def prepare(self, context, stream, tasks):
            self.tasks = tasks

        def choose(self, source_task, values):
            return [self.tasks[values[0] % 3]]

    class Numbers(Spout):
        outputs = ("n", "key", "pid")
        streams = {"direct": Fields(("n", "key", "pid"), direct=True)}

        def open(self, context):
            self.numbers = iter(range(context.task_index, 600, context.task_count))
            self.tasks = context.tasks("direct")

        def next_tuple(self):
            if (n := next(self.numbers, None)) is None:
                raise Exhausted
            self.emit(n, f"key{n % 20}", os.getpid(), id=n)
            self.emit(n, f"key{n % 20}", os.getpid(), id=n + 1000, stream="direct", task=self.tasks[n % 4])

    class Record(Bolt):
        def open(self, context):
            self.place = context.component, context.task_index, context.task_count

        def process(self, n: int, key: str, pid: int):
            keep(*self.place, n, key, pid, os.getpid())

    topology = Topology("groupings")
    numbers = topology.spout("numbers", Numbers, parallelism=4)
    bolt = lambda name: topology.bolt(name, Record, parallelism=4)
    bolt("shuffle").shuffle(numbers)
    bolt("fields").fields(numbers, "key")
    bolt("partial").partial_key(numbers, "key")
    bolt("all").all(numbers)
    bolt("global").global_(numbers)
    bolt("none").none(numbers)
    bolt("direct").direct(numbers["direct"])
    bolt("custom").custom(numbers, Third())
    bolt("local").local_or_shuffle(numbers)
"""


@pytest.mark.parametrize("workers", [2, 4])
def test_groupings_are_exact_over_workers(squall: Squall, workers: int) -> None:
    """Each grouping gives every tuple to the tasks that it says, wherever they are."""
    run = squall.run(with_keep(squall, GROUPINGS), "-w", workers)
    assert run.end() == 0, run.err
    rows: dict[str, list[Any]] = defaultdict(list)
    tasks: dict[tuple[str, str], set[int]] = defaultdict(set)
    for name, task, _, n, key, source, target in kept(squall):
        rows[name].append((n, task, source, target))
        tasks[name, key].add(task)
    for name in ("shuffle", "fields", "partial", "global", "none", "direct", "custom", "local"):
        assert sorted(n for n, *_ in rows[name]) == list(range(600)), name
    assert Counter(n for n, *_ in rows["all"]) == dict.fromkeys(range(600), 4)
    assert {(n, task) for n, task, *_ in rows["all"]} == {(n, task) for n in range(600) for task in range(4)}
    assert {task for _, task, *_ in rows["global"]} == {0}
    assert all(task == n % 4 for n, task, *_ in rows["direct"])
    assert all(task == n % 3 for n, task, *_ in rows["custom"])
    assert all(source == target for *_, source, target in rows["local"])
    assert all(len(tasks["fields", f"key{n}"]) == 1 for n in range(20))
    assert all(len(tasks["partial", f"key{n}"]) <= 2 for n in range(20))
    for name in ("shuffle", "none", "fields", "partial"):
        assert len({target for *_, target in rows[name]}) == workers, name
    summary = run.summary()
    assert (summary["emitted"], summary["acked"], summary["failed"]) == (1200, 1200, 0)
    assert "approximate" not in summary


WAYS = """
    import asyncio

    def numbers():
        for n in range(0, 1000, 5):
            yield [n, n + 1, n + 2, n + 3, n + 4]

    class Manual(Bolt):
        outputs = ("n",)
        manual_ack = True

        def open(self, context):
            self.waiting = []

        def process(self, tup: Tuple):
            self.waiting.append(tup)
            if len(self.waiting) == 4:
                self.flush()

        def flush(self):
            for tup in self.waiting:
                self.emit(tup["n"], anchors=[tup])
                self.ack(tup)
            self.waiting.clear()

        def drain(self):
            self.flush()

    class Batched(Bolt):
        outputs = ("n",)
        batch_max = 32

        def process_batch(self, n: list):
            return [[one, one] if one % 2 else one for one in n]

    class Async(Bolt):
        outputs = ("n",)

        async def process(self, n: int):
            await asyncio.sleep(0.001 * (n % 3))
            return n

    class Blocking(Bolt):
        outputs = ("n",)
        blocking = True

        def process(self, n: int):
            return n

    class Pair(Bolt):
        "Joins both halves of a number; the output hangs on both roots."
        outputs = ("n",)
        manual_ack = True

        def open(self, context):
            self.half = {}

        def process(self, tup: Tuple):
            n = tup["n"]
            if n not in self.half:
                self.half[n] = tup
                return
            other = self.half.pop(n)
            self.emit(n, anchors=[tup, other])
            self.ack(tup, other)

        def drain(self):
            "What it waits for comes from another drain, so its own may be called."

    topology = Topology("ways")
    one = topology.spout("one", numbers, outputs=("n",))
    two = topology.spout("two", numbers, outputs=("n",))
    manual = topology.bolt("manual", Manual, parallelism=4).shuffle(one)
    waiting = topology.bolt("async", Async, parallelism=4).shuffle(manual)
    blocking = topology.bolt("blocking", Blocking, parallelism=4).shuffle(waiting)
    pair = topology.bolt("pair", Pair, parallelism=4).fields(blocking, "n").fields(two, "n")
    batched = topology.bolt("batched", Batched, parallelism=4).shuffle(pair)
    topology.bolt("keep", Keep, parallelism=4).shuffle(batched)
"""


@pytest.mark.parametrize("workers", [2, 4])
def test_every_kind_of_bolt_and_output_is_exact_over_workers(squall: Squall, workers: int) -> None:
    """Manual acks, joins of two roots, batches, async and blocking bolts, generators that give lists."""
    run = squall.run(with_keep(squall, WAYS), "-w", workers)
    assert run.end() == 0, run.err
    assert count(squall) == {n: 1 + n % 2 for n in range(1000)}
    summary = run.summary()
    assert (summary["emitted"], summary["acked"], summary["failed"]) == (2000, 2000, 0)


LOOP = """
    class Steps(Bolt):
        outputs = ("n", "left")

        def process(self, n: int, left: int):
            if left:
                return n, left - 1
            keep(n)

    topology = Topology("loop")
    numbers = topology.spout("numbers", lambda: ((n, n % 7) for n in range(3000)), outputs=("n", "left"))
    one = topology.bolt("one", Steps, parallelism=4).shuffle(numbers)
    two = topology.bolt("two", Steps, parallelism=4).shuffle(one)
    one.shuffle(two)
"""


@pytest.mark.parametrize("workers", [2, 4])
def test_loops_over_workers_end(squall: Squall, workers: int) -> None:
    """Semantics 26. Credit and high-water marks do not lock up what goes round."""
    run = squall.run(with_keep(squall, LOOP), "-w", workers)
    assert run.end() == 0, run.err
    assert count(squall) == dict.fromkeys(range(3000), 1)


MANY = """
    EACH = 550_000

    def fan(n: int):
        for i in range(EACH):
            yield n

    class Hold(Bolt):
        "Acks tuples of two roots in turn, so that no two acks merge, and all in one call."
        manual_ack = True

        def open(self, context):
            self.held = {0: [], 1: []}

        def process(self, tup: Tuple):
            held = self.held[tup["n"]]
            held.append(tup)
            if all(len(held) == EACH for held in self.held.values()):
                for one, other in zip(self.held[0], self.held[1]):
                    self.ack(one)
                    self.ack(other)
                self.held.clear()

    topology = Topology("many")
    numbers = topology.spout("numbers", lambda: iter(range(2)), outputs=("n",))
    fanned = topology.bolt("fan", fan, outputs=("n",)).shuffle(numbers)
    topology.bolt("hold", Hold).shuffle(fanned)
"""


def test_more_acks_at_once_than_a_frame_holds_all_arrive(squall: Squall) -> None:
    """16 bytes each, over a million of them."""
    run = squall.run(with_keep(squall, MANY), "-w", 2, "-c", "topology.message.timeout.secs=600")
    assert run.end(120) == 0, run.err
    summary = run.summary()
    assert (summary["acked"], summary["failed"]) == (2, 0)


LARGE = """
    import asyncio

    def fan(n: int):
        for i in range(ROWS):
            yield b"x" * SIZE
            keep(i)

    class Slow(Bolt):
        "Waits outside of the loop, so that its worker goes on taking in what comes."
        max_in_flight = 1

        async def process(self, data: bytes):
            while not (FOLDER / "go").exists():
                await asyncio.sleep(0.01)

    topology = Topology("large")
    numbers = topology.spout("numbers", lambda: iter(range(1)), outputs=("n",))
    fanned = topology.bolt("fan", fan, outputs=("data",)).shuffle(numbers)
    topology.bolt("slow", Slow).shuffle(fanned)
"""


def memory_mib(process: int, what: str) -> int:
    """What a process has (`VmRSS`), or has had at most (`VmHWM`)."""
    return int(re.findall(rf"{what}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())[0]) >> 10


@pytest.mark.parametrize(("rows", "size_mib", "most_mib"), [(400, 1, 40), (40, 14, 100)])
def test_large_rows_before_a_slow_bolt_of_another_worker_are_bounded(
    squall: Squall, rows: int, size_mib: int, most_mib: int
) -> None:
    """Semantics 25. A root that grows: its rows wait where they are made, and few of them on the way. Over all rows it
    would be 400 and 560 MiB."""
    text = LARGE.replace("ROWS", str(rows)).replace("SIZE", str(size_mib << 20))
    run = squall.run(with_keep(squall, text), "-w", 2, "-c", "topology.message.timeout.secs=600")
    processes = [pid(run, worker) for worker in (1, 2)]
    before = [memory_mib(process, "VmRSS") for process in processes]
    last, since_s = 0, time.monotonic()

    def stands_still() -> bool:
        nonlocal last, since_s
        if (now := count(squall).total()) != last or not now:
            last, since_s = now, time.monotonic()
        return time.monotonic() - since_s > 1.0

    wait_until(stands_still, what="that no more rows are made")
    assert last < rows / 4
    grown = [memory_mib(process, "VmHWM") - had for process, had in zip(processes, before, strict=True)]
    assert max(grown) < most_mib, grown
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    assert run.summary()["acked"] == 1


DRAINS = """
    class Sum(Bolt):
        outputs = ("n",)

        def open(self, context):
            self.sum = 0
            self.drained = False

        def process(self, n: int):
            assert not self.drained, "a tuple came after drain"
            self.sum += n

        def drain(self):
            self.drained = True
            return self.sum

    class Ticking(Bolt):
        tick_every = 0.01
        outputs = ("n",)

        def open(self, context):
            self.place = context.task_index

        def process(self, n: int):
            pass

        def tick(self):
            keep("tick", self.place)

    def numbers():
        yield from range(2000)
        while not len({tuple(json.loads(line)) for p in FOLDER.glob("kept-*") for line in open(p)}) == 4:
            yield None

    topology = Topology("drains")
    numbers = topology.spout("numbers", numbers, outputs=("n",))
    topology.bolt("ticking", Ticking, parallelism=4).shuffle(numbers)
    parts = topology.bolt("parts", Sum, parallelism=4).shuffle(numbers)
    sums = topology.bolt("sums", Sum, parallelism=4).shuffle(parts)
    total = topology.bolt("total", Sum).shuffle(sums)
    topology.bolt("keep", lambda n: keep("sum", n)).shuffle(total)
"""


@pytest.mark.parametrize("workers", [2, 4])
def test_drains_go_down_the_graph_over_workers(squall: Squall, workers: int) -> None:
    """Semantics 35. What one `drain()` emits is processed below before that component's own; ticks come everywhere."""
    run = squall.run(with_keep(squall, DRAINS), "-w", workers)
    assert run.end() == 0, run.err
    assert [n for kind, n in kept(squall) if kind == "sum"] == [sum(range(2000))]
    assert {task for kind, task in kept(squall) if kind == "tick"} == {0, 1, 2, 3}
    assert run.summary()["failed"] == 0


FAILS = """
    class Fails(Bolt):
        outputs = ("n",)

        def process(self, n: int):
            tries = FOLDER / f"tries-{n}"
            with open(tries, "a") as file:
                file.write(".")
            if n == 1:
                raise LookupError("no such thing", n)
            if n == 2:
                raise DropTuple("not wanted")
            if n == 3:
                raise DeadLetter("poison")
            if n == 4 and len(tries.read_text()) < 6:
                raise RetryTuple("later", counts=False)
            if n == 5 and len(tries.read_text()) < 3:
                raise ValueError("not yet")
            if n == 7:
                return n, n
            return n

    topology = Topology("fails")
    numbers = topology.spout("numbers", lambda: iter(range(10)), outputs=("n",))
    passed = topology.bolt("pass", lambda n: n, outputs=("n",)).shuffle(numbers)
    fails = topology.bolt("fails", Fails, retries=2).shuffle(passed)
    topology.bolt("keep", Keep).shuffle(fails)
"""


SAME_IN_LETTERS = ("component", "task", "error", "attempts", "source", "stream", "input", "spout", "root", "replayable")


def test_failures_in_another_worker_are_those_of_one(tmp_path: Path) -> None:
    """Semantics 8, 11. Retries, dead letters with values, traceback and attempts, drops: the spout's worker decides."""
    seen: list[Any] = []
    for workers in (1, 4):
        folder = tmp_path / str(workers)
        folder.mkdir()
        squall = Squall(folder)
        run = squall.run(with_keep(squall, FAILS), "-w", workers)
        assert run.end() == 0, run.err
        assert sorted(count(squall)) == [0, 4, 5, 6, 8, 9]
        summary, found = run.summary(), letters(squall, "fails")
        seen.append(
            (
                {path.name: len(path.read_text()) for path in folder.glob("tries-*")},
                [summary[key] for key in ("emitted", "acked", "failed", "dead")],
                summary["components"]["fails"]["dropped"],
                sorted(json.dumps([letter[key] for key in SAME_IN_LETTERS]) for letter in found),
                sorted(letter["traceback"] for letter in found),
            )
        )
    one, four = seen
    assert "raise LookupError" in "".join(one[-1])
    assert one[-1] == [text.replace(str(tmp_path / "4"), str(tmp_path / "1")) for text in four[-1]]
    assert one[:-1] == four[:-1]


UNSENDABLE = """
    class Odd(Bolt):
        outputs = ("n",)

        def process(self, n: int):
            return (object() if n == 3 else lambda: None,) if n in (3, 5) else n

    topology = Topology("unsendable")
    numbers = topology.spout("numbers", lambda: iter(range(8)), outputs=("n",))
    odd = topology.bolt("odd", Odd, retries=1).shuffle(numbers)
    topology.bolt("keep", lambda n: keep(n if isinstance(n, int) else "any")).shuffle(odd)
    topology.bolt("also", lambda n: None).shuffle(odd)
"""


def test_what_cannot_be_sent_fails_where_it_was_emitted(squall: Squall) -> None:
    """The error names component, stream and field; the rest goes on."""
    run = squall.run(with_keep(squall, UNSENDABLE), "-w", 3)
    assert run.end() == 0, run.err
    assert sorted(n for n in count(squall) if n != "any") == [0, 1, 2, 4, 6, 7]
    found = letters(squall, "unsendable")
    assert sorted((letter["component"], letter["input"]["n"], letter["attempts"]) for letter in found) == [
        ("odd", 3, 2),
        ("odd", 5, 2),
    ]
    for letter in found:
        assert all(part in letter["error"] for part in ('"odd"', '"n"')), letter["error"]


POISON = """
    class Batched(Bolt):
        batch_max = 50
        batch_wait = 0.2

        def process_batch(self, n: list):
            if 77 in n:
                raise ValueError("poison")
            keep(*n)

    topology = Topology("poison")
    numbers = topology.spout("numbers", lambda: iter(range(200)), outputs=("n",))
    topology.bolt("batched", Batched, retries=1).shuffle(numbers)
"""


def test_poison_in_a_batch_of_another_worker_dies_alone(squall: Squall) -> None:
    """Semantics 10. What failed with it is tried alone, and only then attempts count."""
    run = squall.run(with_keep(squall, POISON), "-w", 2)
    assert run.end() == 0, run.err
    assert sorted(n for values in kept(squall) for n in values) == [n for n in range(200) if n != 77]
    (letter,) = letters(squall, "poison")
    assert (letter["root"], letter["attempts"]) == ({"n": 77}, 2)
    assert run.summary()["dead"] == 1


SAYING = """
    import logging
    log = logging.getLogger("says")

    def says(name):
        def process(n):
            print(f"printed by {name}.")
            log.warning(f"logged by {name}.")
            return n
        return process

    topology = Topology("saying")
    last = topology.spout("numbers", lambda: iter(range(3)), outputs=("n",))
    for name in ("a", "b", "c"):
        last = topology.bolt(name, says(name), outputs=("n",)).shuffle(last)
"""


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_what_is_printed_and_logged_is_of_the_component_that_ran(squall: Squall, workers: int) -> None:
    """Also in workers that have some of the components only."""
    run = squall.run(with_keep(squall, SAYING), "-w", workers)
    assert run.end() == 0, run.err
    said = re.findall(r"component=(\S+) task=\d+ worker=\d+ logger=\S+ \S+ by (\S+)\.", run.err)
    assert Counter(said) == {(name, name): 6 for name in "abc"}, run.err
    assert run.summary()["failed"] == 0


LOOKED_AT = """
    import logging
    log = logging.getLogger("looked")

    def numbers():
        n = 0
        while not (FOLDER / "end").exists():
            yield (n := n + 1)

    class Work(Bolt):
        outputs = ("n", "pid")

        def process(self, n: int):
            log.debug("worked in %d.", os.getpid())
            time.sleep(0.001)
            return n, os.getpid()

    topology = Topology("looked")
    numbers = topology.spout("numbers", numbers, outputs=("n",))
    work = topology.bolt("work", Work, parallelism=2).shuffle(numbers)
    topology.bolt("last", lambda n, pid: None).shuffle(work)
"""


def test_commands_reach_all_workers(squall: Squall) -> None:
    """Semantics 28. `tap`, `stacks`, `log-level` and `metrics` are of the whole topology."""
    run = squall.run(with_keep(squall, LOOKED_AT), "-w", 2)
    pids = {pid(run, 1), pid(run, 2)}
    tap = squall.start("tap", "work", "--json")

    def tapped() -> set[int]:
        lines = [line for line in tap.out.splitlines(keepends=True) if line.endswith("\n")]
        return {json.loads(line)["values"]["pid"] for line in lines}

    wait_until(lambda: tapped() == pids, what="rows of both workers")
    stacks = squall.done("stacks", "looked").out
    assert stacks.count("in _through_stages") == 2, "the loops of both workers"
    assert squall.done("log-level", "looked", "looked=DEBUG").process.returncode == 0
    wait_until(lambda: all(f"worked in {one}." in run.err for one in pids), what="log lines of both workers")

    def figures() -> dict[str, Any]:
        return json.loads(squall.done("metrics", "looked", "--json").out.splitlines()[-1])["components"]

    wait_until(lambda: figures()["work"]["executed"] and figures()["numbers"]["acked"], what="reports of both workers")
    (squall.folder / "end").touch()
    assert run.end() == 0, run.err
    summary = run.summary()
    assert summary["components"]["work"]["executed"] == summary["emitted"]


BLOCKING = """
    def numbers():
        for n in range(200):
            if n == 100:
                (FOLDER / "blocks").touch()
                while not (FOLDER / "go").exists():
                    time.sleep(0.01)
            yield n

    topology = Topology("blocking")
    numbers = topology.spout("numbers", numbers, outputs=("n",))
    topology.bolt("keep", Keep).shuffle(numbers)
"""


def test_run_tells_how_it_stands_while_its_first_worker_hangs(squall: Squall) -> None:
    run = squall.run(with_keep(squall, BLOCKING), "-w", 2)
    wait_until(lambda: (squall.folder / "blocks").exists(), what="that the first worker hangs")
    before = len(run.events("progress"))
    wait_until(lambda: len(run.events("progress")) > before + 2, what="more progress")
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    assert set(count(squall)) == set(range(200))
