"""A run that lives long under mixed load and faults: nothing grows. `python -m chaos.soak --for 30m --plot soak.svg`.

Faults of all kinds but those that may end any worker; kills strike one worker only. The other workers and the parent
live from the start to the end: for these a line is fitted to their memory after a warm-up, in which each kind has
struck each of them: what comes with the first fault of a kind, like the room of queues that were never as full, is no
growth. What the killed worker's lives hold is compared life by life: each is looked at when it is `SETTLED_S` old, so
that a leak from life to life is seen as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

from chaos.__main__ import seconds
from chaos.harness import WORKERS, Run, Sizes, Unwell
from chaos.schedule import DEADLY, KILL, KINDS, Planned, planned

KILLED = WORKERS
"""The worker that kills strike."""
SOAKED = tuple(kind for kind in KINDS if kind == KILL or kind not in DEADLY | {"huge"})
"""`huge` values are left out: what they leave in the allocator hides what leaks."""
LOOK_EVERY_S, SETTLED_S = 2.0, 5.0
WARM_ROUNDS = 2
"""How often each kind strikes each worker that lives on, before its memory is looked at."""
SLOPE_MIB_PER_H = 1.0
MAY_GROW = {"fds": 8, "threads": 6, "files": 4, "sockets": 4}


@dataclass(frozen=True)
class Look:
    """What one process held at a moment of the run."""

    at_s: float
    rss_mib: float
    fds: int
    threads: int
    sockets: int

    @classmethod
    def at(cls, at_s: float, pid: int) -> Look:
        sizes, folder = Sizes.of(pid), Path(f"/proc/{pid}/fd")
        sockets = sum(os.readlink(folder / fd).startswith("socket:") for fd in os.listdir(folder))
        return cls(at_s, sizes.rss_mib, sizes.fds, sizes.threads, sockets)


@dataclass
class Watch:
    """Looks at the processes of a run again and again."""

    run: Run
    began_s: float
    warm_s: float = 0.0
    lives: dict[tuple[int, int], list[Look]] = field(default_factory=dict[tuple[int, int], list[Look]])
    files: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    @property
    def now_s(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self.began_s

    def follow(self, over: Event) -> None:
        """Until it is over."""
        while not over.wait(LOOK_EVERY_S):
            now_s = self.now_s
            for worker in range(WORKERS + 1):
                pid = self.run.pid(worker) if worker else self.run.parent
                if pid is None:
                    continue
                try:
                    self.lives.setdefault((worker, pid), []).append(Look.at(now_s, pid))
                except (FileNotFoundError, ProcessLookupError, KeyError):
                    continue  # it was just killed
            state = self.run.folder / "state"
            self.files.append((now_s, sum(path.is_file() for path in state.rglob("*"))))


@dataclass(frozen=True)
class Slope:
    """A line fitted to the memory of one process, or over the lives of one worker."""

    mib_per_h: float
    error_mib_per_h: float

    @classmethod
    def of(cls, points: list[tuple[float, float]]) -> Slope | None:
        """Least squares over (seconds, MiB), with the error of its slope; neighbours are averaged, since they depend
        on each other. None: too few points."""
        size = max(1, len(points) // 20)
        groups = [points[at : at + size] for at in range(0, len(points), size)]
        means = [(statistics.fmean(x for x, _ in one), statistics.fmean(y for _, y in one)) for one in groups]
        if len(means) < 4:
            return None
        xs, ys = [x / 3600 for x, _ in means], [y for _, y in means]
        line = statistics.linear_regression(xs, ys)
        rest = sum((y - line.intercept - line.slope * x) ** 2 for x, y in zip(xs, ys, strict=True)) / (len(xs) - 2)
        spread = sum((x - statistics.fmean(xs)) ** 2 for x in xs)
        return cls(round(line.slope, 3), round((rest / spread) ** 0.5, 3))

    @property
    def is_growth(self) -> bool:
        """Whether it is steeper than may be, beyond what chance explains (two errors)."""
        return self.mib_per_h - 2 * self.error_mib_per_h > SLOPE_MIB_PER_H


def schedule(watch: Watch, for_s: float) -> Iterator[Planned]:
    """The faults: those of the warm-up, then by chance until it is over, long enough between them for a life to settle
    and for its back-off to end."""
    chance = Random(watch.run.seed)
    for _ in range(WARM_ROUNDS):
        for worker in range(1, KILLED):
            for kind in SOAKED:
                yield Planned(kind, worker, 0.6, 2.0, chance.getrandbits(32))
    watch.warm_s = watch.now_s
    for fault in planned(watch.run.seed, WORKERS, SOAKED, 1.0):
        if watch.now_s > for_s:
            return
        yield replace(fault, rest_s=fault.rest_s + chance.uniform(0, 2 * SETTLED_S))


def judged(watch: Watch) -> tuple[dict[str, Any], list[str]]:
    """What grew, and the laws that this breaks."""
    from_s, broken = watch.warm_s, list[str]()
    slopes, most = dict[str, Slope](), Counter[str]()
    settled: list[Look] = []
    for (worker, _), looks in sorted(watch.lives.items()):
        warm = [look for look in looks if look.at_s >= from_s]
        if worker == KILLED:
            settled.extend([look for look in looks if look.at_s >= looks[0].at_s + SETTLED_S][:1])
        elif slope := Slope.of([(look.at_s, look.rss_mib) for look in warm]):
            slopes["parent" if worker == 0 else f"worker {worker}"] = slope
            for what in ("fds", "threads", "sockets"):
                held = [getattr(look, what) for look in warm]
                most[what] = max(most[what], grown(held))
    if slope := Slope.of([(look.at_s, look.rss_mib) for look in settled]):
        slopes[f"lives of worker {KILLED}"] = slope
    for what in ("fds", "threads", "sockets"):
        most[what] = max(most[what], grown([getattr(look, what) for look in settled]))
    most["files"] = grown([count for at_s, count in watch.files if at_s >= from_s])
    broken += [f"O9: the memory of {who} grows: {slope}" for who, slope in slopes.items() if slope.is_growth]
    broken += [f"O9: {what} grow by {by}" for what, by in most.items() if by > MAY_GROW[what]]
    found: dict[str, Any] = {
        "slopes_mib_per_h": {who: [slope.mib_per_h, slope.error_mib_per_h] for who, slope in slopes.items()},
        "grown": dict(sorted(most.items())),
        "lives": sum(worker == KILLED for worker, _ in watch.lives),
    }
    return found, broken


def grown(held: list[int]) -> int:
    """By how much the middle of the last third lies above that of the first; a fault's peak does not count."""
    third = len(held) // 3
    return int(statistics.median(held[-third:]) - statistics.median(held[:third])) if third else 0


