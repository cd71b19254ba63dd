"""What it costs and brings to spread over workers: `python -m benchmarks.workers [--quick] [--json]`.

Topologies run as their users run them, by `squall run -w N`. W1 is acked, one call a tuple: each worker has its own
spout and split, and half of the words are counted in the other one. The same graph in one worker is run directly before
or after, so what others on the machine do strikes both; pairs that had the machine to themselves are told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squall import Bolt, Spout, Topology
from squall.connectors.tcp import TcpSpout

from benchmarks import workloads as w
from benchmarks.codec import codec_ns_per_tuple

ROOT = Path(__file__).parents[1]
FILE = "from benchmarks import workers\ntopology = workers.{made}\n"
FREE_SHARE = 0.05
"""What others may take of the machine in a run that counts as undisturbed."""
HOPS_PER_S = 1000
MUSTS = {
    "w1_two_workers_speedup": "≥ 1.35",
    "w1_cross_cpu_ratio": "≤ 1.3",
    "codec_ns_per_tuple": "≤ 90",
    "hop_p50_us": "≤ 60",
    "hop_p99_us": "≤ 300",
    "worker_ready_s": "< 0.5",
    "recovery_s": "≤ 2",
    "idle_worker_core_share": "< 0.02",
}
UNITS = {
    "w1_two_workers_speedup": "W1: words a second of two workers over one",
    "w1_cross_cpu_ratio": "W1: CPU a word in two workers, half of the words crossing, over one",
    "codec_ns_per_tuple": "(word, count) with ids there and back, 128 a frame, ns a tuple",
    "codec_pickle_ns_per_tuple": "the same by `pickle`, ns a tuple",
    "hop_p50_us": "a hop between workers at 1,000 a second, emit to call, median, µs",
    "hop_p99_us": "the same, 99th percentile, µs",
    "worker_ready_s": "start of a worker's process to `ready`, median, s",
    "recovery_s": "`kill -9` of a worker to the last lost tuple emitted again, median, s",
    "idle_worker_core_share": "share of a core that an idle worker with a link takes",
}


# -- what runs in the workers ------------------------------------------------------------------------------------


def note(folder: str, kind: str, fact: object) -> None:
    """Leaves a fact for the benchmark, which is in another process."""
    path = Path(folder) / f"{kind}-{os.getpid()}-{time.monotonic_ns()}"
    path.write_text(json.dumps(fact), encoding="utf-8")


class TimedSentences(w.Sentences):
    """The source of W1, which notes when it began, when its last sentence was acked, and what that took."""

    def __init__(self, n: int, folder: str) -> None:
        super().__init__(n)
        self.folder, self.began_s, self.began_cpu_s, self.ended_s = folder, 0.0, 0.0, 0.0

    def next_tuple(self) -> None:
        if not self.i:
            self.began_s, self.began_cpu_s = time.monotonic(), time.process_time()
        super().next_tuple()

    def ack(self, i: int) -> None:
        self.acked += 1
        if self.acked == self.n:
            self.ended_s = time.monotonic()

    def close(self) -> None:
        facts = {"began_s": self.began_s, "ended_s": self.ended_s, "pid": os.getpid()}
        note(self.folder, "spout", facts | {"began_cpu_s": self.began_cpu_s, "cpu_s": time.process_time()})


class ToldCount(w.Count):
    """The counter of W1, which notes what it has counted."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def close(self) -> None:
        note(self.folder, "counts", self.counts)


def words(n: int, folder: str) -> Topology:
    """W1 of `n` sentences for each of two spouts."""
    topology = Topology("words")
    sentences = topology.spout("sentences", lambda: TimedSentences(n, folder), parallelism=2)
    split = topology.bolt("split", w.SplitList, parallelism=2).local_or_shuffle(sentences)
    topology.bolt("count", lambda: ToldCount(folder), parallelism=2).fields(split, "word")
    return topology


class Stamps(Spout):
    """The time, so often a second."""

    outputs = ("sent_ns",)
    rate_per_s = HOPS_PER_S

    def next_tuple(self) -> int:
        return time.monotonic_ns()


class Arrivals(Bolt):
    """How long each stamp took."""

    def __init__(self, folder: str) -> None:
        self.folder, self.took_ns = folder, []

    def process(self, sent_ns: int) -> None:
        self.took_ns.append(time.monotonic_ns() - sent_ns)

    def close(self) -> None:
        note(self.folder, "hops", self.took_ns)


def hops(folder: str) -> Topology:
    """A spout and a bolt, each in a worker of its own."""
    topology = Topology("hops")
    topology.bolt("arrivals", lambda: Arrivals(folder)).shuffle(topology.spout("stamps", Stamps))
    return topology


class Numbers(Spout):
    """Numbers as fast as they go; those that failed again, and when that was."""

    outputs = ("number",)

    def __init__(self, folder: str) -> None:
        self.folder, self.number = folder, 0
        self.failed: deque[int] = deque()
        self.again_s: list[float] = []

    def next_tuple(self) -> None:
        if self.failed:
            self.again_s.append(time.monotonic())
            self.emit(number := self.failed.popleft(), id=number)
            return
        self.number += 1
        self.emit(self.number, id=self.number)

    def ack(self, number: int) -> None:
        pass

    def fail(self, number: int) -> None:
        self.failed.append(number)

    def close(self) -> None:
        note(self.folder, "again", self.again_s)


