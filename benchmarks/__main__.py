"""`python -m benchmarks`: everything, into docs/benchmarks.md. About six minutes."""

from __future__ import annotations

import sys
import time

from benchmarks import files, latency, metrics, report, tcp, workers
from benchmarks import workloads as w
from benchmarks.harness import prepare
from benchmarks.kernel import measure


def words_per_s(n: int = 40_000) -> float:
    """Words a second of W1 in one worker."""
    run = prepare(w.w1(n))
    try:
        began = time.perf_counter()
        run.worker.run()
        elapsed = time.perf_counter() - began
        return sum(sum(task.instance.counts.values()) for task in run.built.of("count")) / elapsed
    finally:
        run.close()


def scraped_over_plain() -> str:
    """Ratios of the worker's CPU time, and of worker and parent together."""
    worker, whole, _ = metrics.measure(pairs=5, sentences=2_000_000)
    return f"{worker.ratio:.3f} (with the parent {whole.ratio:.3f})"


def step(number: int, what: str) -> None:
    print(f"[{number}/6] {what} …", file=sys.stderr, flush=True)


def main() -> None:
    step(1, "ratios to the plain loop")
    ratios = measure(21, 15_000, 150_000)
    speed = max(words_per_s() for _ in range(3))
    step(2, "end to end from TCP")
    streams = tcp.measure()
    step(3, "file to file")
    copies = files.measure(11)
    step(4, "latency at fixed rates")
    waits = latency.latencies()
    step(5, "memory, start-up, idling")
    single = {
        "bytes per pending root, its tuple in a mailbox included": f"{latency.bytes_per_pending_root():,.0f}",
        "`squall --help`, CPU s": f"{min(latency.help_cpu_s() for _ in range(5)):.2f}",
        "`squall run` to the first tuple in a bolt, s": f"{min(latency.first_tuple_s() for _ in range(3)):.2f}",
        "an idle worker's share of a core": f"{latency.idle_share():.2%}",
        "CPU of W1 by `squall run --metrics`, scraped each second, over one without": scraped_over_plain(),
    }
    step(6, "many workers")
    report.write(ratios, speed, streams, copies, waits, single, workers.measure(quick=True))
    print("wrote docs/benchmarks.md")


if __name__ == "__main__":
    main()
