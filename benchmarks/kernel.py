"""What the kernel costs over the same functions in a plain loop: `python -m benchmarks.kernel [--quick] [--json]`."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections import Counter

from squall import _core

from benchmarks import workloads as w
from benchmarks.harness import Ratio, Run, measured, paired

MUSTS = {
    "w1_return_list": 1.25,
    "w1_emit": 1.5,
    "w1_batch": 1.05,
    "w2": 2.4,
    "w2_acked": 2.5,
    "w2_ack_callback": 3.1,
    "w2_generator": 1.8,
}


def counted(n: int):
    expected = w.plain_w1(n)

    def check(run: Run) -> None:
        total = Counter()
        for task in run.built.of("count"):
            assert not total.keys() & task.instance.counts.keys(), "a key had two tasks"
            total.update(task.instance.counts)
        assert total == expected
        assert run.built.tasks[0].instance.acked == n
        assert run.worker.pending() == []

    return check


def hopped(n: int):
    def check(run: Run) -> None:
        spout, sink = run.worker.snapshot()[0], run.worker.snapshot()[-1]
        assert sink["executed"] == {"identity/default": n}, sink
        assert spout["acked"] == n
        assert run.worker.pending() == []

    return check


def measure(pairs: int, n1: int, n2: int) -> dict[str, Ratio]:
    """Every row of the table."""
    words, hops = counted(n1), hopped(n2)
    variants = {
        "w1_return_list": measured(lambda: w.w1(n1), words),
        "w1_emit": measured(lambda: w.w1(n1, split=w.SplitEmit), words),
        "w1_batch": measured(lambda: w.w1(n1, count=w.CountBatch), words),
        "w2": measured(lambda: w.w2(n2, "unacked"), hops),
        "w2_acked": measured(lambda: w.w2(n2), hops),
        "w2_ack_callback": measured(lambda: w.w2(n2, "ack"), hops),
        "w2_generator": measured(lambda: w.w2(n2, "generator"), hops),
    }
    out = {}
    for name, variant in variants.items():
        if name.startswith("w1"):
            plain = functools.partial(w.plain_w1, n1)
        else:
            plain = functools.partial(w.plain_w2_generator if name == "w2_generator" else w.plain_w2, n2)
        out[name] = paired(plain, variant, pairs)
        print(
            f"{name:16} {out[name].ratio:5.2f} [{out[name].low:.2f}..{out[name].high:.2f}]  must {MUSTS[name]}",
            file=sys.stderr,
            flush=True,
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller pairs, under 50 s")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    options = parser.parse_args()
    pairs, n1, n2 = (21, 12_000, 100_000) if options.quick else (31, 20_000, 200_000)
    result = {name: ratio.json() for name, ratio in measure(pairs, n1, n2).items()}
    if options.json:
        print(json.dumps({**result, "profile": _core.BUILD["profile"], "python": _core.BUILD["python"]}))


if __name__ == "__main__":
    main()