def replays(folder: str) -> Topology:
    """A spout and a bolt, each in a worker of its own; the bolt's is to be killed."""
    topology = Topology("replays", settings={"topology.max.spout.pending": 2000})
    topology.bolt("sink", w.Sink).shuffle(topology.spout("numbers", lambda: Numbers(folder), outputs=("x",)))
    return topology


def waits() -> Topology:
    """Workers that have nothing to do."""
    topology = Topology("waits")
    lines = topology.spout("lines", TcpSpout.listen("127.0.0.1:0"))
    topology.bolt("sink", lambda line: None, parallelism=2).shuffle(lines)
    return topology


# -- what runs here ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What the processors had done at a moment, in seconds."""

    at_s: float
    busy_s: float

    @classmethod
    def now(cls) -> Machine:
        ticks = [int(one) for one in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
        idle = ticks[3] + ticks[4]
        return cls(time.monotonic(), (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"))


class Running:
    """A topology that is being run by `squall run`; its events, each with the time at which it was read."""

    def __init__(self, folder: Path, made: str, workers: int, *arguments: str) -> None:
        file = folder / "topology.py"
        file.write_text(FILE.format(made=made), encoding="utf-8")
        environment = os.environ | {"SQUALL_STORM_LOCAL_DIR": str(folder / "state"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "squall.cli", "run", str(file), "-w", str(workers), "--json", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        self._changed = threading.Condition()
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.events.append((time.monotonic(), json.loads(line)))
                self._changed.notify_all()

    def workers(self, state: str) -> list[tuple[float, dict[str, Any]]]:
        """When workers got into this state."""
        events = [one for one in self.events if one[1].get("event") == "worker" and one[1]["state"] == state]
        return list(events)

    def wait_for(self, state: str, count: int) -> list[tuple[float, dict[str, Any]]]:
        """Waits until so many workers (over all lives) have got into this state."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.workers(state)) >= count, 20), f"no {count} are {state}"
            return self.workers(state)

    def ready_s(self) -> list[float]:
        """How long each life of a worker took to be ready."""
        started = {event["pid"]: at for at, event in self.workers("started")}
        return [at - started[event["pid"]] for at, event in self.workers("ready")]

    def stop(self) -> None:
        """Has the run drained."""
        self._process.send_signal(signal.SIGTERM)
        self.end()

    def end(self) -> None:
        """Waits for the end of the run."""
        assert self._process.wait(60) == 0, self.events[-3:]
        self._reader.join()


def noted(folder: Path, kind: str) -> list[Any]:
    """The facts of a kind that the workers left."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{kind}-*"))]


@dataclass(frozen=True)
class Words:
    """One run of W1: seconds from the first emit to the last ack, CPU seconds of all workers, the share of the machine
    that others took."""

    wall_s: float
    cpu_s: float
    others: float
    ready_s: list[float]


def count_words(workers: int, n: int, expected: Counter[str]) -> Words:
    """Runs W1 and compares what was counted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Running(folder, f"words({n}, {name!r})", workers)
        run.wait_for("ready", workers)
        before = Machine.now()
        run.end()
        after = Machine.now()
        total: Counter[str] = Counter()
        for counts in noted(folder, "counts"):
            total.update(counts)
        assert total == expected, "a word was lost or counted twice"
        spouts = noted(folder, "spout")
        pids = {spout["pid"] for spout in spouts}
        assert len(pids) == workers
        cpu_s = sum(
            max(spout["cpu_s"] for spout in spouts if spout["pid"] == pid)
            - min(spout["began_cpu_s"] for spout in spouts if spout["pid"] == pid)
            for pid in pids
        )
        wall_s = max(spout["ended_s"] for spout in spouts) - min(spout["began_s"] for spout in spouts)
        machine_s = (after.at_s - before.at_s) * (os.cpu_count() or 1)
        others = max(0.0, after.busy_s - before.busy_s - cpu_s) / machine_s
        return Words(wall_s, cpu_s, others, run.ready_s())


def compare(pairs: int, n: int) -> tuple[dict[str, float], list[float]]:
    """W1 in two workers over W1 in one."""
    half = w.plain_w1(n)
    expected = Counter({word: 2 * count for word, count in half.items()})
    found: list[tuple[Words, Words]] = []
    for number in range(pairs):
        # The order changes, so that what grows or shrinks meanwhile counts for neither.
        order = (1, 2) if number % 2 else (2, 1)
        runs = {workers: count_words(workers, n, expected) for workers in order}
        one, two = runs[1], runs[2]
        found.append((one, two))
        say(
            f"  W1: {sum(expected.values()) / one.wall_s / 1e6:.2f} → {sum(expected.values()) / two.wall_s / 1e6:.2f} "
            f"M words/s, × {one.wall_s / two.wall_s:.2f}; CPU × {two.cpu_s / one.cpu_s:.2f}; "
            f"others {one.others:.0%}, {two.others:.0%}"
        )
    free = [pair for pair in found if max(pair[0].others, pair[1].others) < FREE_SHARE]
    counted = free if len(free) >= 3 else found
    speedups = [one.wall_s / two.wall_s for one, two in counted]
    figures = {
        "w1_two_workers_speedup": statistics.median(speedups),
        "w1_cross_cpu_ratio": statistics.median([two.cpu_s / one.cpu_s for one, two in counted]),
        "w1_speedup_lowest": min(speedups),
        "w1_speedup_highest": max(speedups),
        "w1_two_workers_words_per_s": sum(expected.values()) / min(two.wall_s for _, two in found),
        "w1_pairs": len(found),
        "w1_undisturbed_pairs": len(free),
        "w1_others_share": statistics.median([max(one.others, two.others) for one, two in counted]),
    }
    return figures, [s for one, two in found for s in (*one.ready_s, *two.ready_s)]


def hop(seconds: float) -> dict[str, float]:
    """How long a tuple is on its way to another worker at a low rate."""
    with tempfile.TemporaryDirectory() as name:
        run = Running(Path(name), f"hops({name!r})", 2)
        run.wait_for("ready", 2)
        time.sleep(seconds)
        run.stop()
        (took_ns,) = noted(Path(name), "hops")
    took_us = sorted(ns / 1000 for ns in took_ns[HOPS_PER_S // 5 :])
    assert len(took_us) > seconds * HOPS_PER_S / 2
    cuts = statistics.quantiles(took_us, n=100)
    return {"hop_p50_us": cuts[49], "hop_p99_us": cuts[98]}


def recovery(kills: int, apart_s: float) -> tuple[dict[str, float], list[float]]:
    """How long it takes after the death of a worker until all that was lost with it is emitted again."""
    with tempfile.TemporaryDirectory() as name:
        run = Running(Path(name), f"replays({name!r})", 2)
        run.wait_for("ready", 2)
        killed_s: list[float] = []
        for number in range(kills):
            time.sleep(apart_s)
            pid = [event["pid"] for _, event in run.wait_for("ready", 2 + number) if event["id"] == 2][-1]
            killed_s.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)
        run.wait_for("ready", 2 + kills)
        time.sleep(apart_s)
        run.stop()
        (again_s,) = noted(Path(name), "again")
        took_s: list[float] = []
        for at, until in zip(killed_s, [*killed_s[1:], float("inf")], strict=True):
            after = [one for one in again_s if at < one < until]
            assert after, "no tuple was lost"
            took_s.append(after[-1] - at)
        return {"recovery_s": statistics.median(took_s), "recovery_longest_s": max(took_s)}, run.ready_s()


def idle_share(seconds: float) -> float:
    """Share of a core that a worker takes which has a link and nothing to do."""
    with tempfile.TemporaryDirectory() as name:
        run = Running(Path(name), "waits()", 2)
        pids = [event["pid"] for _, event in run.wait_for("ready", 2)]
        time.sleep(1)
        before = [_cpu_s(pid) for pid in pids]
        time.sleep(seconds)
        used = [_cpu_s(pid) - cpu_s for pid, cpu_s in zip(pids, before, strict=True)]
        run.stop()
        return max(used) / seconds


def _cpu_s(pid: int) -> float:
    """CPU seconds of all threads, to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text(encoding="utf-8").split()[0]) for path in threads) / 1e9


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(*, quick: bool) -> dict[str, float]:
    """All figures."""
    with tempfile.TemporaryDirectory() as cache:
        # As where squall is installed: modules are compiled once, not by each process.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = cache
        return _measured(quick=quick)


