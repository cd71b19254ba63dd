"""W1: numbered records, each split into three parts that are counted by key and kept.

The sources keep what has not ended themselves, so that they know when something that was lost goes out again. Beside it
stands a source whose trees never leave their worker: it notes how long it was not asked, and for how much of that time
its thread could have run, but had no processor.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from squall import Bolt, Exhausted, Spout, Topology

from chaos.misdeeds import RETRIES, Misdeeds
from chaos.noted import End, High, Notes, checksum

PENDING = 500
PARTS = 3
KEYS = 997
RATE_PER_S = 2500
"""New records of one source's task; those that come again are there at once."""
NOTED_GAP_S = 0.02
APART_PER_S = 500


class Records(Spout):
    """Numbered records, each task for itself; a position is the number before which all have ended."""

    outputs = ("source", "seq", "crc")

    def open(self, context) -> None:
        self.source = context.task_index
        self.low = self.next = 0
        self.ended: set[int] = set()
        self.failed: deque[int] = deque()
        self.sent_s: dict[int, float] = {}
        self.end, self.notes, self.high = End(), Notes(f"records-{self.source}"), High(f"records-{self.source}")
        self.began_s = time.monotonic()
        self.notes.mention(f"life {context.worker} {self.began_s:.4f}")

    def seek(self, position: bytes) -> None:
        self.low = self.next = int(position)

    def position(self) -> bytes:
        return str(self.low).encode()

    def next_tuple(self) -> None:
        if self.failed:
            seq = self.failed.popleft()
            self.notes.mention(f"again {time.monotonic():.4f} {seq} {self.sent_s[seq]:.4f}")
        elif self.next < min(self.end.now(), self.come()):
            seq, self.next = self.next, self.next + 1
            if seq < self.high.of_last_life:
                self.notes.mention(f"again {time.monotonic():.4f} {seq} before")
            else:
                self.high.set(self.next)
        elif self.low == self.next == self.end.now():
            raise Exhausted
        else:
            return
        self.sent_s[seq] = time.monotonic()
        self.emit(self.source, seq, checksum(self.source, seq), id=seq)

    def come(self) -> int:
        """The number before which all records are there."""
        return self.high.of_last_life + int((time.monotonic() - self.began_s) * RATE_PER_S)

    def ack(self, seq: int) -> None:
        self.sent_s.pop(seq, None)
        self.ended.add(seq)
        while self.low in self.ended:
            self.ended.remove(self.low)
            self.low += 1

    def fail(self, seq: int) -> None:
        self.failed.append(seq)

    def dead(self, seq: int) -> None:
        self.notes.mention(f"dead {time.monotonic():.4f} {seq}")
        self.ack(seq)


class Split(Bolt):
    """Three parts of a record."""

    outputs = ("key", "source", "seq", "part", "crc")
    streams: ClassVar = {"side": ("payload",)}

    def open(self, context) -> None:
        self.misdeeds = Misdeeds("split")

    def process(self, source: int, seq: int, crc: int) -> Iterator[tuple[str, int, int, int, int]]:
        assert crc == checksum(source, seq), "a record that nobody sent"
        if size := self.misdeeds.one():
            self.emit(bytes(size), stream="side")
        for part in range(PARTS):
            yield f"k{(seq * PARTS + part) % KEYS}", source, seq, part, checksum(source, seq, part)


class Count(Bolt):
    """Counts by key; numbers what it emits, so that the sink sees whether its order is kept."""

    outputs = ("key", "source", "seq", "part", "crc", "sender", "number")

    def open(self, context) -> None:
        self.counts: Counter[str] = Counter()
        self.sender, self.number = f"{os.getpid()}.{context.task_id}", 0

    def process(self, key: str, source: int, seq: int, part: int, crc: int):
        self.counts[key] += 1
        self.number += 1
        return key, source, seq, part, crc, self.sender, self.number


class Keep(Bolt):
    """Keeps the parts in a file, before they are acked."""

    def open(self, context) -> None:
        self.misdeeds, self.notes = Misdeeds("keep"), Notes("parts")
        self.last: dict[str, int] = {}

    def process_batch(self, key, source, seq, part, crc, sender, number) -> None:
        self.misdeeds.one()
        kept = [f"{a} {b} {c} {d}" for a, b, c, d in zip(source, seq, part, crc, strict=True)]
        for who, which in zip(sender, number, strict=True):
            if which <= self.last.get(who, 0):
                kept.append(f"disorder {who} {which} {self.last[who]}")
            self.last[who] = which
        self.notes.write(*kept)


def waited_s() -> float:
    """How long this thread could have run so far, but had no processor."""
    with open("/proc/thread-self/schedstat", "rb") as file:
        return int(file.read().split()[1]) / 1e9


class Apart(Spout):
    """Its trees never leave its worker; how long it was not asked is noted."""

    outputs = ("n",)
    rate_per_s = APART_PER_S

    def open(self, context) -> None:
        self.notes, self.end = Notes("apart"), End()
        self.last_s, self.waited_s = time.monotonic(), waited_s()
        self.notes.mention(f"worker {context.worker} 0")

    def next_tuple(self) -> int:
        now_s, waited = time.monotonic(), waited_s()
        if now_s - self.last_s > NOTED_GAP_S:
            self.notes.mention(f"gap {now_s:.4f} {now_s - self.last_s:.4f} {waited - self.waited_s:.4f}")
        self.last_s, self.waited_s = now_s, waited
        if self.end.now() < 1 << 62:
            raise Exhausted
        return 0


workers = int(os.environ.get("SQUALL_CHAOS_WORKERS", "3"))
topology = Topology(
    "fan-out", workers=workers, settings={"topology.max.spout.pending": PENDING, "topology.retries": RETRIES}
)
records = topology.spout("records", Records, parallelism=2)
split = topology.bolt("split", Split, parallelism=3).shuffle(records)
count = topology.bolt("count", Count, parallelism=3).fields(split, "key")
topology.bolt("keep", Keep, parallelism=2).fields(count, "key")
topology.bolt("side", lambda payload: None).shuffle(split["side"])
apart = topology.spout("apart", Apart, parallelism=workers)
topology.bolt("apart_end", lambda n: None, parallelism=workers).local_or_shuffle(apart)
