"""The parts of the screen beside graph and table: head, culprits, errors, dead letters, workers, tables, foot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from squall.cli.texts import links_down, links_text, refused, tables
from squall.cli.view.listing import grade
from squall.cli.view.state import Known
from squall.cli.view.words import clock, culprits, ms, one_line, per_s, share, size, span

SAID_FROM = 0.05
"""Share of blocked time from which it is said whose fault it is."""

Event = dict[str, Any]
Parts = tuple[tuple[str, str], ...]


def _row(pairs: Parts) -> Text:
    row = Text()
    for name, value in pairs:
        row.append(f"{name} ", "dim").append(f"{value}   ", "bold")
    row.rstrip()
    return row


def head(known: Known, now_s: float) -> list[Text]:
    """The topology and how it is; then its totals."""
    line = Text(known.topology, "bold reverse" if known.paused else "bold")
    if (event := known.shown) is None:
        return [line.append("   starting …", "dim")]
    phase = "draining" if known.draining else event["phase"]
    line.append(f"   {phase} ", "yellow" if known.draining else "green").append(span(event["uptime_s"]), "bold")
    if known.paused:
        line.append("   view paused, p goes on", "yellow")
    if known.raised is not None and known.raised.until_s > now_s:
        line.append(f"   log level DEBUG for {known.raised.until_s - now_s:.0f} s", "yellow")
    return [line, _totals(event), _latency(event)]


def _totals(event: Event) -> Text:
    row = _row(
        (
            ("in", per_s(event["emitted_per_s"])),
            ("out", per_s(event["out_per_s"])),
            ("pending", f"{event['pending']:,}"),
            ("acked", f"{event['acked']:,}"),
        )
    )
    for name in ("failed", "dead"):
        row.append(f"   {name} ", "dim").append(f"{event[name]:,}", "bold red" if event[name] else "bold")
    return row


def _latency(event: Event) -> Text:
    complete = event["recent_complete_ms"]
    figures = (("complete p50", "p50"), ("p99", "p99"), ("p999", "p999"), ("max", "max"))
    return _row(tuple((word, ms(complete, figure)) for word, figure in figures)).append(" ms, lately", "dim")


def blame(components: Mapping[str, Any]) -> list[Text]:
    """Who is held up by whom, the most first."""
    names = sorted(components, key=lambda name: -max(components[name].get("blocked_ratio", {}).values(), default=0.0))
    lines: list[Text] = []
    for name in names:
        for number, sentence in enumerate(culprits(name, components, SAID_FROM)):
            worst = [*components[name]["blocked_ratio"].values()][number]
            lines.append(Text(sentence, grade(worst)))
    return lines


def errors(event: Event, *, in_full: bool = False) -> list[Text]:
    """The newest error of each component, the newest of all first."""
    newest = sorted(event["errors"].items(), key=lambda one: one[1]["at"], reverse=True)
    lines: list[Text] = []
    for name, kept in newest:
        count = event["components"].get(name, {}).get("errors", kept["count"])
        head = Text.assemble((f"{clock(kept['at'])} ", "dim"), (name, "bold red"), (f" ×{count}  ", "red"))
        if in_full:
            place = f"in {kept['where']}, task {kept['task']}"
            lines += [head.append(place, "dim"), *(Text("  " + one_line(row)) for row in kept["last"].splitlines())]
        else:
            lines.append(head.append(one_line(kept["last"]), "red"))
    return lines or ([Text("no component has raised an error", "dim")] if in_full else [])


def dead_letters(event: Event) -> list[Text]:
    """How many dead letters wait for someone, and the newest."""
    letters = event["dead_letters"]
    if not letters["open"]:
        return []
    line = Text(f"{letters['open']:,} open dead letters", "bold red")
    if (last := letters["last"]) is not None:
        line.append(f"   newest {clock(last['at'])} {last['component']}: ", "dim").append(one_line(last["error"]))
    return [line, Text(f"  see them with: squall dead list {event['topology']}", "dim")]


def workers(event: Event) -> list[Text]:
    """The processes."""
    lines: list[Text] = []
    for one in event["workers"]:
        line = Text(f"worker {one['id']}  ", "dim").append(f"{share(one['cpu_ratio'])} CPU", grade(one["cpu_ratio"]))
        lines.append(line.append(f"  {size(one['rss_bytes'])}  pid {one['pid']}  up {span(one['uptime_s'])}", "dim"))
    down = links_down(event)
    if links := links_text(down, refused(event)):
        lines.append(Text(f"links     {links}", "bold red" if down else "yellow"))
    return lines


def users_tables(event: Event) -> list[list[Text]]:
    """The tables that components show."""
    found: list[list[Text]] = []
    for title, rows in tables(event):
        width = max((len(key) for key in rows), default=0)
        lines = [Text(one_line(title), "dim")]
        lines += [Text(f"{one_line(key):<{min(width, 40)}}  {value:>12,.0f}") for key, value in rows.items()]
        found.append(lines)
    return found


KEYS = (
    ("q", "quit", "ends the view; of `squall run` also the run, as Ctrl-C does: what is pending ends first"),
    ("p", "pause", "or space: keeps this picture; the topology goes on"),
    ("j k", "choose", "or arrows: shows all about one component; Esc goes back"),
    ("e", "errors", "the newest error of each component in full"),
    ("t", "tap", "the newest tuples that the chosen component emits"),
    ("l", "DEBUG", "raises the log level to DEBUG for 30 s; again: back at once"),
    ("s", "stacks", "what every thread is doing now, also written to a file"),
    ("?", "help", "this"),
)


def foot(known: Known, width: int, *, keys: bool) -> list[Text]:
    """What happened to the last key, or the keys."""
    if known.note:
        return [Text(one_line(known.note), "yellow")]
    if not keys:
        return [Text(known.quits, "dim")]
    line = Text()
    for key, word, _ in KEYS:
        if line.cell_len + len(key) + len(word) + 4 > width:
            break
        line.append(key, "bold").append(f" {word}   ", "dim")
    line.rstrip()
    return [line]


def tap(known: Known) -> list[Text]:
    """The newest tuples of a component, or which one may be chosen."""
    if known.tapped is None:
        offered = (f"{number} {name}" for number, name in enumerate(known.names[:9], 1))
        return [Text("whose tuples? its number; or j k and t:   ", "bold").append("   ".join(offered), "cyan")]
    head = Text.assemble((known.tapped, "bold"), "   what it emits, the newest first", ("   t ends", "dim"))
    tuples = [Text(line) for line in known.tuples]
    return [head, *(tuples or [Text("nothing has come by yet", "dim")])]


def help_lines() -> list[Text]:
    """What the keys do, and what the figures mean."""
    lines = [Text.assemble((f"{key:>5}  ", "bold"), told) for key, _, told in KEYS]
    figures = (
        ("capacity", "share of its time that a component is at work: near 1 it is the bottleneck"),
        ("held up", "share of its time that it could go on but has to wait for another one, over the last seconds"),
        ("queue", "tuples that wait before it"),
        ("p50, p99", "of the time of one call in the last 10 to 20 s, in milliseconds, sampled; – : none was measured"),
        ("complete", "from a tuple's emission until all that came of it is done; lately: in the last 10 to 20 s"),
    )
    return [*lines, Text(""), *(Text.assemble((f"{name:>9}  ", "bold"), told) for name, told in figures)]
