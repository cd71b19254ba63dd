"""Complete latency at a share of the highest rate; memory of a pending root; start-up; idling."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from squall import Spout, Topology

from benchmarks.harness import prepare
from benchmarks.workloads import MASK, PICK, Count, SplitList

SECONDS = 3.0


class Paced(Spout):
    """Sentences at a fixed rate, or as fast as they go."""

    outputs = ("sentence",)

    def __init__(self, rate_per_s: float | None) -> None:
        self.rate_per_s = rate_per_s  # type: ignore[misc]
        self.i = 0

    def next_tuple(self) -> str:
        self.i += 1
        return PICK[self.i & MASK]


@dataclass(frozen=True)
class Latency:
    """Complete latency at one rate."""

    load: str
    rate_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


def at_rate(load: str, rate_per_s: float | None) -> Latency:
    topology = Topology("latency", settings={"topology.stats.sample.rate": 1.0 if rate_per_s else 0.05})
    sentences = topology.spout("sentences", lambda: Paced(rate_per_s))
    words = topology.bolt("split", SplitList).shuffle(sentences)
    topology.bolt("count", Count, parallelism=2).fields(words, "word")
    run = prepare(topology)
    try:
        worker = run.worker
        began = worker.monotonic()
        worker.run(deadline=began + SECONDS)
        row = worker.snapshot()[0]
        seconds = worker.monotonic() - began
        found = row["complete_ms"]
        return Latency(load, row["acked"] / seconds, found["p50"], found["p99"], found["p999"])
    finally:
        run.close()


def latencies() -> list[Latency]:
    """At full speed, then at shares of that."""
    full = at_rate("100 %", None)
    return [*(at_rate(f"{share} %", full.rate_per_s * share / 100) for share in (10, 50, 80)), full]


def bytes_per_pending_root(roots: int = 200_000) -> float:
    """Resident memory that a pending root of one word takes, its tuple in the mailbox included."""
    settings = {"topology.max.spout.pending": roots, "topology.executor.receive.buffer.size": 2**20}
    topology = Topology("pending", settings=settings)
    words = topology.spout("words", lambda: iter([f"word {i}" for i in range(roots)]), outputs=("word",))

    topology.bolt("sink", Count).shuffle(words)
    run = prepare(topology)
    try:
        sink = run.built.of("sink")[0]
        run.worker.pause(sink.index, 1e6)
        before = _resident()
        deadline = run.worker.monotonic() + 10
        while run.worker.pending() != [(0, roots)] and run.worker.monotonic() < deadline:
            run.worker.run(deadline=run.worker.monotonic() + 0.05)
        return (_resident() - before) / roots
    finally:
        run.close()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def help_cpu_s() -> float:
    """CPU seconds of `squall --help`."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "squall.cli", "--help"], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


ONE_TUPLE = """
import time
from squall import Topology
topology = Topology("first")
def numbers():
    yield 1
def sink(x):
    with open({path!r}, "w") as file:
        file.write(str(time.time()))
topology.bolt("sink", sink).shuffle(topology.spout("numbers", numbers, outputs=("x",)))
"""

IDLE = """
from squall import Topology
from squall.connectors.tcp import TcpSpout
topology = Topology("idle")
topology.bolt("sink", lambda line: None).shuffle(topology.spout("lines", TcpSpout.listen("127.0.0.1:0")))
"""


def first_tuple_s() -> float:
    """Seconds from `squall run` to the first tuple in a bolt."""
    with tempfile.TemporaryDirectory() as folder:
        stamp = Path(folder) / "stamp"
        file = Path(folder) / "first.py"
        file.write_text(ONE_TUPLE.format(path=str(stamp)))
        began = time.time()
        subprocess.run([sys.executable, "-m", "squall.cli", "run", str(file)], check=True, stdout=subprocess.DEVNULL)
        return float(stamp.read_text()) - began


def idle_share() -> float:
    """Share of a core that an idle topology takes, parent left out."""
    with tempfile.TemporaryDirectory() as folder:
        file, summary = Path(folder) / "idle.py", Path(folder) / "summary.json"
        file.write_text(IDLE)
        command = [sys.executable, "-m", "squall.cli", "run", str(file), "--summary", str(summary)]
        short = _cpu_of([*command, "--for", "1s"], summary)
        long = _cpu_of([*command, "--for", "6s"], summary)
        return (long - short) / 5


def _cpu_of(command: list[str], summary: Path) -> float:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(summary.read_text())["cpu_s"]
