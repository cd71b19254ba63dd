"""What it costs to be scraped each second: `python -m benchmarks.metrics [--pairs N] [--json]`.

W1 as its users run it, by `squall run`, with and without `--metrics`, one directly after the other, the same work in
both. CPU time is of the worker alone, and of worker and parent together; start-up is in it: the import of a library for
the server costs less than a tenth of a second, once.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Ratio

ROOT = Path(__file__).parents[1]
TOPOLOGY = """
from benchmarks.workloads import w1
topology = w1({sentences})
"""
MOST_RATIO = 1.02
SCRAPE_EVERY_S = 1.0


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one run."""

    worker_s: float
    all_s: float
    scrapes: int


def run_once(file: Path, state: Path, sentences: int, *, scraped: bool) -> Cost:
    """Runs W1 to its end."""
    arguments = ["run", str(file), "--json", *(("--metrics", "0") if scraped else ())]
    environment = os.environ | {"SQUALL_STORM_LOCAL_DIR": str(state), "PYTHONPATH": str(ROOT)}
    before = _children_s()
    process = subprocess.Popen(
        [sys.executable, "-m", "squall.cli", *arguments], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    started = json.loads(process.stdout.readline())
    over, scrapes = threading.Event(), 0
    scraper = threading.Thread(target=lambda: None)
    if scraped:
        answers: list[int] = []
        url = started["metrics"]["prometheus"]
        scraper = threading.Thread(target=_scrape, args=(url, over, answers))
    scraper.start()
    *_, last = process.stdout
    over.set()
    scraper.join()
    assert process.wait() == 0
    summary = json.loads(last)
    assert summary["acked"] == sentences
    if scraped:
        scrapes = len(answers)
    return Cost(summary["cpu_s"], _children_s() - before, scrapes)


def _scrape(url: str, over: threading.Event, answers: list[int]) -> None:
    while not over.wait(SCRAPE_EVERY_S):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answers.append(len(answer.read()))
        except OSError:  # the run has ended meanwhile
            return


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(pairs: int, sentences: int) -> tuple[Ratio, Ratio, int]:
    """Ratios of the worker's CPU time, and of worker and parent together; how many scrapes there were."""
    workers: list[float] = []
    alls: list[float] = []
    plain: list[float] = []
    scrapes = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "w1.py"
        file.write_text(TOPOLOGY.format(sentences=sentences))
        for number in range(pairs):
            # The order changes, so that what grows or shrinks meanwhile counts for neither.
            order = (False, True) if number % 2 else (True, False)
            costs = {scraped: run_once(file, Path(folder), sentences, scraped=scraped) for scraped in order}
            workers.append(costs[True].worker_s / costs[False].worker_s)
            alls.append(costs[True].all_s / costs[False].all_s)
            plain.append(costs[False].all_s)
            scrapes += costs[True].scrapes
    return _ratio(workers, plain), _ratio(alls, plain), scrapes


def _ratio(ratios: list[float], plain: list[float]) -> Ratio:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Ratio(middle, low, high, statistics.median(plain))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--sentences", type=int, default=1_500_000)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    options = parser.parse_args()
    worker, whole, scrapes = measure(options.pairs, options.sentences)
    for name, ratio in (("worker", worker), ("worker and parent", whole)):
        figures = f"{ratio.ratio:.3f} [{ratio.low:.3f}..{ratio.high:.3f}]"
        print(f"{name:18} {figures}  must {MOST_RATIO}; {scrapes} scrapes", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({"worker": worker.json(), "all": whole.json(), "scrapes": scrapes}))


if __name__ == "__main__":
    main()
