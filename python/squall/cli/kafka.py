"""`squall kafka`: commands to Kafka spouts of running topologies."""

from __future__ import annotations

from typing import Annotated

import typer

from squall.cli.options import Settings, TopologyName, local_dir_of

HELP = "Commands to Kafka spouts that run.\n\nsquall kafka seek orders source --to beginning"
kafka = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=HELP)


@kafka.callback()
def group() -> None:
    """Keeps `squall kafka` a group of commands, though it has one."""


@kafka.command()
def seek(
    topology: TopologyName,
    spout: Annotated[str, typer.Argument(metavar="SPOUT", help="The component that is a KafkaSpout.")],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="PLACE", help="beginning, end, offset:N, or time:ISO (UTC without a zone)."),
    ] = None,
    partition: Annotated[
        int | None, typer.Option("--partition", metavar="N", min=0, help="Only this one; all if none is named.")
    ] = None,
    settings: Settings = None,
) -> None:
    """Has a Kafka spout go on elsewhere in its topics, while it runs.

    What is in flight still ends. The new place is committed at once, so that it holds over restarts too.

    Examples:

      squall kafka seek orders source --to beginning

      squall kafka seek orders source --to time:2026-05-01T12:00:00Z

      squall kafka seek orders source --to offset:1000 --partition 3
    """
    from squall.cli.seeking import seek_spout

    seek_spout(local_dir_of(settings), topology, spout, to, partition)