def _measured(*, quick: bool) -> dict[str, float]:
    pairs, n, seconds = (4, 200_000, 2.0) if quick else (11, 300_000, 8.0)
    found: dict[str, float] = {}
    ready_s: list[float] = []

    def words_counted() -> dict[str, float]:
        figures, took_s = compare(pairs, n)
        ready_s.extend(took_s)
        return figures

    def recovered() -> dict[str, float]:
        figures, took_s = recovery(3 if quick else 9, 1.5)
        ready_s.extend(took_s)
        return figures

    def coded() -> dict[str, float]:
        return dict(zip(("codec_ns_per_tuple", "codec_pickle_ns_per_tuple"), codec_ns_per_tuple(), strict=True))

    parts: Sequence[tuple[str, Callable[[], dict[str, float]]]] = (
        ("the codec", coded),
        ("hops at a low rate", lambda: hop(seconds)),
        ("W1 in one worker and in two", words_counted),
        ("recovery of a killed worker", recovered),
        ("idling", lambda: {"idle_worker_core_share": idle_share(seconds)}),
    )
    for number, (what, part) in enumerate(parts, 1):
        say(f"[{number}/{len(parts)}] {what} …")
        found |= part()
    found["worker_ready_s"] = statistics.median(ready_s)
    for name, must in MUSTS.items():
        say(f"{name:24} {found[name]:9.3f}  must {must}")
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs, under 50 s")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    options = parser.parse_args()
    result = measure(quick=options.quick)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
