"""What a tuple costs there and back between workers: `python -m benchmarks.codec [--json]`.

As a worker does it: values, root and edge into data frames of so many tuples (with checksum), and out of them into a
mailbox. All frames are written before the first is read, so no buffer is warm that would not be in a worker. Beside it,
in the same run and on the same rows, `pickle` of the same tuples with their ids: the way out of many Python programs.
"""

from __future__ import annotations

import gc
import json
import pickle
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from squall import _core

Rows = list[tuple[object, ...]]


def words(count: int, seed: int = 7) -> list[str]:
    """Words of 2 to 11 letters, 5.5 in the mean, no two the same object."""
    chance = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    return ["".join(chance.choices(letters, k=min(11, 2 + int(chance.expovariate(0.25))))) for _ in range(count)]


def rows_of(kind: str, count: int) -> Rows:
    """Rows of one of the measured kinds."""
    texts = words(count)
    match kind:
        case "word":
            return [(word,) for word in texts]
        case "word, count":
            return [(word, number % 500) for number, word in enumerate(texts)]
        case _:
            return [(word, n, n * 0.5, "s" + word) for n, word in enumerate(texts)]


@dataclass(frozen=True)
class Cost:
    """Nanoseconds of CPU time a tuple."""

    write_ns: float
    read_ns: float

    @property
    def both_ns(self) -> float:
        return self.write_ns + self.read_ns


def by_codec(rows: Rows, per_frame: int) -> Cost:
    write, read, _ = _core.time_codec(rows, per_frame)
    return Cost(write, read)


def by_pickle(rows: Rows, per_frame: int) -> Cost:
    """Lists of (values, root, edge), pickled a frame at a time."""
    with_ids = [
        (row, (n * 0x9E3779B9) & (2**64 - 1), (n * 0x9E3779B97F4A7C15) & (2**64 - 1)) for n, row in enumerate(rows)
    ]
    began = time.thread_time_ns()
    frames = [pickle.dumps(with_ids[at : at + per_frame], 5) for at in range(0, len(rows), per_frame)]
    written = time.thread_time_ns()
    for frame in frames:
        for values, root, edge in pickle.loads(frame):
            _ = values, root, edge
    read = time.thread_time_ns()
    return Cost((written - began) / len(rows), (read - written) / len(rows))


def best(costs: Sequence[Cost]) -> Cost:
    """The least of each: what others on the machine add is never less than nothing."""
    return Cost(min(cost.write_ns for cost in costs), min(cost.read_ns for cost in costs))


def measure(kind: str, per_frame: int, count: int = 100_000, rounds: int = 11) -> tuple[Cost, Cost]:
    """(codec, pickle): the best of rounds that take turns."""
    rows = rows_of(kind, count)
    gc.collect()
    gc.disable()
    try:
        pairs = [(by_codec(rows, per_frame), by_pickle(rows, per_frame)) for _ in range(rounds)]
    finally:
        gc.enable()
    return best([codec for codec, _ in pairs]), best([pickled for _, pickled in pairs])


def codec_ns_per_tuple() -> tuple[float, float]:
    """(codec, pickle) there and back of (word, count) with ids at 128 a frame."""
    codec, pickled = measure("word, count", 128)
    return codec.both_ns, pickled.both_ns


def told(cost: Cost) -> str:
    return f"{cost.write_ns:6.1f} + {cost.read_ns:5.1f} = {cost.both_ns:6.1f} ns"


def main() -> None:
    found: dict[str, float] = {}
    for kind in ("word", "word, count", "word, int, float, str"):
        for per_frame in (10, 128, 1000):
            codec, pickled = measure(kind, per_frame)
            found[f"{kind} @ {per_frame}"] = round(codec.both_ns, 1)
            print(
                f"{kind:24} {per_frame:5} a frame: {told(codec)}; pickle {told(pickled)}", file=sys.stderr, flush=True
            )
    if "--json" in sys.argv:
        print(json.dumps({"codec_ns_per_tuple": found["word, count @ 128"], **found}))


if __name__ == "__main__":
    main()
