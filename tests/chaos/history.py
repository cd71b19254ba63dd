"""What the topologies noted while faults struck them: an independent count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.fan_out import NOTED_GAP_S, PARTS
from chaos.join import POISON, POISON_EVERY
from chaos.noted import checksum, lines

AFTER_S = 2.0
"""How long after a kill a pause counts as its doing."""


@dataclass
class Count:
    """What became of all records.

    Attributes:
        tuples: rows that were sent from task to task, each once.
        lost: rows that never came.
        duplicates: rows that came again.
        phantoms: rows that nobody sent.
        disorder: rows that overtook one of their channel.
        dead: rows that were given up, of these `poison` rightly.
    """

    tuples: int = 0
    lost: list[str] = field(default_factory=list[str])
    duplicates: int = 0
    phantoms: list[str] = field(default_factory=list[str])
    disorder: list[str] = field(default_factory=list[str])
    poison: int = 0


def noted(folder: Path, kind: str) -> Iterator[list[str]]:
    """The lines of all files of a kind, in words."""
    for path in sorted(folder.glob(f"{kind}-*")):
        for line in lines(path):
            yield line.split(" ")


def high(folder: Path, kind: str) -> int:
    """Up to which number a source has emitted."""
    return int.from_bytes((folder / f"high-{kind}").read_bytes()[:8], "little")


def fan_out(folder: Path, sources: int = 2) -> Count:
    """The verdict on W1: every part of every record, from the sender on."""
    count, seen = Count(), Counter[tuple[int, int, int]]()
    for words in noted(folder, "parts"):
        if words[0] == "disorder":
            count.disorder.append(" ".join(words))
            continue
        if len(words) != 4 or not all(map(str.isdecimal, words)):
            continue  # a line that the full disk cut; its batch failed
        source, seq, part, crc = map(int, words)
        if crc != checksum(source, seq, part):
            count.phantoms.append(" ".join(words))
        seen[source, seq, part] += 1
    for source in range(sources):
        end = high(folder, f"records-{source}")
        count.tuples += end * (1 + 2 * PARTS)
        missing = (
            f"{source}/{seq}/{part}" for seq in range(end) for part in range(PARTS) if not seen[source, seq, part]
        )
        count.lost.extend(missing)
        count.phantoms.extend(f"{key}" for key in seen if key[0] == source and key[1] >= end)
    count.duplicates = seen.total() - len(seen)
    return count


def join(folder: Path) -> Count:
    """The verdict on W4: every pair but those that are poisoned."""
    ends = {high(folder, f"rows-{side}") for side in ("left", "right")}
    assert len(ends) == 1, f"the sides ended at {ends}"
    end, seen = ends.pop(), Counter(int(words[0]) for words in noted(folder, "joined") if words[0].isdecimal())
    poisoned = set(range(POISON, end, POISON_EVERY))
    return Count(
        tuples=end * 4,
        lost=[str(number) for number in range(end) if number not in poisoned and not seen[number]],
        duplicates=seen.total() - len(seen),
        phantoms=[str(number) for number in seen if number >= end or number in poisoned],
        poison=2 * len(poisoned),
    )


def recoveries(folder: Path, windows: Sequence[tuple[float, float]]) -> list[float]:
    """How long after each kill the last of the lost was emitted again; a window: the kill, and the fault after it."""
    again = sorted(float(words[1]) for words in noted(folder, "records") if words[0] == "again")
    found: list[float] = []
    for from_s, to_s in windows:
        times = [at for at in again if from_s < at < to_s]
        if times:
            found.append(times[-1] - from_s)
    return found


def pauses(folder: Path, kills: Sequence[tuple[float, int]]) -> list[float]:
    """How long sources of other workers, whose trees never reach the killed one, were held up at most by each kill."""
    gaps: list[tuple[float, float, int]] = []
    for path in folder.glob("apart-*"):
        words = [line.split(" ") for line in lines(path)]
        workers = [int(one[1]) for one in words if one[0] == "worker"]
        gaps.extend((float(one[1]), float(one[2]), workers[0]) for one in words if one[0] == "gap" and workers)
    longest: list[float] = []
    for at_s, killed in kills:
        of_others = [gap for end_s, gap, worker in gaps if worker != killed and at_s < end_s < at_s + AFTER_S]
        longest.append(max(of_others, default=NOTED_GAP_S))
    return longest
