"""Reports of a run as text, for every view alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Event = dict[str, Any]
STACK_LINES = 20
USUAL = {
    "hung_up",
    "not_sought",
    "older_token",
    "other_session",
    "other_token",
    "overtaken",
    "superseded",
    "unreachable",
}
"""Why workers turn each other away while one of them starts or is replaced: no reason to worry."""


def listening(event: Event) -> str:
    """Where the spouts of a run that has started listen, and where its metrics are; empty if nothing does."""
    spouts = [f'; "{name}" listens on {address}' for name, address in event["listening"].items()]
    return "".join([*spouts, *(f"; metrics on {url}" for url in event["metrics"].values())])


def processes(event: Event) -> str:
    """The worker processes of a run that has started."""
    pids = [str(worker["pid"]) for worker in event["workers"]]
    return f"process {pids[0]}" if len(pids) == 1 else f"processes {', '.join(pids)}"


def lost_text(event: Event) -> str:
    """A worker that was lost."""
    return f"{event['cause']}; another process takes its place"


def rates(event: Event, last: Event | None) -> tuple[float, float]:
    """Roots that came in, and tuples that the last bolts took, a second since the report before."""
    since_s = event["uptime_s"] - (last["uptime_s"] if last else 0.0)
    if since_s <= 0:
        return 0.0, 0.0
    before = last or {"emitted": 0, "out": 0}
    return (event["emitted"] - before["emitted"]) / since_s, (event["out"] - before["out"]) / since_s


def components(event: Event) -> Iterator[tuple[str, Event]]:
    """The user's components with their figures; system components are left out."""
    return ((name, figures) for name, figures in event["components"].items() if not name.startswith("__"))


def tables(event: Event) -> Iterator[tuple[str, dict[str, float]]]:
    """The tables that components show: title and rows."""
    for _, figures in components(event):
        yield from figures["tables"].items()


def compact(count: float) -> str:
    """A count in at most five characters: `593k`, `8.46M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if count >= size:
            scaled = count / (1e3 if unit == "k" else size)
            return f"{scaled:.{0 if scaled >= 100 or unit == 'k' else 1 if scaled >= 10 else 2}f}{unit}"
    return f"{count:,.0f}"


def progress_line(event: Event, last: Event | None) -> str:
    """One report as a line."""
    into, out = rates(event, last)
    latency = event["recent_complete_ms"]
    parts = [
        f"{event['uptime_s']:6.1f} s",
        f"in {into:,.0f}/s",
        f"out {out:,.0f}/s",
        f"complete p50 {latency['p50']:.2f} ms p99 {latency['p99']:.2f} ms",
        f"pending {event['pending']:,}",
        f"failed {event['failed']:,}",
        f"dead {event['dead']:,}",
    ]
    parts += [f"{name}: {_short(figures)}" for name, figures in components(event)]
    if links := links_text(links_down(event), refused(event)):
        parts.append(f"links {links}")
    for title, rows in tables(event):
        parts.append(f"{title}: " + ", ".join(f"{key} {value:,.0f}" for key, value in list(rows.items())[:5]))
    return "  ".join(parts)


def _short(figures: Event) -> str:
    if figures["kind"] == "spout":
        return f"{figures['emitted']:,}"
    return f"{figures['executed']:,} (queue {figures['queue']:,}, capacity {figures['capacity']:.2f})"


def links_down(event: Event) -> list[str]:
    """The links between workers that are down while the run goes on, such as `1–2`."""
    if event.get("phase") != "running":
        return []
    ends = {
        tuple(sorted((int(worker), int(peer))))
        for worker, links in event.get("links", {}).items()
        for peer, figures in links["peers"].items()
        if not figures["is_up"]
    }
    return [f"{one}–{other}" for one, other in sorted(ends)]


def refused(event: Event) -> dict[str, int]:
    """What the workers have turned away on their links and is not usual, by cause."""
    out: dict[str, int] = {}
    for links in event.get("links", {}).values():
        for cause in links["refused"].keys() - USUAL:
            out[cause] = out.get(cause, 0) + links["refused"][cause]
    return dict(sorted(out.items()))


def links_text(down: Sequence[str], causes: Mapping[str, int]) -> str:
    """What is wrong with links, on a part of a line; empty if nothing is."""
    parts = [f"down: {', '.join(down)}"] if down else []
    parts += ["refused: " + ", ".join(f"{cause} {count:,}" for cause, count in causes.items())] if causes else []
    return "; ".join(parts)


def stuck_text(event: Event) -> str:
    """A call that does not return, with its stack."""
    stack = event["stack"].strip().splitlines()
    hint = "  if it waits for I/O: blocking = True or async def; see squall explain call_hangs"
    head = f"{stuck_head(event)}; its stack:"
    return "\n".join([head, *("  " + line for line in stack[:STACK_LINES]), *([hint] if event["on_loop"] else [])])


def stuck_head(event: Event) -> str:
    """A call that does not return, and what it waits for if it says so."""
    component, running_s = event["component"], event["running_s"]
    if waits_for := event["waits_for"]:
        return f'"{component}" has been waiting for {waits_for} for {running_s:.0f} s'
    return f'a call of "{component}" has been running for {running_s:.0f} s'


def failed_text(event: Event) -> str:
    """Why a run failed, and where its log is."""
    return f"{event['text']}\n  log: {event['log']}"


def summary_lines(event: Event) -> list[str]:
    """The end of a run: totals that add up, and each component."""
    latency = event["complete_ms"]
    totals = " + ".join(f"{name} {event[name]:,}" for name in ("acked", "failed", "pending"))
    about = (
        "  (the worker was lost: what its components counted since its last report is missing)"
        if "approximate" in event
        else ""
    )
    lines = [
        "",
        f'summary of "{event["topology"]}" after {event["wall_s"]:.1f} s ({event["cpu_s"]:.1f} s of CPU){about}',
        f"  emitted {event['emitted']:,} = {totals}   (dead letters: {event['dead']:,})",
        f"  complete latency p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms, max {latency['max']:.2f} ms",
    ]
    for name, figures in components(event):
        counts = (f"{count} {figures[count]:>{width},}" for count, width in COUNTS)
        lines.append(f"  {name:<16} " + "  ".join(counts))
    return lines


COUNTS = (("executed", 12), ("emitted", 12), ("acked", 12), ("failed", 8))
"""Columns of the summary, with their widths."""
