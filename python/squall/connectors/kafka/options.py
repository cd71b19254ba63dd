"""What a `KafkaSpout` was asked for, checked; and where it begins to read. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast
from zlib import crc32

from squall.connectors.kafka.client import wrong
from squall.connectors.kafka.offsets import Key
from squall.errors import repr_of
from squall.model.durations import seconds_or_none

Guarantee: TypeAlias = Literal["at least once", "at most once", "none"]
First: TypeAlias = Literal["earliest", "latest", "uncommitted earliest", "uncommitted latest"]
GUARANTEES = ("at least once", "at most once", "none")
FIRSTS = ("earliest", "latest", "uncommitted earliest", "uncommitted latest")
PROTOCOLS = ("classic", "consumer")
BEGINNING, END, STORED = -2, -1, -1000
"""Offsets that librdkafka knows."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Topics by their names, or all that a pattern matches from its start."""

    topics: tuple[str, ...]
    pattern: str | None

    def __str__(self) -> str:
        return f"topics matching {self.pattern!r}" if self.pattern else ", ".join(self.topics)

    def among(self, there: Mapping[str, Any]) -> list[str]:
        """Which of the topics that are there."""
        if self.pattern is None:
            return [topic for topic in self.topics if topic in there]
        return sorted(topic for topic in there if re.match(self.pattern, topic))

    @property
    def as_subscribed(self) -> list[str]:
        """As librdkafka takes it: what begins with ^ is a pattern."""
        return [*self.topics] if self.pattern is None else [self.pattern]


def subscription(topics: object, pattern: object) -> Subscription:
    """The arguments `topics` and `pattern`.

    Raises:
        TopologyError: `kafka_option`.
    """
    fix = 'give a topic, a list of topics, or pattern="^orders-.*"'
    if (topics is None) == (pattern is None):
        raise wrong("KafkaSpout has topics and a pattern" if pattern else "KafkaSpout has no topic", fix)
    if pattern is not None:
        try:
            re.compile(cast("str", pattern))
            if not isinstance(pattern, str):
                raise TypeError("it is no text")
        except (re.error, TypeError) as error:
            raise wrong(f"KafkaSpout has pattern={repr_of(pattern)}: {error}", fix) from None
        return Subscription((), pattern if pattern.startswith("^") else "^" + pattern)
    given: Any = (topics,) if isinstance(topics, str) else topics
    names = cast("Sequence[Any]", given) if isinstance(given, Sequence) else ()
    if not names or not all(isinstance(one, str) and one for one in names):
        raise wrong(f"KafkaSpout is given {repr_of(topics)}, which names no topic", fix)
    if starts := [name for name in names if name.startswith("^")]:
        raise wrong(f"KafkaSpout is given the topic {starts[0]!r}", f"if it is a pattern: pattern={starts[0]!r}")
    return Subscription(tuple(dict.fromkeys(names)), None)


def one_of(name: str, value: object, words: Sequence[str]) -> None:
    """Refuses what is none of the words.

    Raises:
        TopologyError: `kafka_option`.
    """
    if value not in words:
        raise wrong(f"KafkaSpout has {name}={repr_of(value)}", f"give one of: {', '.join(map(repr, words))}")


def length_s(who: str, name: str, value: object) -> float:
    """A length of time above 0.

    Raises:
        TopologyError: `kafka_option`.
    """
    length = seconds_or_none(cast("Any", value))
    if length is None or length <= 0:
        raise wrong(f"{who} has {name}={repr_of(value)}", "give seconds, above 0")
    return length


def share(topic: str, partitions: int, task: int, tasks: int) -> list[Key]:
    """The partitions of a topic that one of several tasks reads: round robin, and no other's when there are more."""
    first = crc32(topic.encode())
    return [(topic, partition) for partition in range(partitions) if (first + partition) % tasks == task]


def start(first: First, committed: int | None, *, is_own: bool) -> int:
    """The offset where a partition is begun.

    Args:
        committed: what the group, or the last run, had ended; None: nothing.
        is_own: it was this run that committed it, so it is not the first time that this run reads it.
    """
    if committed is not None and (is_own or first.startswith("uncommitted")):
        return committed
    return BEGINNING if first.endswith("earliest") else END
