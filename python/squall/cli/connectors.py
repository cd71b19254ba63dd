"""`squall connectors`: what there is to read from and to write to, what it promises, and what it needs."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import asdict
from textwrap import fill, indent
from typing import Any

import typer

from squall.connectors.catalogue import CONNECTORS, Connector
from squall.errors import ConfigError, Defect, did_you_mean, listed

WIDTH = 100
COLUMNS = ("connector", "kind", "system", "guarantee", "extra")
IN_SHORT = re.compile(r"[;:,].*")


def show_all(*, as_json: bool) -> None:
    """Prints all of them."""
    if as_json:
        print(json.dumps([_facts(one) for one in CONNECTORS]))
        return
    rows = [COLUMNS, *(_cells(one) for one in CONNECTORS)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    typer.echo('\nOne whole, with an example: squall connectors NAME\nWhat one needs: pip install "squall[EXTRA]"')


def show_one(name: str, *, as_json: bool, example_only: bool) -> None:
    """Prints one.

    Raises:
        ConfigError: `connector_unknown`.
    """
    connector = _named(name)
    if as_json:
        print(json.dumps(_facts(connector) | {"example": connector.code()}))
    elif example_only:
        typer.echo(connector.code(), nl=False)
    else:
        typer.echo("\n".join(_page(connector)))


def _named(name: str) -> Connector:
    known = {one.name.lower(): one for one in CONNECTORS}
    if found := known.get(name.lower()):
        return found
    near = did_you_mean(name.lower(), known)
    fix = f'did you mean "{known[near].name}"?' if near else "name one of these"
    facts = (("connectors", listed(one.name for one in CONNECTORS)),)
    raise ConfigError(Defect("connector_unknown", f'there is no connector "{name}"', facts, fix))


def _facts(connector: Connector) -> dict[str, Any]:
    module, _, name = connector.at.partition(":")
    about = {"name": name, "module": module, "kind": connector.kind, "system": connector.system}
    needs = {"extra": connector.extra, "installed": connector.is_installed, "also": list(connector.also)}
    return about | asdict(connector.delivery) | needs


def _cells(connector: Connector) -> tuple[str, ...]:
    guarantee = IN_SHORT.sub("", connector.delivery.guarantee)
    extra = f"{connector.extra}, {_installed(connector)}" if connector.extra else ""
    return connector.name, connector.kind, connector.system, guarantee, extra


def _installed(connector: Connector) -> str:
    return "installed" if connector.is_installed else "not installed"


def _needs(connector: Connector) -> str:
    needs = f'pip install "squall[{connector.extra}]" ({_installed(connector)})' if connector.extra else "nothing more"
    return f"{needs}; for more: {', '.join(connector.also)}" if connector.also else needs


def _page(connector: Connector) -> list[str]:
    says = connector.delivery
    module = connector.at.partition(":")[0]
    facts = {
        "kind": f"{connector.kind}, {connector.system}",
        "guarantee": says.guarantee,
        "order": says.order,
        "restart": says.restart,
        "tested with": says.tested,
        "needs": _needs(connector),
        "import": f"from {module} import {connector.name}",
    }
    lines = [connector.name, ""]
    lines += [
        fill(value, WIDTH, initial_indent=f"  {name:<12} ", subsequent_indent=" " * 15) for name, value in facts.items()
    ]
    described = inspect.getdoc(connector.load()) or ""
    return [*lines, "", indent(described, "  "), "", "Example:", "", indent(connector.code().rstrip(), "  ")]
