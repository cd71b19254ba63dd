"""What file → count → file costs over a plain loop: `python -m benchmarks.files [--json]`.

Everything is as in a run: the file spout with its positions, acks, the file sink on its own thread with its syncs. The
plain loop reads with `open`, calls the same functions and writes with `write`; it has neither acks nor syncs.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from squall import Bolt, Topology, _core
from squall.connectors.files import FileSink, FileSpout, Text
from squall.planner.plan import plan
from squall.planner.validate import validate
from squall.runtime import life
from squall.runtime.build import build, core_settings
from squall.runtime.context import WorkerServices
from squall.runtime.offload import Offloaders

from benchmarks.harness import Hooks, Ratio, cpu_s, paired
from benchmarks.workloads import MASK, PICK, PlainCount, PlainSplit

LINES = 100_000
MUSTS = {"file_count_file": 1.5}
ROWS = {
    "file_count_file": "words of a file counted, the totals written at the end",
    "file_map_file": "a row written for each line of a file",
}


class Count(Bolt):
    """Counts words; the totals come out at the end."""

    outputs = ("word", "count")

    def __init__(self):
        self.counts = {}

    def process(self, word):
        counts = self.counts
        counts[word] = counts.get(word, 0) + 1

    def drain(self):
        return list(self.counts.items())


def split(line):
    return line.split()


def words_of(line):
    return len(line.split())


def count_file(source: Path, target: Path) -> Topology:
    topology = Topology("count")
    words = topology.bolt("split", split, outputs=("word",)).shuffle(
        topology.spout("lines", FileSpout(str(source), format=Text()))
    )
    counts = topology.bolt("count", Count).fields(words, "word")
    topology.bolt("sink", FileSink(target)).shuffle(counts)
    return topology


def plain_count_file(source: Path, target: Path) -> None:
    divide, count = PlainSplit().process, PlainCount()
    counted = count.process
    with source.open(encoding="utf-8") as lines:
        for line in lines:
            for word in divide(line):
                counted(word)
    with target.open("w", encoding="utf-8") as out:
        for word, total in count.counts.items():
            out.write(f"{word}\t{total}\n")


def map_file(source: Path, target: Path) -> Topology:
    topology = Topology("map")
    lines = topology.spout("lines", FileSpout(str(source), format=Text()))
    counts = topology.bolt("words", words_of, outputs=("words",)).shuffle(lines)
    topology.bolt("sink", FileSink(target)).shuffle(counts)
    return topology


def plain_map_file(source: Path, target: Path) -> None:
    with source.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(f"{words_of(line)}\n")


def settle(worker: _core.Worker) -> None:
    """Runs until nothing can move."""
    while (standing := worker.standing())["moving"]:
        worker.run(deadline=worker.monotonic() + 0.05, known=standing["activity"])


def run(topology: Topology, work_dir: Path) -> float:
    """CPU seconds from the first poll to the end of the drain."""
    graph = validate(topology)
    worker = _core.Worker(incarnation=1, seed=1, hooks=Hooks(), virtual=False, settings=core_settings(graph.settings))
    offloaders = Offloaders()
    built = build(WorkerServices(worker, plan(graph), "bench-1", 1, work_dir, 1), offloader=offloaders)
    life.open_all(worker, built)
    try:

        def to_the_end() -> None:
            worker.run()
            drain = life.Drain(worker, built)
            drain.stop_sources()
            for name in life.drains(built):
                settle(worker)
                drain.component(name)
            settle(worker)
            assert not worker.pending()
            assert [*drain.failures, *life.close_all(built)] == []

        return cpu_s(to_the_end)
    finally:
        offloaders.close()
        worker.close()


def measure(pairs: int) -> dict[str, Ratio]:
    """Every row, each checked against what the plain loop wrote."""
    variants: dict[str, tuple[Callable[[Path, Path], Topology], Callable[[Path, Path], None]]] = {
        "file_count_file": (count_file, plain_count_file),
        "file_map_file": (map_file, plain_map_file),
    }
    out = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, expected, target = folder / "in.txt", folder / "plain.txt", folder / "out.txt"
        source.write_text("".join(PICK[i & MASK] + "\n" for i in range(LINES)), encoding="utf-8")

        def variant(make: Callable[[Path, Path], Topology]) -> float:
            target.unlink(missing_ok=True)
            seconds = run(make(source, target), folder / "work")
            assert sorted(target.read_text().split("\n")) == sorted(expected.read_text().split("\n"))
            return seconds

        for row, (make, plain) in variants.items():
            out[row] = paired(functools.partial(plain, source, expected), functools.partial(variant, make), pairs)
            must = f"  must {MUSTS[row]}" if row in MUSTS else ""
            print(f"{row:16} {out[row].ratio:5.2f} [{out[row].low:.2f}..{out[row].high:.2f}]{must}", file=sys.stderr)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    parser.add_argument("--pairs", type=int, default=11)
    options = parser.parse_args()
    ratios = measure(options.pairs)
    if options.json:
        print(json.dumps({name: ratio.json() for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
