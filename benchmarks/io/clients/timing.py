"""What one client is told, and what it tells: one line of JSON at the end of its output.

Clients run in processes, and some in environments, of their own: nothing but the standard library is imported here.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import dataclass, field

FETCH_BACKOFF_MS = 5
"""`fetch.queue.backoff.ms`: with librdkafka's default of 1,000 a fast consumer stands still for a second at a time."""
LINGER_MS = 5
QUEUED_MAX = 1_000_000
COMMIT_EVERY_S = 1.0


@dataclass
class Order:
    """The command line: where the broker is, from which topic to which, and how many records."""

    broker: str
    source: str
    target: str
    count: int
    within_s: float = 60.0

    @classmethod
    def given(cls) -> Order:
        broker, source, target, count, *within_s = sys.argv[1:]
        return cls(broker, source, target, int(count), *(float(text) for text in within_s))


@dataclass
class Timed:
    """From the first record to the moment when all that came of the last one was confirmed."""

    began_s: float | None = field(default=None)
    began_cpu_s: float = 0.0

    def begin(self) -> None:
        """The first record is there; later calls mean nothing."""
        if self.began_s is None:
            self.began_s, self.began_cpu_s = time.perf_counter(), cpu_s()

    def tell(self, records: int) -> None:
        """All is done: prints what it took."""
        assert self.began_s is not None, "no record came"
        wall_s, used_s = time.perf_counter() - self.began_s, cpu_s() - self.began_cpu_s
        told = json.dumps({"records": records, "wall_s": wall_s, "cpu_s": used_s})
        print(f"\n{told}", file=sys.__stdout__, flush=True)  # some take what is printed into their log

    def tell_and_leave(self, records: int) -> None:
        """The same, for a framework that would not end by itself."""
        self.tell(records)
        os._exit(0)


def cpu_s() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Words:
    """The work that all do: counts the words of a sentence, and says how often its last one was seen."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def count(self, sentence: str) -> int:
        counts, seen = self.counts, 0
        for word in sentence.split():
            seen = counts.get(word, 0) + 1
            counts[word] = seen
        return seen
