"""`squall metrics`: the figures of a running topology, once."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from squall.cli.commands import chosen, control_socket, no_answer
from squall.cli.following import Following
from squall.engines.metrics.collect import families
from squall.engines.metrics.families import number
from squall.engines.metrics.reading import Newest

WITHIN_S = 10.0
"""How long a run may take for its first report."""


def show(base: Path, name: str | None, *, as_json: bool, as_prometheus: bool) -> None:
    """Prints them.

    Raises:
        ClusterError: it does not run, was lost, or has not reported yet.
    """
    topology = chosen(base, name, "name one: squall metrics NAME")
    newest = _newest(topology, control_socket(base, topology))
    reading = newest.now()
    if as_json:
        print(json.dumps(reading.progress))
    elif as_prometheus:
        from squall.engines.metrics.prometheus import text

        typer.echo(text(families(reading)), nl=False)
    else:
        for family in families(reading):
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sample.labels.items() if key != "topology")
                where = f"{{{labels}}}" if labels else ""
                typer.echo(f"{family.name}{sample.suffix}{where}  {number(sample.value)}")


def _newest(topology: str, path: Path) -> Newest:
    """What the run said last; of one that has begun just now, what it says first."""
    newest = Newest()
    following = Following(topology, path)
    try:
        for event in following.events_within(WITHIN_S):
            newest.take(event)
            if newest.now().progress:
                return newest
    finally:
        following.close()
    raise no_answer(topology, path, "it has not reported yet")
