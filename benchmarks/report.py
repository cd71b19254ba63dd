"""docs/benchmarks.md and its plot."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from squall import _core

from benchmarks.files import MUSTS as FILE_MUSTS
from benchmarks.files import ROWS as FILE_ROWS
from benchmarks.harness import Ratio
from benchmarks.kept import kept, put
from benchmarks.kernel import MUSTS
from benchmarks.latency import Latency
from benchmarks.tcp import Throughput
from benchmarks.workers import MUSTS as WORKER_MUSTS
from benchmarks.workers import UNITS as WORKER_UNITS

DOCS = Path(__file__).parents[1] / "docs"
ROWS = {
    "w1_return_list": "W1 acked, split returns a list, one call a tuple",
    "w1_emit": "W1 acked, `self.emit` for each word",
    "w1_batch": "W1 acked, `process_batch` in count",
    "w2": "W2 not acked",
    "w2_acked": "W2 acked",
    "w2_ack_callback": "W2 acked with a Python `ack()`",
    "w2_generator": "W2 acked, generator spout that the engine can replay",
}
STORM = (
    ("Storm 1.2.1, Java, acked", "0.34 M words/s", "21"),
    ("Storm 2.8.3, Java, acked", "0.47 M words/s", "12"),
    ("Storm 1.2.1, Python bolts by multilang, acked", "0.053 M words/s", "142"),
)


def kernel_table(ratios: dict[str, Ratio]) -> str:
    """The ratios as a table."""
    lines = ["| | ratio to the plain loop | quartiles | must |", "|---|---|---|---|"]
    for name, ratio in ratios.items():
        figures = f"{ratio.ratio:.2f} | {ratio.low:.2f}–{ratio.high:.2f}"
        lines.append(f"| {ROWS[name]} (`{name}`) | {figures} | ≤ {MUSTS[name]} |")
    return "\n".join(lines)


def storm_table(ratios: dict[str, Ratio], words_per_s: float) -> str:
    """squall beside Storm, in CPU a word over the plain Python loop."""
    lines = ["| word count, acked | words a second | CPU a word, plain Python loop = 1 |", "|---|---|---|"]
    ours = ratios["w1_return_list"].ratio
    lines.append(f"| squall, Python, one core | {words_per_s / 1e6:.1f} M words/s | {ours:.2f} |")
    lines += [f"| {name}, two cores | {speed} | {cost} |" for name, speed, cost in STORM]
    return "\n".join(lines)


def write(
    ratios: dict[str, Ratio],
    words_per_s: float,
    streams: Sequence[Throughput],
    copies: dict[str, Ratio],
    latencies: Sequence[Latency],
    single: dict[str, str],
    spread: dict[str, float],
) -> None:
    """Writes the page, the plot and the table in README.md."""
    plot(ratios)
    tcp = "\n".join(f"| {t.name} | {t.lines_per_s:,.0f} | {t.mb_per_s:.0f} | {t.cpu_s:.2f} |" for t in streams)
    files = "\n".join(
        f"| {FILE_ROWS[name]} (`{name}`) | {one.ratio:.2f} | {one.low:.2f}–{one.high:.2f} | "
        f"{f'≤ {FILE_MUSTS[name]}' if name in FILE_MUSTS else ''} |"
        for name, one in copies.items()
    )
    waits = "\n".join(
        f"| {one.load} | {one.rate_per_s:,.0f} | {one.p50_ms:.3f} | {one.p99_ms:.3f} | {one.p999_ms:.3f} |"
        for one in latencies
    )
    rest = "\n".join(f"| {name} | {value} |" for name, value in single.items())
    workers = "\n".join(
        f"| {what} (`{name}`) | {spread[name]:.3g} | {WORKER_MUSTS.get(name, '')} |"
        for name, what in WORKER_UNITS.items()
    )
    page = DOCS / "benchmarks.md"
    others = kept(page, "io")  # `make bench-io` writes that
    page.write_text(
        f"""# Benchmarks

Written by `make bench` (`python -m benchmarks`). Ratios are CPU time of a topology through the public API (counters,
sampled latencies and flow control on) over the same user functions in a plain loop run directly before it in the same
process, median and quartiles of paired runs. Python {_core.BUILD["python"]}, core built with the profile
`{_core.BUILD["profile"]}`, {platform.machine()}. Absolute figures are of a small shared machine: trust the ratios.

W1: sentences → split → word count grouped by field. W2: identity hops.

{kernel_table(ratios)}

![Ratios to the plain loop](benchmarks.svg)

Repeat: `.venv/bin/python -m benchmarks.kernel --quick --json`.

## Beside Storm

{storm_table(ratios, words_per_s)}

Storm's figures were measured with real clusters on a machine of the same kind, against the same plain Python loop.

## End to end from TCP

One connection on loopback, sender in a process of its own; words of each line counted.

| | lines/s | MB/s | CPU s |
|---|---|---|---|
{tcp}

## From file to file

`FileSpout` with its positions, acks, `FileSink` with its syncs, over a plain loop with the same functions that reads
with `open`, writes with `write`, and has neither acks nor syncs. Repeat: `.venv/bin/python -m benchmarks.files`.

| | ratio to the plain loop | quartiles | must |
|---|---|---|---|
{files}

## Complete latency

W1 in one worker, from the emit of a sentence to its last ack.

| load | sentences/s | p50 ms | p99 ms | p99.9 ms |
|---|---|---|---|---|
{waits}

## Many workers

W1 acked, one call a tuple, by `squall run -w 2` over `-w 1` of the same graph: each worker has its own spout, half of
the words are counted in the other one. {spread["w1_undisturbed_pairs"]:.0f} of {spread["w1_pairs"]:.0f} pairs of runs
had the machine to themselves; what others took of it in those that count: {spread["w1_others_share"]:.0%}. Repeat:
`.venv/bin/python -m benchmarks.workers --quick --json`.

| | | must |
|---|---|---|
{workers}

## Single figures

| | |
|---|---|
{rest}

{others}
""",
        encoding="utf-8",
    )
    put(DOCS.parent / "README.md", "bench", f"{storm_table(ratios, words_per_s)}\n")


def plot(ratios: dict[str, Ratio]) -> None:
    """Bars with quartiles, the plain loop as a line."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "squall"
    from matplotlib import pyplot as plt

    names = list(ratios)
    values = [ratios[name].ratio for name in names]
    errors = [
        [ratios[name].ratio - ratios[name].low for name in names],
        [ratios[name].high - ratios[name].ratio for name in names],
    ]
    figure, axes = plt.subplots(figsize=(8, 3.2))
    axes.barh(names, values, xerr=errors, color="#4477aa", height=0.6)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlabel("CPU time over the same functions in a plain Python loop (lower is better)")
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(DOCS / "benchmarks.svg", metadata={"Date": None})
