"""Dead letters from the tuple's last try to the command line and back."""

from __future__ import annotations

import resource

from .conftest import NO_SECOND_LIFE, Squall, wait_until

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


REPLAYED = """
    import os
    from pathlib import Path
    from squall import Topology

    here = Path({folder!r})

    def numbers():
        if not (here / "given").exists():
            (here / "given").touch()
            yield 7

    def take(n: int):
        if (here / "deadly").exists():
            os._exit(3)
        if not (here / "mended").exists():
            raise ValueError(n)
        print("took", n)

    topology = Topology("replayed")
    topology.bolt("take", take, retries=0).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
"""


def states(squall: Squall, topology: str) -> list[str]:
    """The states of a topology's letters, oldest first."""
    lines = squall.done("dead", "list", topology, "--all").out.splitlines()
    return [line.split()[3] for line in lines]


def test_replay_is_asked_for_until_its_root_has_ended(squall: Squall) -> None:
    """Semantics 12. A worker that dies while it works on a replayed root does not lose it."""
    text = REPLAYED.format(folder=str(squall.folder))
    assert squall.run(text).end() == 0
    assert squall.done("dead", "replay", "replayed", "1").process.returncode == 0
    (squall.folder / "deadly").touch()
    assert squall.run(text, *NO_SECOND_LIFE).end() == 1
    assert states(squall, "replayed") == ["asked"]
    (squall.folder / "deadly").unlink()
    (squall.folder / "mended").touch()
    again = squall.run(text)
    assert again.end() == 0
    assert again.err.count("took 7") == 1
    assert states(squall, "replayed") == ["acked"]


def test_replayed_root_that_is_given_up_again_has_a_new_letter_in_place_of_the_old_one(squall: Squall) -> None:
    """Semantics 12. Each root has one letter that can be replayed."""
    text = REPLAYED.format(folder=str(squall.folder))
    assert squall.run(text).end() == 0
    assert squall.done("dead", "replay", "replayed", "1").process.returncode == 0
    assert squall.run(text).end() == 0
    assert states(squall, "replayed") == ["dead", "open"]


def test_letter_of_a_spout_that_replays_by_itself_now_is_refused(squall: Squall) -> None:
    """Its spout would be told of a root that it never emitted, and what fails again would be nobody's."""
    text = REPLAYED.format(folder=str(squall.folder))
    assert squall.run(text).end() == 0
    assert squall.done("dead", "replay", "replayed", "1").process.returncode == 0
    spout = """class Numbers(Spout):
        outputs = ("n",)

        def next_tuple(self):
            raise Exhausted

        def fail(self, message_id):
            pass

    def unused():
"""
    changed = text.replace("def numbers():\n", spout).replace(
        '"numbers", numbers, outputs=("n",)', '"numbers", Numbers'
    )
    run = squall.run(changed.replace("import Topology", "import Exhausted, Spout, Topology"))
    assert run.end() == 0
    assert 'spout "numbers" replays by itself now' in run.err
    assert states(squall, "replayed") == ["open"]


def test_letter_that_is_asked_for_twice_is_replayed_once(squall: Squall) -> None:
    """While its root is on its way a letter is not emitted again, though it is still asked for."""
    run = squall.run(
        """
        import time
        from pathlib import Path
        from squall import DeadLetter, Topology

        here = Path(__file__).parent

        def numbers():
            yield 7
            while True:
                yield None

        class Seen:
            count = 0

        def take(n: int):
            Seen.count += 1
            print("seen", Seen.count)
            if Seen.count == 1:
                raise DeadLetter("not now")
            while not (here / "go on").exists():
                time.sleep(0.01)

        topology = Topology("twice")
        take = topology.bolt("take", take, blocking=True)
        take.shuffle(topology.spout("numbers", numbers, outputs=("n",)))
        """
    )
    wait_until(lambda: "seen 1" in run.err and squall.done("dead", "list", "twice").out, what="the letter")
    assert "letters emitted again: 1" in squall.done("dead", "replay", "twice", "1").out
    wait_until(lambda: "seen 2" in run.err, what="the replayed root")
    assert states(squall, "twice") == ["running"]
    assert "letters emitted again: 0" in squall.done("dead", "replay", "twice", "1").out
    (squall.folder / "go on").touch()
    wait_until(lambda: states(squall, "twice") == ["acked"], what="the end of the replay")
    run.interrupt()
    assert run.end() == 0
    assert "seen 3" not in run.err


DIRECT = """
    from pathlib import Path
    from squall import Exhausted, Fields, Spout, Topology, TopologyContext

    here = Path({folder!r})

    class Send(Spout):
        streams = {{"to": Fields(("n",), direct=True)}}

        def open(self, context):
            self.last = context.tasks("take")[-1]

        def next_tuple(self):
            if (here / "given").exists():
                raise Exhausted
            (here / "given").touch()
            self.emit(7, stream="to", task=self.last)

    def take(n: int, context: TopologyContext):
        if not (here / "mended").exists():
            raise ValueError(n)
        print("task", context.task_index, "took", n)

    topology = Topology("direct")
    take = topology.bolt("take", take, retries=0, parallelism={tasks})
    take.direct(topology.spout("send", Send)["to"])
"""


def test_letter_of_a_direct_stream_is_replayed_to_the_task_that_it_was_sent_to(squall: Squall) -> None:
    """Semantics 12. If no subscriber has that task any more, it is refused and stays."""
    folder = str(squall.folder)
    assert squall.run(DIRECT.format(folder=folder, tasks=3)).end() == 0
    assert squall.done("dead", "replay", "direct", "1").process.returncode == 0
    (squall.folder / "mended").touch()
    fewer = squall.run(DIRECT.format(folder=folder, tasks=2))
    assert fewer.end() == 0
    assert "event=replay_refused letter=1" in fewer.err
    assert states(squall, "direct") == ["open"]
    assert squall.done("dead", "replay", "direct", "1").process.returncode == 0
    run = squall.run(DIRECT.format(folder=folder, tasks=3))
    assert run.end() == 0
    assert "task 2 took 7" in run.err
    assert states(squall, "direct") == ["acked"]
