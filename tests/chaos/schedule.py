"""Which faults happen when: all drawn from a seed.

Each stretch of twenty faults has kinds of its own: what happens together with few others is found as well as what needs
many. Every other fault is a death, so that no stretch is without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

STRETCH = 20
LINK_FAULTS = ("delay", "drip", "cut", "swallow", "corrupt")
KILL = "kill"
KINDS = {
    KILL: "F1–F3: kill -9 of a worker, with bolts, sources and their trees",
    "slow": "F6: the sink takes 5 ms a batch",
    "blocked": "F6: the sink takes nothing for a while",
    "failing": "F6: the sink fails one batch in ten, or each",
    "raise": "F7: one tuple in 500 makes a bolt raise",
    "recursion": "F7: the same by endless recursion",
    "exit": "F7: one tuple in 3,000 makes its worker exit",
    "segfault": "F7: one tuple in 3,000 makes its worker crash",
    "spin": "F7: one tuple in 500 makes a bolt run in circles until the fault is over",
    "huge": "F7b: values of 1, 16 and 64 MiB",
    "pause": "F8: SIGSTOP of a worker, then SIGCONT",
    "parent": "F8: SIGSTOP of the parent, then SIGCONT",
    **{kind: f"F9: the links to a worker: {kind}" for kind in LINK_FAULTS},
    "descriptors": "F15: a worker may open nothing more",
    "disk": "F15: a worker may write no byte to a file",
    "memory": "F16: a worker gets no more memory",
    "core": "contention: all workers on one processor",
    "storm": "F24: five kills of workers, or thirty, 0.1 to 1 s apart",
}
DEADLY = frozenset((KILL, "exit", "segfault", "memory", "storm"))
"""What may end a worker."""


@dataclass(frozen=True)
class Planned:
    """One fault.

    Attributes:
        rest_s: how long everything is well before it.
        worker: whom it strikes.
        lasts_s: how long, if it lasts.
        draw: chooses what is left to choose.
    """

    kind: str
    worker: int
    rest_s: float
    lasts_s: float
    draw: int


def planned(seed: int, workers: int, kinds: tuple[str, ...], scale: float) -> Iterator[Planned]:
    """The faults of a seed, without end. `scale`: of all times."""
    chance = Random(seed)
    while True:
        some = chance.sample(kinds, min(len(kinds), chance.randrange(4, 9)))
        for number in range(STRETCH):
            kind = KILL if number % 2 == 0 and KILL in kinds else chance.choice(some)
            rest_s = scale * chance.uniform(0.6, 2.0)
            lasts_s = scale * chance.choice((0.1, 0.3, 1.0, 1.0, 2.0))
            yield Planned(kind, chance.randrange(1, workers + 1), rest_s, lasts_s, chance.getrandbits(32))
