"""A run on a terminal: a table that follows the topology, with its errors and the tables that components show."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from squall.cli.plain import rates, stuck_text, summary_lines
from squall.model.graph import Graph

Event = dict[str, Any]
KEPT_LINES = 8


class LiveView:
    """A Rich live display on standard output; log lines scroll above it on standard error."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._console = Console()
        self._live = Live(Text("starting …"), console=self._console, refresh_per_second=4, transient=True)
        self._live.start()
        self._last: Event | None = None

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match event["event"]:
            case "started":
                pid = event["workers"][0]["pid"]
                self._console.print(
                    f"[bold]{event['topology']}[/bold]: process {pid}, log {event['log']}", highlight=False
                )
            case "progress":
                self._live.update(self._screen(event))
                self._last = event
            case "log":
                self._console.print(Text(event["text"], style="dim"), soft_wrap=True)
            case "draining":
                self._console.print("the sources are stopped; waiting for what is pending (Ctrl-C again kills)")
            case "stuck":
                self._console.print(Text(stuck_text(event), style="yellow"))
            case "failed":
                self._console.print(Text(f"{event['text']}\n  log: {event['log']}", style="red"))
            case "summary":
                self.close()
                for line in summary_lines(event):
                    print(line)
                sys.stdout.flush()
            case _:
                pass

    def close(self) -> None:
        """Takes the display down."""
        self._live.stop()

    def _screen(self, event: Event) -> RenderableType:
        emitted, acked = rates(event, self._last)
        latency = event["complete_ms"]
        head = Text.assemble(
            ("in ", "dim"), (f"{emitted:,.0f}/s", "bold green"), ("   acked ", "dim"), (f"{acked:,.0f}/s", "bold green"),
            ("   complete p50 ", "dim"), f"{latency['p50']:.2f} ms", ("  p99 ", "dim"), f"{latency['p99']:.2f} ms",
            ("   pending ", "dim"), f"{event['pending']:,}", ("   failed ", "dim"), f"{event['failed']:,}",
            ("   dead ", "dim"), f"{event['dead']:,}", ("   up ", "dim"), f"{event['uptime_s']:.0f} s",
            ("   Ctrl-C drains and ends", "dim italic"),
        )  # fmt: skip
        parts: list[RenderableType] = [head, self._components(event), *self._tables(event)]
        for name, kept in event.get("errors", {}).items():
            parts.append(Text(f"{name}: {kept['last']} ({kept['count']} kept)", style="red"))
        return Group(*parts)

    def _components(self, event: Event) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in (
            "component",
            "tasks",
            "queue",
            "capacity",
            "executed",
            "emitted",
            "acked",
            "failed",
            "execute ms",
            "process ms",
        ):
            table.add_column(title, justify="left" if title == "component" else "right")
        before: dict[str, Event] = self._last["components"] if self._last else {}
        for name, now in event["components"].items():
            if name.startswith("__"):
                continue
            was = before.get(name, {"executed": 0, "emitted": 0})
            busy = now["capacity"]
            style = "red" if busy > 0.9 else "yellow" if busy > 0.7 else ""
            grew = max(now["executed"] - was["executed"], now["emitted"] - was["emitted"])
            table.add_row(
                f"{name} [dim](+{grew:,})[/dim]", str(now["tasks"]), f"{now['queue']:,}", Text(f"{busy:.2f}", style=style),
                f"{now['executed']:,}", f"{now['emitted']:,}", f"{now['acked']:,}", f"{now['failed']:,}",
                f"{now['execute_ms']['mean']:.4f}", f"{now['process_ms']['mean']:.4f}",
            )  # fmt: skip
        return table

    def _tables(self, event: Event) -> list[RenderableType]:
        shown: list[RenderableType] = []
        for component in event["components"].values():
            for title, rows in component.get("tables", {}).items():
                table = Table(title=title, box=None, pad_edge=False, show_header=False, title_justify="left")
                table.add_column()
                table.add_column(justify="right")
                for key, value in list(rows.items())[:KEPT_LINES]:
                    table.add_row(key, f"{value:,.0f}")
                shown.append(table)
        return shown
