"""The section of docs/benchmarks.md, and its plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Ratio
from benchmarks.io.kafka import BYTEWAX, QUIX, SQUALL, Client, Compared
from benchmarks.kept import put

DOCS = Path(__file__).parents[2] / "docs"
MUSTS = {
    "kafka_cpu_ratio": "≤ 2.0",
    "kafka_rate_over_bytewax": "> 1",
    "kafka_rate_over_quix": "> 1",
    "sql_cpu_ratio": "≤ 1.5",
    "file_cpu_ratio": "≤ 1.5",
}
SINKS = {
    "sql_cpu_ratio": "PostgreSQL, over one statement a batch with an array for each column",
    "sql_one_by_one": "PostgreSQL, over `executemany` of a statement for each row",
    "file_cpu_ratio": "a file, over `write` and `fsync` of each batch",
    "file_no_work": "a file, without counting anything: what spout, two hops, acks and sink cost over a bare `write`",
}


@dataclass(frozen=True)
class Results:
    """All that was measured."""

    clients: Sequence[Client]
    kafka: Compared
    sinks: dict[str, Ratio]

    def ratios(self) -> dict[str, float]:
        """The figures that have a must."""
        found = {
            "kafka_cpu_ratio": self.kafka.cpu_ratio(SQUALL),
            "kafka_rate_over_bytewax": self.kafka.rate_over(BYTEWAX),
            "kafka_rate_over_quix": self.kafka.rate_over(QUIX),
            "sql_cpu_ratio": self.sinks["sql_cpu_ratio"].ratio,
            "file_cpu_ratio": self.sinks["file_cpu_ratio"].ratio,
        }
        return {name: round(value, 3) for name, value in found.items()}


def write(results: Results) -> None:
    """Puts the section into docs/benchmarks.md, and draws its plot."""
    plot(results)
    clients = "\n".join(
        f"| {client.title} | {client.guarantee} | {results.kafka.rate(client):,.0f} | "
        f"{results.kafka.cpu_us(client):.2f} | {results.kafka.cpu_ratio(client):.2f} |"
        for client in results.clients
    )
    sinks = "\n".join(
        f"| {SINKS[name]} (`{name}`) | {ratio.ratio:.2f} | {ratio.low:.2f}–{ratio.high:.2f} | {MUSTS.get(name, '')} |"
        for name, ratio in results.sinks.items()
    )
    put(
        DOCS / "benchmarks.md",
        "io",
        f"""## To and from other systems

Written by `make bench-io`. Kafka → count the words of a sentence → Kafka, one record out for each record in, two
partitions, one process a client, all with the same broker in turns; medians of {len(results.kafka.runs["bare"])}
rounds. CPU is that of the client, from its first record to the confirmation of its last one. The broker shares the
machine's two cores: CPU a record is the firmer figure. No client keeps its counts over a crash.

| | guarantee as it runs | records/s | µs CPU a record | over the bare loop |
|---|---|---|---|---|
{clients}

![CPU a record](benchmarks-io.svg)

squall's CPU a record over that of the bare loop must be {MUSTS["kafka_cpu_ratio"]}, and its rate above that of every
other framework.

Sentences of a generator → count the words → a row for each, over a bare client that takes the same sentences, counts by
the same function, and has as many rows confirmed at once:

| | ratio to the bare client | quartiles | must |
|---|---|---|---|
{sinks}

Repeat: `.venv/bin/python -m benchmarks.io --quick --json`.
""",
    )


def plot(results: Results) -> None:
    """CPU a record, a bar for each client, on a scale of powers of ten."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "squall"
    from matplotlib import pyplot as plt

    names = [client.title for client in results.clients]
    colors = ["#cc6677" if client is SQUALL else "#4477aa" for client in results.clients]
    figure, axes = plt.subplots(figsize=(8, 2.6))
    axes.barh(names, [results.kafka.cpu_us(client) for client in results.clients], color=colors, height=0.6)
    axes.set_xscale("log")
    axes.set_xlabel("µs CPU a record, Kafka → count words → Kafka (lower is better)")
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(DOCS / "benchmarks-io.svg", metadata={"Date": None})
