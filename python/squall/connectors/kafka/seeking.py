"""Where `squall kafka seek` goes: what people write, and the offsets that it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from squall.connectors.kafka.offsets import Key
from squall.errors import ConfigError, Defect


@dataclass(frozen=True, slots=True)
class Target:
    """`number`: an offset, or milliseconds since 1970."""

    kind: Literal["beginning", "end", "offset", "time"]
    number: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind in ("beginning", "end") else f"{self.kind}:{self.number}"


def parsed(text: str) -> Target:
    """`beginning`, `end`, `offset:N` or `time:ISO`; a time without a zone is UTC.

    Raises:
        ConfigError: `kafka_seek_refused`.
    """
    kind, colon, rest = text.partition(":")
    if kind in ("beginning", "end") and not colon:
        return Target(kind)  # pyright: ignore[reportArgumentType]
    if kind == "offset" and rest.isascii() and rest.isdecimal() and len(rest) < 19:
        return Target("offset", int(rest))
    if kind == "time":
        try:
            at = datetime.fromisoformat(rest)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return Target("time", max(int(at.timestamp() * 1000), 0))
        except (ValueError, OverflowError):
            pass
    fix = "write beginning, end, offset:1000 or time:2026-05-01T12:00:00Z"
    raise refused(f'"{text}" is no place in a topic', (), fix)


def targets(consumer: Any, partition: Any, keys: Sequence[Key], target: Target, within_s: float) -> dict[Key, int]:
    """The offsets that a target comes to.

    Raises:
        ConfigError: `kafka_seek_refused`: an offset is not there.
        KafkaException: no broker answers.
    """
    bounds = {key: consumer.get_watermark_offsets(partition(*key), timeout=within_s) for key in keys}
    match target.kind:
        case "beginning":
            return {key: low for key, (low, _) in bounds.items()}
        case "end":
            return {key: high for key, (_, high) in bounds.items()}
        case "offset":
            return _at_offset(bounds, target.number)
        case "time":
            asked = [partition(*key, target.number) for key in keys]
            found: list[Any] = consumer.offsets_for_times(asked, timeout=within_s) if asked else []
            at = {(one.topic, one.partition): one.offset for one in found}
            return {key: at[key] if at[key] >= 0 else high for key, (_, high) in bounds.items()}


def _at_offset(bounds: Mapping[Key, tuple[int, int]], offset: int) -> dict[Key, int]:
    for (topic, number), (low, high) in bounds.items():
        if not low <= offset <= high:
            facts = (("it holds", f"{low} to {high}"),)
            fix = "give an offset in these bounds, or name one partition: --partition N"
            raise refused(f"{topic}/{number} has no offset {offset}", facts, fix)
    return dict.fromkeys(bounds, offset)


def refused(message: str, facts: tuple[tuple[str, str], ...], fix: str) -> ConfigError:
    """A place that cannot be gone to."""
    return ConfigError(Defect("kafka_seek_refused", message, facts, fix))
