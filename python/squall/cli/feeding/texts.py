"""How `squall feed` stands, as data and as text, for every view alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from squall.cli.texts import compact


@dataclass(frozen=True, slots=True)
class FeedState:
    """One look at a feed. Counts are of records; `receipted` is of those from the first one on."""

    address: str
    sent: int
    receipted: int
    skipped: int
    resent: int
    breaks: int
    connected: int
    trouble: str | None
    read_bytes: int
    total_bytes: int
    uptime_s: float
    receipts: bool = True
    """Whether there are any; else `receipted` is what was handed to the operating system."""

    def event(self, kind: str) -> dict[str, Any]:
        """As an event of `--json`."""
        rate = {"rate_per_s": round(self.receipted / self.uptime_s, 1) if self.uptime_s else 0.0}
        return {"event": kind} | asdict(self) | rate | {"next_skip": self.skipped + self.receipted}

    @property
    def part_done(self) -> float | None:
        """How much of the files is receipted; None if nobody knows how much there is."""
        if not self.total_bytes or not self.sent:
            return None
        return min(1.0, self.read_bytes / self.total_bytes * self.receipted / self.sent)

    @property
    def left_s(self) -> float | None:
        """How long the rest takes, if it goes on like this."""
        part = self.part_done
        return self.uptime_s * (1 - part) / part if part else None


def size_text(size: float) -> str:
    """A size with three digits at most: `1.2 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


def rate_per_s(now: FeedState, last: FeedState | None) -> float:
    """Records receipted a second since the last look."""
    since_s = now.uptime_s - (last.uptime_s if last else 0.0)
    return (now.receipted - (last.receipted if last else 0)) / since_s if since_s > 0 else 0.0


def counts_text(now: FeedState, last: FeedState | None) -> str:
    """The figures of a look."""
    parts = [
        f"sent {now.sent:,}",
        *([f"receipted {now.receipted:,}"] if now.receipts else []),
        f"{compact(rate_per_s(now, last))}/s",
        size_text(now.read_bytes) + (f" of {size_text(now.total_bytes)}" if now.total_bytes else ""),
    ]
    parts += [f"resent {now.resent:,}"] if now.resent else []
    parts += [f"left {_duration(now.left_s)}"] if now.left_s is not None else []
    return "  ".join(parts)


def _duration(left_s: float) -> str:
    minutes, rest_s = divmod(round(left_s), 60)
    return f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"


def summary_line(now: FeedState) -> str:
    """The end of a feed."""
    rate = now.receipted / now.uptime_s if now.uptime_s else 0.0
    done = "receipted by" if now.receipts else "handed to the system for"
    text = f"{now.receipted:,} records {done} {now.address} in {now.uptime_s:.1f} s ({rate:,.0f}/s)"
    if now.skipped:
        text += f", after {now.skipped:,} that were skipped"
    if now.resent:
        text += f"; {now.resent:,} were sent again after {now.breaks} breaks, and may have arrived twice"
    return text
