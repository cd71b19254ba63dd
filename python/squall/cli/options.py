"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[
    str,
    typer.Argument(metavar="FILE[:NAME]", help="A Python file; NAME of its Topology or function if there are several."),
]


def _kept(context: typer.Context, settings: list[str] | None) -> list[str] | None:
    """Lets `main` know the settings of whatever command it is: they name the folder of its log."""
    context.meta["settings"] = settings or []
    return settings


Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-c", metavar="KEY=VALUE", help="A setting; may be repeated. All keys: docs/settings.md.", callback=_kept
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help="A parameter of the topology's function; may be repeated."),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "-w",
        "--workers",
        metavar="N",
        help="Worker processes, whatever the topology says; auto: as many as can work at once on this machine.",
    ),
]
TopologyName = Annotated[str, typer.Argument(metavar="TOPOLOGY", help="Name of the topology.")]


def local_dir_of(settings: list[str] | None) -> Path:
    """The folder where the runs are that a command looks for."""
    from squall.config.load import load, local_dir

    return local_dir(load(settings or []))
