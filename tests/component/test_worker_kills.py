"""Every role of a run is killed again and again under load, and an independent count says that nothing is lost.

`make kill` does it for five minutes.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from random import Random

from .conftest import Running, Squall, is_alive, wait_until
from .over_workers import FOR_S, files_left, pid

SEED = int(os.environ.get("SQUALL_KILL_SEED", "5"))
EVERY_S = 3.0 if FOR_S > 20 else 1.5
WORKERS, SPOUTS = 3, 2
RATE = 3000
WITHIN_S = 60.0

TOPOLOGY = """
    import json, os
    from pathlib import Path
    from squall import Bolt, Exhausted, Spout, Topology

    FOLDER = Path({folder!r})

    class Numbers(Spout):
        "Each task counts for itself, to a number that somebody writes down when it is time."
        outputs = ("source", "n")
        rate_per_s = {rate}

        def open(self, context):
            self.first = self.next = 0

        def seek(self, position):
            self.first = self.next = int(position)

        def position(self):
            return b"%d" % (self.first + self.context.ended_prefix())

        def next_batch(self, limit):
            end = FOLDER / "end"
            most = int(end.read_text()) if end.exists() else 10**12
            if self.next >= most:
                raise Exhausted
            first, self.next = self.next, min(self.next + limit, most)
            return [(self.context.task_index, n) for n in range(first, self.next)]

    class Keep(Bolt):
        def process_batch(self, source: list, n: list):
            with open(FOLDER / f"kept-{{os.getpid()}}", "a") as file:
                file.write(json.dumps([source, n]) + "\\n")

    topology = Topology("killed")
    numbers = topology.spout("numbers", Numbers, parallelism={spouts})
    passed = topology.bolt("pass", lambda source, n: (source, n), outputs=("source", "n"), parallelism=6)
    passed.shuffle(numbers)
    topology.bolt("keep", Keep, parallelism=3).fields(passed, "n")
"""


def kept(folder: Path) -> dict[int, list[int]]:
    """How often each number of each task was kept: an independent count. A line that a kill has cut is none."""
    rows: dict[int, list[int]] = {task: [] for task in range(SPOUTS)}
    for path in folder.glob("kept-*"):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("]]\n"):
                for source, n in zip(*json.loads(line), strict=True):
                    rows[source].append(n)
    return rows


def test_kills_of_every_role_under_load_lose_no_number(squall: Squall) -> None:
    """Semantics 18, 19, 31. Workers, those of spouts among them, and the parent: each number comes at least once."""
    chance = Random(SEED)
    file = squall.file(TOPOLOGY.format(folder=str(squall.folder), rate=RATE, spouts=SPOUTS))

    def started() -> Running:
        run = squall.start("run", file, "-w", WORKERS, "--json", "--drain", "60s")
        run.event("started", WITHIN_S)
        for worker in range(1, WORKERS + 1):
            pid(run, worker)
        return run

    run, kills, runs = started(), 0, 1
    roles: list[int] = []
    until_s = time.monotonic() + FOR_S
    while time.monotonic() < until_s:
        next_s = time.monotonic() + EVERY_S
        wait_until(lambda next_s=next_s: time.monotonic() > next_s)
        roles = roles or chance.sample(range(WORKERS + 1), WORKERS + 1)
        role = roles.pop()
        kills += 1
        if role:
            os.kill(pid(run, role), signal.SIGKILL)
            continue
        processes = [pid(run, worker) for worker in range(1, WORKERS + 1)]
        run.process.kill()
        run.end()
        wait_until(lambda processes=processes: not any(map(is_alive, processes)), 5, "the end of the workers")
        run, runs = started(), runs + 1
    end = max(map(max, kept(squall.folder).values())) + RATE
    (squall.folder / "end").write_text(str(end))
    assert run.end(WITHIN_S + FOR_S) == 0, run.err[-3000:]
    assert run.summary()["dead"] == 0
    rows = kept(squall.folder)
    numbers = 0
    for task, seen in rows.items():
        # A task may have been past the end already when that was written down.
        missing = set(range(max(end, max(seen) + 1))) - set(seen)
        assert not missing, f"task {task} lost {sorted(missing)[:20]}"
        numbers += len(set(seen))
    twice = sum(map(len, rows.values())) - numbers
    wait_until(lambda: files_left(squall) == [], 5, "that all files are gone")
    print(f"{numbers} numbers, {kills} kills in {runs} runs: none lost, {twice} came twice", end=" ")
