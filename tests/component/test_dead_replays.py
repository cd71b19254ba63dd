"""Letters that are sent into a running topology again and followed to their end."""

from __future__ import annotations

import json
import signal

from .conftest import Squall, wait_until

REPLAYS = """
    from pathlib import Path
    from squall import Topology

    here = Path(__file__).parent
    seen = []

    def numbers():
        yield from (1, 2, 3)
        while True:
            yield None

    def take(n: int):
        if not (here / "mended").exists():
            raise ValueError(n)
        seen.append(n)
        if n == 1 and seen.count(n) == 1:
            raise LookupError("not yet")
        if n == 2:
            raise TypeError("never")

    topology = Topology("followed")
    topology.bolt("take", take, retries=1).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
"""


def test_replay_is_followed_to_its_end(squall: Squall) -> None:
    """Semantics 12. Each outcome is told, with what failed on the way and the letter of what is dead again."""
    run = squall.run(REPLAYS)
    wait_until(lambda: len(squall.done("dead", "list", "followed").out.splitlines()) == 3, what="the letters")
    (squall.folder / "mended").touch()
    replayed = squall.done("dead", "replay", "followed", "--wait")
    assert replayed.process.returncode == 1
    lines = replayed.out.splitlines()
    assert [line.partition(" after ")[0] for line in lines if line.startswith("letter ")] == [
        "letter 1: acked",
        "letter 2: dead again",
        "letter 3: acked",
    ]
    first = lines.index(next(line for line in lines if line.startswith("letter 1")))
    assert lines[first].endswith("(try 2)")
    assert lines[first + 1] == "  try 1 failed in take (task 2): LookupError: not yet"
    assert "now letter 4: in take (task 2): TypeError: never" in replayed.out
    edited = squall.done("dead", "replay", "followed", "4", "--set", "n=5", "--wait", "--json")
    assert edited.process.returncode == 0
    told = json.loads(edited.out)
    assert (told["state"], told["root"], told["replay_of"]) == ("acked", {"n": 5}, 2)
    shown = squall.done("dead", "show", "followed", "2").out
    assert "dead again → 4" in shown
    assert "on the way: try 1 failed in take (task 2): TypeError: never" in shown
    run.interrupt()
    assert run.end() == 0


def test_replay_whose_topology_ends_first_says_so(squall: Squall) -> None:
    run = squall.run(REPLAYS.replace("seen.append(n)", "import time; time.sleep(600)"))
    wait_until(lambda: len(squall.done("dead", "list", "followed").out.splitlines()) == 3, what="the letters")
    (squall.folder / "mended").touch()
    following = squall.start("dead", "replay", "followed", "1", "--wait")
    wait_until(lambda: "running" in squall.done("dead", "list", "followed").out, what="the replay")
    run.process.kill()
    assert run.end() == -signal.SIGKILL
    assert following.end() == 1
    assert "followed ended first; it is emitted again when that starts" in following.out


def test_retried_error_is_one_line_and_its_traceback_comes_with_the_last_try(squall: Squall) -> None:
    run = squall.run(
        """
        from squall import Topology

        def take(n: int):
            raise ValueError("no", n)

        topology = Topology("lines")
        topology.bolt("take", take, retries=2).shuffle(topology.spout("one", lambda: iter([7]), outputs=("n",)))
        """
    )
    assert run.end() == 0
    retries = [line for line in run.err.splitlines() if "event=retry" in line]
    assert ["attempt=1" in retries[0], "attempt=2" in retries[1], len(retries)] == [True, True, 2]
    assert all("WARNING" in line and "component=take" in line and "ValueError: ('no', 7)" in line for line in retries)
    assert run.err.count("Traceback") == 1
    assert run.err.index("attempt=3") < run.err.index("Traceback")
