"""A run on a terminal: a table that follows the topology, with its errors and the tables that components show."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from squall.cli.texts import (
    Event,
    compact,
    components,
    failed_text,
    listening,
    rates,
    stuck_text,
    summary_lines,
    tables,
)

BUSY, TOO_BUSY = 0.7, 0.9
"""Capacities from which a component is coloured."""

COLUMNS: tuple[tuple[str, Callable[[Event], str]], ...] = (
    ("tasks", lambda now: str(now["tasks"])),
    ("queue", lambda now: compact(now["queue"])),
    ("executed", lambda now: compact(now["executed"])),
    ("emitted", lambda now: compact(now["emitted"])),
    ("acked", lambda now: compact(now["acked"])),
    ("failed", lambda now: compact(now["failed"])),
    ("exec ms", lambda now: f"{now['execute_ms']['mean']:.4f}"),
    ("proc ms", lambda now: f"{now['process_ms']['mean']:.4f}"),
)


class LiveView:
    """A live display on standard output; log lines and errors scroll above it, or go to where standard error leads."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(Text("starting …"), console=self._console, refresh_per_second=4, transient=True)
        self._live.start()
        self._last: Event | None = None

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match event["event"]:
            case "started":
                where = f": process {event['workers'][0]['pid']}{listening(event)}; log {event['log']}"
                self._console.print(Text.assemble((event["topology"], "bold"), where))
            case "resumed":
                self._console.print(Text(event["text"]))
            case "progress":
                self._live.update(self._screen(event))
                self._last = event
            case "draining":
                self._console.print("the sources are stopped; waiting for what is pending (Ctrl-C again kills)")
            case "log":
                self._complain(event["text"], "dim")
            case "stuck":
                self._complain(stuck_text(event), "yellow")
            case "failed":
                self._complain(failed_text(event), "red")
            case "summary":
                self.close()
                print("\n".join(summary_lines(event)), flush=True)
            case _:
                pass

    def close(self) -> None:
        """Takes the display down."""
        self._live.stop()

    def _complain(self, text: str, style: str) -> None:
        if sys.stderr.isatty():
            self._console.print(Text(text, style=style), soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _screen(self, event: Event) -> RenderableType:
        errors = [
            Text(f"{name}: {kept['last']} ({kept['count']} kept)", style="red")
            for name, kept in event["errors"].items()
        ]
        return Group(self._head(event), _components(event), *_tables(event), *errors)

    def _head(self, event: Event) -> Text:
        into, out = rates(event, self._last)
        latency = event["complete_ms"]
        parts = (
            ("in", f"{into:,.0f}/s"),
            ("out", f"{out:,.0f}/s"),
            ("complete p50", f"{latency['p50']:.2f} ms"),
            ("p99", f"{latency['p99']:.2f} ms"),
            ("pending", f"{event['pending']:,}"),
            ("failed", f"{event['failed']:,}"),
            ("dead", f"{event['dead']:,}"),
            ("up", f"{event['uptime_s']:.0f} s"),
        )
        head = Text()
        for name, value in parts:
            head.append(f"{name} ", "dim").append(f"{value}   ", "bold")
        return head.append("Ctrl-C drains and ends", "dim italic")


def _components(event: Event) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("component", no_wrap=True)
    table.add_column("capacity", justify="right")
    for title, _ in COLUMNS:
        table.add_column(title, justify="right")
    for name, now in components(event):
        busy = now["capacity"]
        style = "red" if busy > TOO_BUSY else "yellow" if busy > BUSY else ""
        table.add_row(name, Text(f"{busy:.2f}", style=style), *(shown(now) for _, shown in COLUMNS))
    return table


def _tables(event: Event) -> list[RenderableType]:
    shown: list[RenderableType] = []
    for title, rows in tables(event):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for key, value in rows.items():
            table.add_row(Text(key), f"{value:,.0f}")
        shown.append(table)
    return shown
