"""What Redis says of streams and of a consumer group, and what follows from it: pure.

Redis 7.0 and redis-py answer in shapes that differ with the protocol (RESP 2 and 3); nothing else knows of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from squall.connectors.redis.entries import Entry

FIRST = "0-0"
MOST = (1 << 64) - 1
LAST = f"{MOST}-{MOST - 1}"  # the very greatest stands for ">"


def entries_of(answer: Any) -> list[tuple[str, list[Entry]]]:
    """The entries of `XREADGROUP`, by stream; fields that are gone are None, or empty."""
    if not answer:
        return []
    pairs = cast("Iterable[Any]", answer.items() if isinstance(answer, Mapping) else answer)
    return [(text(stream), flat(entries)) for stream, entries in pairs]


def flat(entries: Sequence[Any]) -> list[Entry]:
    """Entries as they are, whether they are in a list of their own or not."""
    if len(entries) == 1 and (not entries[0] or isinstance(entries[0][0], list | tuple)):
        entries = entries[0]  # as the client gives them for RESP 3
    return [(id, fields or {}) for id, fields in entries if id is not None]


def text(value: Any) -> str:
    """A name as text."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def by_name(value: Any) -> dict[str, Any]:
    """A mapping with texts as names."""
    return {text(name): found for name, found in value.items()}


def parsed(id: str) -> tuple[int, int]:
    """An id as its two numbers."""
    at_ms, _, number = id.partition("-")
    return int(at_ms), int(number or 0)


def before(id: str) -> str:
    """The id just before another one."""
    at_ms, number = parsed(id)
    if number:
        return f"{at_ms}-{number - 1}"
    return f"{at_ms - 1}-{MOST}" if at_ms else FIRST


@dataclass(frozen=True, slots=True)
class Looked:
    """A stream and a group of it at one moment.

    `length`: entries there; `added`, `read`: entries that ever were added, and that the group ever read, where Redis
    knows; `first`, `last`: ids, of the oldest entry and of the newest that ever was; `delivered`: up to where the group
    has read; `pending`: entries that it read and that are not acked, `oldest` of them.
    """

    length: int
    added: int | None
    read: int | None
    first: str | None
    last: str
    delivered: str
    pending: int
    oldest: str | None

    @classmethod
    def of(cls, stream: Any, groups: Any, pending: Any, group: str) -> Looked | None:
        """The answers of `XINFO STREAM`, `XINFO GROUPS` and `XPENDING`; None: there is no such group."""
        about = by_name(stream)
        found = [one for one in map(by_name, groups) if text(one["name"]) == group]
        if not found:
            return None
        mine, first = found[0], about.get("first-entry")
        summary = by_name(pending)
        return cls(
            length=about["length"],
            added=about.get("entries-added"),
            read=mine.get("entries-read"),
            first=text(first[0]) if first else None,
            last=text(about["last-generated-id"]),
            delivered=text(mine["last-delivered-id"]),
            pending=summary["pending"],
            oldest=text(summary["min"]) if summary.get("min") else None,
        )

    @property
    def is_caught_up(self) -> bool:
        """Whether the group has read all."""
        return parsed(self.delivered) >= parsed(self.last)

    @property
    def lag(self) -> int:
        """Entries that the group has not read; all that there are, where Redis cannot say."""
        if self.is_caught_up or not self.length:
            return 0
        if self.first and parsed(self.delivered) < parsed(self.first):
            return self.length
        if self.added is None or self.read is None:
            return self.length
        return min(self.length, max(0, self.added - self.read))

    @property
    def passed_over(self) -> int | None:
        """Entries that were removed before the group read them; None: it cannot be seen now.

        What was added and neither read nor is there. It can be seen while the group is at a gap, or has read all: only
        then it is known how many of those that are there it has not read.
        """
        if self.added is None or self.read is None:
            return None
        if self.is_caught_up:
            return max(0, self.added - self.read)
        if self.first is None or parsed(self.delivered) < parsed(self.first):
            return max(0, self.added - self.read - self.length)
        return None

    @property
    def safe(self) -> str:
        """Before this id, and at it, all has ended: a group that is made there loses nothing."""
        return before(self.oldest) if self.oldest else self.delivered


def start_again(looked: Looked | None, last: str | None) -> str:
    """Where a group is made anew that is gone.

    Args:
        looked: what was seen of it last.
        last: the newest id that the stream ever had; None: there is no stream.
    """
    if looked is None or last is None or parsed(last) < parsed(looked.delivered):
        return FIRST  # it is another stream than the one that was read
    return looked.safe


def dead_consumers(consumers: Any, own: str, idle_ms: int) -> list[str]:
    """Consumers that hold entries and have asked for nothing for so long."""
    return [
        text(one["name"])
        for one in map(by_name, consumers)
        if text(one["name"]) != own and one["pending"] and one["idle"] >= idle_ms
    ]
