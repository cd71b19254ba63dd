"""What the topologies noted while faults struck them: an independent count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

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


class Death(NamedTuple):
    """A worker that ended at a moment of the monotonic clock."""

    at_s: float
    worker: int


def recoveries(folder: Path, kills: Sequence[Death], deaths: Sequence[Death]) -> list[float]:
    """How long after each kill the last of what was pending when it was noticed was emitted again.

    A kill before whose recovery another worker died is left out: what it lost counts for the death that came later.

    Args:
        deaths: all that were noticed, the kills among them, when they were noticed.
    """
    again = list(_again(folder, deaths))
    found: list[float] = []
    for kill in kills:
        later = sorted(death for death in deaths if death.at_s > kill.at_s)
        own = next((death for death in later if death.worker == kill.worker), kill)
        noticed_s = max(kill.at_s, own.at_s)
        next_s = min((death.at_s for death in later if death != own), default=float("inf"))
        times = [at_s for at_s, sent_s in again if sent_s <= noticed_s and at_s > kill.at_s]
        if times and max(times) < next_s:
            found.append(max(times) - kill.at_s)
    return found


def _again(folder: Path, deaths: Sequence[Death]) -> Iterator[tuple[float, float]]:
    """When records were emitted again, and when before; by an earlier life: until it died."""
    for path in folder.glob("records-*"):
        words = [line.split(" ") for line in lines(path)]
        lives = [(int(one[1]), float(one[2])) for one in words if one[0] == "life"]
        if not lives:
            continue  # its disk was full
        worker, opened_s = lives[0]
        died_s = max((death.at_s for death in deaths if death.worker == worker and death.at_s < opened_s), default=0.0)
        for one in words:
            if one[0] == "again":
                yield float(one[1]), died_s if one[3] == "before" else float(one[3])


class Pause(NamedTuple):
    """How long a source was not asked, and for how much of that its thread waited for a processor."""

    whole_s: float
    waited_s: float


def pauses(folder: Path, kills: Sequence[Death], faults: Sequence[float]) -> list[Pause]:
    """The longest pause, by each kill, of sources of other workers whose trees never reach the killed one.

    Looked at from the kill on until the next fault begins, whose doing a pause is from then on: a sink that is blocked
    blocks all that its worker's loop has to do.

    Args:
        faults: when each fault began.
    """
    gaps: list[tuple[float, Pause, int]] = []
    for path in folder.glob("apart-*"):
        words = [line.split(" ") for line in lines(path)]
        workers = [int(one[1]) for one in words if one[0] == "worker"]
        noted = ((float(one[1]), Pause(float(one[2]), float(one[3]))) for one in words if one[0] == "gap")
        gaps.extend((end_s, pause, workers[0]) for end_s, pause in noted if workers)
    longest: list[Pause] = []
    for kill in kills:
        until_s = min([at_s for at_s in faults if at_s > kill.at_s] + [kill.at_s + AFTER_S])
        of_others = [_within(kill.at_s, until_s, end_s, pause) for end_s, pause, at in gaps if at != kill.worker]
        longest.append(max(of_others, default=Pause(NOTED_GAP_S, 0.0)))
    return longest


def _within(from_s: float, until_s: float, end_s: float, pause: Pause) -> Pause:
    """The part of a pause that lies between two moments; the least that is noted, if it is shorter."""
    whole_s = min(until_s, end_s) - max(from_s, end_s - pause.whole_s)
    if whole_s <= NOTED_GAP_S:
        return Pause(NOTED_GAP_S, 0.0)
    return Pause(whole_s, min(pause.waited_s, whole_s))
