"""`squall kafka seek`."""

from __future__ import annotations

from pathlib import Path

import typer

from squall.cli.commands import command
from squall.connectors.kafka.seeking import parsed, refused


def seek_spout(base: Path, topology: str, spout: str, to: str, partition: int | None) -> None:
    """Asks all tasks of the spout, and prints where its partitions go on.

    Raises:
        ConfigError: `kafka_seek_refused`, `component_unknown` or `component_silent`.
        ClusterError: the topology does not run, does not answer, or no broker does.
    """
    target = parsed(to)
    request = {"kind": target.kind, "number": target.number, "partition": partition}
    answer = command(base, topology, {"cmd": "component", "component": spout, "request": request})
    moved = sorted(tuple(one) for task in answer["answers"] for one in task["moved"])
    if not moved:
        which = "no partition now" if partition is None else f"no partition {partition}"
        fix = "try again when its partitions are assigned; squall top shows them"
        raise refused(f'"{spout}" has {which}', (), fix)
    for topic, number, offset in moved:
        typer.echo(f"{topic}/{number} goes on at offset {offset}")
