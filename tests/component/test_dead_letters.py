"""Dead letters from the tuple's last try to the command line and back."""

from __future__ import annotations

import resource

from .conftest import Squall, wait_until

FAILING = """
    import os
    from datetime import UTC, datetime
    from squall import Bolt, Topology

    def orders():
        for n in range(5):
            yield n, {"at": datetime(2026, 1, 1, tzinfo=UTC), "tags": ("a", b"b")}
        while {endless}:
            yield None

    class Price(Bolt):
        outputs = ("n",)

        def process(self, n: int, order: dict):
            if n == 3 and not os.path.exists({mended!r}):
                raise LookupError("no price for", order["tags"])
            print("priced", n, order["tags"][1])
            return n

    topology = Topology("orders")
    priced = topology.bolt("price", Price, retries=1).shuffle(topology.spout("orders", orders, outputs=("n", "order")))
    topology.bolt("last", lambda n: None).shuffle(priced)
"""


def failing(squall: Squall, *, endless: bool = False) -> str:
    mended = str(squall.folder / "mended")
    return FAILING.replace("{endless}", str(endless)).replace("{mended!r}", repr(mended))


def test_letters_are_listed_shown_and_dropped(squall: Squall) -> None:
    """Semantics 8, 11, 12. After its last try a tuple is a letter in a durable log; the exit code stays 0."""
    run = squall.run(failing(squall))
    assert run.end() == 0
    summary = run.summary()
    assert (summary["emitted"], summary["acked"], summary["failed"], summary["dead"]) == (6, 4, 2, 1)
    listed = squall.done("dead", "list", "orders")
    assert len([line for line in listed.out.splitlines() if "price" in line]) == 1
    assert "failure 2  price  LookupError" in listed.out
    shown = squall.done("dead", "show", "orders", "1")
    for part in ("price", "orders/default", "n", "3", "b'b'", "LookupError", "Traceback", "2 tries", "failure: 2"):
        assert part in shown.out
    assert squall.done("dead", "drop", "orders", "1").process.returncode == 0
    assert "price" not in squall.done("dead", "list", "orders").out
    assert "dropped" in squall.done("dead", "list", "orders", "--all").out


def test_letter_is_replayed_into_the_running_topology(squall: Squall) -> None:
    """Fix and replay: the root is emitted again with the values that it had."""
    run = squall.run(failing(squall, endless=True))
    wait_until(
        lambda: "LookupError" in run.err and squall.done("dead", "list", "orders").out.strip(), what="the letter"
    )
    (squall.folder / "mended").touch()
    replayed = squall.done("dead", "replay", "orders")
    assert replayed.process.returncode == 0, replayed.err
    wait_until(lambda: "priced 3 b'b'" in run.err, what="the replayed root")
    assert squall.done("dead", "list", "orders").out.strip() == ""
    run.interrupt()
    assert run.end() == 0
    assert run.summary()["acked"] == 5


def test_letter_is_replayed_at_the_next_start(squall: Squall) -> None:
    run = squall.run(failing(squall))
    assert run.end() == 0
    (squall.folder / "mended").touch()
    assert squall.done("dead", "replay", "orders", "1").process.returncode == 0
    again = squall.run(failing(squall))
    assert again.end() == 0
    assert again.summary()["acked"] == 6
    assert again.err.count("priced 3") == 2


def test_integer_of_any_length_is_shown_and_replayed(squall: Squall) -> None:
    """Python refuses to write an integer of more than 4,300 digits as text; its letter is kept all the same."""
    text = f"""
        import os
        from squall import Topology

        def take(n: int):
            if not os.path.exists({str(squall.folder / "mended")!r}):
                raise ValueError(n)
            print("took", n == 10**5000)

        topology = Topology("long")
        topology.bolt("take", take, retries=0).shuffle(topology.spout("one", lambda: iter([10**5000]), outputs=("n",)))
        """
    run = squall.run(text)
    assert run.end() == 0
    assert run.summary()["dead"] == 1
    assert "n=0x" in squall.done("dead", "list", "long").out
    assert hex(10**5000) in squall.done("dead", "show", "long", "1").out
    (squall.folder / "mended").touch()
    assert squall.done("dead", "replay", "long", "1").process.returncode == 0
    again = squall.run(text)
    assert again.end() == 0
    assert again.err.count("took True") == 2


def test_full_disk_holds_letters_back_and_loses_none(squall: Squall) -> None:
    """Semantics 8. A letter is durable before its root is given up: a full disk slows, it loses nothing."""
    run = squall.run(
        """
        import time
        from squall import Topology

        def numbers():
            time.sleep(1)
            yield from range(2000)

        def fail(n: int):
            raise ValueError(n)

        topology = Topology("failing")
        topology.bolt("fail", fail, retries=0).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
        """
    )
    worker = run.worker_pid()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (200_000, hard))
    wait_until(lambda: "dead_letters_wait" in run.err, what="the full disk")
    assert run.process.poll() is None
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))
    assert run.end() == 0
    assert run.summary()["dead"] == 2000
    listed = squall.done("dead", "list", "failing").out
    assert len(listed.splitlines()) == 2000


def test_topology_can_take_its_own_dead_letters(squall: Squall) -> None:
    """Semantics 12. The stream of dead letters is part of the topology, and the run still ends by itself."""
    last = 'topology.bolt("last"'
    alarm = """topology.bolt("alarm", lambda component, error: print("alarm", component, error)).shuffle(
        topology.dead_letters()
    )
    """
    run = squall.run(failing(squall).replace(last, alarm + last))
    assert run.end() == 0
    assert "alarm price LookupError" in run.err
    assert run.summary()["emitted"] == 6
