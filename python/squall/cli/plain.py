"""A run on a pipe: one plain line a second, the summary at the end."""

from __future__ import annotations

import sys
from typing import Any, TextIO

Event = dict[str, Any]


class PlainView:
    """Lines of text on `out`; logs and errors on standard error."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last: Event | None = None

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match event["event"]:
            case "started":
                self._say(f'running "{event["topology"]}" in process {event["workers"][0]["pid"]}; log: {event["log"]}')
            case "progress":
                self._say(progress_line(event, self._last))
                self._last = event
            case "log":
                print(event["text"], file=sys.stderr)
            case "draining":
                self._say("the sources are stopped; waiting for what is pending")
            case "stuck":
                print(stuck_text(event), file=sys.stderr)
            case "failed":
                print(f"{event['text']}\n  log: {event['log']}", file=sys.stderr)
            case "summary":
                for line in summary_lines(event):
                    self._say(line)
            case _:
                pass

    def close(self) -> None:
        """Nothing is open."""

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def rates(event: Event, last: Event | None) -> tuple[float, float]:
    """Roots emitted and acked a second since the report before."""
    since_s = event["uptime_s"] - (last["uptime_s"] if last else 0.0)
    if since_s <= 0:
        return 0.0, 0.0
    before = last or {"emitted": 0, "acked": 0}
    return (event["emitted"] - before["emitted"]) / since_s, (event["acked"] - before["acked"]) / since_s


def progress_line(event: Event, last: Event | None) -> str:
    """One report as a line."""
    emitted, acked = rates(event, last)
    latency = event["complete_ms"]
    queued = sum(component["queue"] for component in event["components"].values())
    line = (
        f"{event['uptime_s']:7.1f} s  in {emitted:>10,.0f}/s  acked {acked:>10,.0f}/s  pending {event['pending']:>6,}  "
        f"failed {event['failed']:,}  complete p50 {latency['p50']:.2f} ms p99 {latency['p99']:.2f} ms  queued {queued:,}"
    )
    for component in event["components"].values():
        for name, rows in component.get("tables", {}).items():
            top = ", ".join(f"{key} {value:,.0f}" for key, value in list(rows.items())[:5])
            line += f"  {name}: {top}"
    return line


def stuck_text(event: Event) -> str:
    """A call that does not return, with its stack."""
    head = f'a call of "{event["component"]}" has been running for {event["running_s"]:.0f} s; its stack:'
    stack = event["stack"].strip().splitlines()
    return "\n".join([head, *("  " + line for line in stack[:20])])


def summary_lines(event: Event) -> list[str]:
    """The end of a run: totals that add up, and each component."""
    latency = event["complete_ms"]
    lines = [
        "",
        f'summary of "{event["topology"]}" after {event["wall_s"]:.1f} s ({event["cpu_s"]:.1f} s of CPU)',
        f"  emitted {event['emitted']:,} = acked {event['acked']:,} + failed {event['failed']:,} + pending {event['pending']:,}"
        f"   (dead letters: {event['dead']:,})",
        f"  complete latency p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms, max {latency['max']:.2f} ms",
    ]
    for name, component in event["components"].items():
        if name.startswith("__"):
            continue
        lines.append(
            f"  {name:<16} executed {component['executed']:>12,}  emitted {component['emitted']:>12,}  "
            f"acked {component['acked']:>12,}  failed {component['failed']:>8,}"
        )
    return lines
