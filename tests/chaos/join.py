"""W4: two sources whose rows belong together by number; a join holds one until the other has come.

The runtime tries again what failed. Some rows can never be taken: each ends as a dead letter, on both sides.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from squall import Bolt, DeadLetter, Exhausted, Spout, Topology, Tuple

from chaos.misdeeds import RETRIES, Misdeeds
from chaos.noted import End, High, Notes, checksum, folder, lines

PENDING = 500
RATE_PER_S = 2500
POISON_EVERY = 20_011
"""One row in so many can never be taken."""
POISON = 17


class Rows(Spout):
    """The rows of one side. What has ended is counted by the runtime."""

    outputs = ("number", "side", "crc")
    rate_per_s = RATE_PER_S

    def __init__(self, side: str) -> None:
        self.side = side

    def open(self, context) -> None:
        self.first = self.next = 0
        self.end, self.notes, self.high = End(), Notes(f"rows-{self.side}"), High(f"rows-{self.side}")

    def seek(self, position: bytes) -> None:
        self.first = self.next = int(position)

    def position(self) -> bytes:
        return str(self.first + self.context.ended_prefix()).encode()

    def next_batch(self, limit: int) -> list[tuple[int, str, int]]:
        most = self.end.now()
        if self.next >= most:
            raise Exhausted
        first, self.next = self.next, min(self.next + limit, most)
        if first < self.high.of_last_life:
            self.notes.mention(f"again {time.monotonic():.4f} {first}")
        else:
            self.high.set(self.next)
        return [(number, self.side, checksum(self.side, number)) for number in range(first, self.next)]


class Pass(Bolt):
    """A hop on the way, which never takes some rows."""

    outputs = ("number", "side", "crc")

    def open(self, context) -> None:
        self.misdeeds = Misdeeds("split")

    def process(self, number: int, side: str, crc: int) -> tuple[int, str, int]:
        assert crc == checksum(side, number), "a row that nobody sent"
        self.misdeeds.one()
        if number % POISON_EVERY == POISON:
            raise DeadLetter(f"row {number} can never be taken")
        return number, side, crc


class Join(Bolt):
    """Holds a row until the one of the other side has come; both end when they are kept."""

    manual_ack: ClassVar[bool] = True

    def open(self, context) -> None:
        self.misdeeds, kind = Misdeeds("keep"), f"joined-{context.task_index}"
        self.waiting: dict[int, Tuple] = {}
        # One side may have ended with its row kept when the other one is emitted again.
        files = list(folder().glob(f"{kind}-*"))
        self.kept = {int(line) for path in files for line in lines(path) if line.isdecimal()}
        self.notes = Notes(kind)

    def process(self, row: Tuple) -> None:
        self.misdeeds.one()
        number = row["number"]
        if number in self.kept:
            return self.ack(row)
        other = self.waiting.get(number)
        if other is None or other["side"] == row["side"]:
            self.waiting[number] = row
            return None if other is None else self.fail(other)
        self.notes.write(str(number))
        del self.waiting[number]
        self.kept.add(number)
        return self.ack(row, other)


topology = Topology(
    "join",
    workers=int(os.environ.get("SQUALL_CHAOS_WORKERS", "3")),
    settings={
        "topology.max.spout.pending": PENDING,
        "topology.message.timeout.secs": 20,
        "topology.retries": RETRIES,
    },
)
passed = topology.bolt("split", Pass, parallelism=3)
for side in ("left", "right"):
    passed.shuffle(topology.spout(side, lambda side=side: Rows(side), outputs=Rows.outputs))
topology.bolt("keep", Join, parallelism=3).fields(passed, "number")