def plot(watch: Watch, path: Path) -> None:
    """The memory of all processes over the run."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "squall"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.2))
    for (worker, _), looks in sorted(watch.lives.items()):
        label = "parent" if worker == 0 else f"worker {worker}"
        if worker == KILLED:
            label = f"worker {worker}, killed again and again"
        if label in [line.get_label() for line in axes.lines]:
            label = f"_{label}"
        axes.plot(
            [look.at_s / 60 for look in looks], [look.rss_mib for look in looks], f"C{worker}", label=label, lw=0.9
        )
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident MiB")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def soak(for_s: float, seed: int, picture: Path | None) -> dict[str, Any]:
    """One run, and what it found."""
    folder, over, found = Path(tempfile.mkdtemp(prefix=f"squall-soak-{seed}-")), Event(), dict[str, Any]()
    run = Run("fan_out", folder, seed)
    watch = Watch(run, time.monotonic())
    follower = Thread(target=watch.follow, args=(over,))
    try:
        run.start()
        follower.start()
        for fault in schedule(watch, for_s):
            run.strike(fault if fault.kind != KILL else replace(fault, worker=KILLED))
        over.set()
        follower.join()
        found, broken = judged(watch)
        run.verdict.broken += broken
        run.note_sizes()
        run.end()
    except Unwell as unwell:
        run.verdict.broken.append(str(unwell))
    finally:
        over.set()
        run.close()
    if picture is not None:
        plot(watch, picture)
    if run.verdict.broken:
        looks = {f"{worker} {pid}": [look.__dict__ for look in life] for (worker, pid), life in watch.lives.items()}
        (folder / "looks.json").write_text(json.dumps(looks))
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    verdict = run.verdict
    return found | {
        "minutes": round(for_s / 60, 1), "warm_minutes": round(watch.warm_s / 60, 1), "seed": seed,
        "faults": verdict.faults.total(), "tuples": verdict.tuples,
        "lost": verdict.lost, "by_kind": dict(sorted(verdict.faults.items())), "broken": verdict.broken,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--for", dest="for_s", type=seconds, default=seconds("30m"), help="how long (30m)")
    parser.add_argument("--seed", type=int, default=None, help="draws the faults; without it another one each time")
    parser.add_argument("--plot", type=Path, help="where to draw the memory over time, as SVG")
    options = parser.parse_args()
    seed = Random().getrandbits(24) if options.seed is None else options.seed
    found = soak(options.for_s, seed, options.plot)
    for who, (slope, error) in found.get("slopes_mib_per_h", {}).items():
        print(f"{who:18} {slope:+.2f} ± {error:.2f} MiB/h (at most {SLOPE_MIB_PER_H} may)", file=sys.stderr)
    print(f"{'laws':18} {'; '.join(found['broken']) or 'all kept'}", file=sys.stderr)
    print(json.dumps(found), flush=True)
    return 1 if found["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
