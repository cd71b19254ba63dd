"""Workers that die: named by component, replaced, counted, and nothing is left behind."""

from __future__ import annotations

import os
import signal

import pytest

from .conftest import NO_SECOND_LIFE, Squall, is_alive, wait_until

CRASHING = """
    import ctypes, os, signal
    from squall import Bolt, Topology

    def numbers():
        yield from range(100_000)

    def crash():
        {how}

    class Pass(Bolt):
        outputs = ("n",)

        def process(self, n: int):
            return n

    class Crash(Bolt):
        {attributes}

        def process(self, n: int):
            if n == 500:
                crash()

    topology = Topology("crashing")
    numbers = topology.spout("numbers", numbers, outputs=("n",))
    passed = topology.bolt("pass", Pass).shuffle(numbers)
    topology.bolt("crash", Crash).shuffle(passed)
"""


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ("os._exit(7)", "code 7"),
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    ],
    ids=["os._exit", "segfault", "abort", "killed"],
)
def test_crash_is_named_by_component(squall: Squall, how: str, shown: str) -> None:
    """Semantics 38, 36. The page says whose code ran; the run goes on, and its figures add up."""
    run = squall.run(CRASHING.format(how=how, attributes="pass"))
    assert run.end() == 0
    for lost in run.lost():
        assert '"crash"' in lost["cause"]
        assert shown in lost["cause"]
    summary = run.summary()
    assert (summary["acked"], summary["dead"], summary["pending"]) == (99_999, 1, 0)
    assert summary["components"].keys() == {"numbers", "pass", "crash"}
    assert summary["approximate"] is True


@pytest.mark.parametrize("workers", [1, 2])
def test_tuple_that_kills_its_worker_is_a_dead_letter_after_three_deaths(squall: Squall, workers: int) -> None:
    """Semantics 9. So a crash loop ends."""
    run = squall.run(CRASHING.format(how="os._exit(7)", attributes="pass"), "-w", workers)
    assert run.end() == 0
    assert len(run.lost()) == 3
    assert run.summary()["dead"] == 1
    assert run.summary()["acked"] == 99_999
    assert "worker_killed_by_tuple" in squall.done("dead", "show", "crashing", "1").out


def test_worker_that_died_as_often_as_allowed_ends_the_run(squall: Squall) -> None:
    run = squall.run(CRASHING.format(how="os._exit(7)", attributes="pass"), *NO_SECOND_LIFE)
    assert run.end() == 1
    assert len(run.lost()) == 1
    assert 'the worker exited with code 7 while "crash" was running' in run.err
    assert run.summary()["pending"] == 0


def test_death_of_a_worker_loses_no_total(squall: Squall) -> None:
    """Semantics 36. What was emitted and acked since the last report is still counted."""
    run = squall.run(
        CRASHING.format(how="os._exit(7)", attributes="pass").replace("n == 500", "n == 50_000"), *NO_SECOND_LIFE
    )
    assert run.end() == 1
    summary = run.summary()
    assert 40_000 < summary["acked"] <= 50_000 <= summary["emitted"] + 1_000
    assert summary["components"]["numbers"]["emitted"] == summary["emitted"]


@pytest.mark.parametrize("how", ["os._exit(7)", "ctypes.string_at(0)"], ids=["os._exit", "segfault"])
def test_crash_of_a_blocking_component_is_named(squall: Squall, how: str) -> None:
    """Also code that does not run on the loop's thread."""
    run = squall.run(CRASHING.format(how=how, attributes="blocking = True"), *NO_SECOND_LIFE)
    assert run.end() == 1
    assert '"crash"' in run.err


LIFE = """
    import ctypes, os, sys
    from squall import Bolt, Grouping, Topology

    def end(place):
        if place == {place!r}:
            {how}

    class Innocent(Bolt):
        outputs = ("n",)

        def process(self, n: int):
            return n

    class Ends(Bolt):
        blocking = {mode!r} == "blocking"

        def __init__(self):
            if "squall.runtime.worker" in sys.orig_argv:
                end("init")

        def open(self, context):
            end("open")

        def process(self, n: int):
            pass

        def drain(self):
            end("drain")

        def close(self):
            end("close")

    class AsyncEnds(Ends):
        async def open(self, context):
            end("open")

        async def process(self, n: int):
            pass

        async def drain(self):
            end("drain")

        async def close(self):
            end("close")

    class Custom(Grouping):
        def prepare(self, context, stream, tasks):
            end("prepare")
            self.tasks = tasks

        def choose(self, source_task, values):
            return self.tasks[:1]

    topology = Topology("ending")
    passed = topology.bolt("innocent", Innocent).shuffle(topology.spout("s", lambda: iter(range(5)), outputs=("n",)))
    topology.bolt("ends", AsyncEnds if {mode!r} == "async" else Ends).custom(passed, Custom())
"""


@pytest.mark.parametrize("mode", ["sync", "async", "blocking"])
@pytest.mark.parametrize("place", ["init", "prepare", "open", "drain", "close"])
def test_exit_outside_of_process_is_named_by_component(squall: Squall, place: str, mode: str) -> None:
    """Semantics 38."""
    run = squall.run(LIFE.format(how="os._exit(7)", place=place, mode=mode), *NO_SECOND_LIFE)
    assert run.end() == 1
    assert 'exited with code 7 while "ends" was running' in run.err
    run.summary()


@pytest.mark.parametrize("mode", ["sync", "async", "blocking"])
@pytest.mark.parametrize("place", ["init", "open"])
def test_crash_outside_of_process_is_named_by_component(squall: Squall, place: str, mode: str) -> None:
    """Semantics 38."""
    run = squall.run(LIFE.format(how="ctypes.string_at(0)", place=place, mode=mode), *NO_SECOND_LIFE)
    assert run.end() == 1
    assert '(SIGSEGV) while "ends" was running' in run.err
    run.summary()


@pytest.mark.parametrize("mode", ["sync", "async", "blocking"])
@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("init", 'bolt "ends" cannot be made'),
        ("open", '"ends" raised in open'),
        ("drain", '"ends" raised in drain'),
        ("close", "where=close error='SystemExit: 4'"),
    ],
)
def test_sys_exit_outside_of_process_is_a_failure_of_its_component(
    squall: Squall, place: str, told: str, mode: str
) -> None:
    """Where an exception is told, this one is too."""
    run = squall.run(LIFE.format(how="sys.exit(4)", place=place, mode=mode))
    assert run.end() == (0 if place == "close" else 1)
    assert told in run.err
    assert "SystemExit: 4" in run.err
    assert run.summary()["acked"] == (5 if place in ("drain", "close") else 0)


def test_worker_that_dies_while_it_closes_has_no_other_life(squall: Squall) -> None:
    """Everything has ended: another life would have nothing to do."""
    run = squall.run(LIFE.format(how="os._exit(7)", place="close", mode="sync"))
    assert run.end() == 1
    assert [lost["code"] for lost in run.lost()] == ["worker_exited"]
    assert run.summary()["acked"] == 5


def test_worker_that_cannot_open_is_given_up_after_some_deaths(squall: Squall) -> None:
    arguments = ("-c", "topology.worker.start.deaths.max=3")
    run = squall.run(LIFE.format(how="os._exit(7)", place="open", mode="sync"), *arguments)
    assert run.end() == 1
    assert len(run.lost()) == 3
    assert "died 3 times running before it was ready" in run.err
    assert 'exited with code 7 while "ends" was running' in run.err


def test_worker_that_builds_another_topology_does_not_run(squall: Squall) -> None:
    """Semantics 39. What the parent checked is what runs."""
    run = squall.run(
        """
        import sys
        from squall import Topology

        width = 2 if "squall.runtime.worker" in sys.modules or sys.argv[0].endswith("worker.py") else 1
        topology = Topology("changing")
        numbers = topology.spout("numbers", lambda: iter(range(5)), outputs=("n",))
        topology.bolt("show", lambda n: print("ran"), parallelism=width).shuffle(numbers)
        """
    )
    assert run.end() == 1
    assert "code: topology_differs" in run.err
    assert "components.show.parallelism: 1 ≠ 2" in run.err
    assert "ran" not in run.err


def test_crash_takes_the_children_of_the_worker_along(squall: Squall) -> None:
    """What user code started does not outlive the run."""
    run = squall.run(
        """
        import os, subprocess, sys
        from squall import Bolt, Topology

        class Child(Bolt):
            def open(self, context):
                self.child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                print("child is", self.child.pid, ".")

            def process(self, n: int):
                os._exit(3)

        topology = Topology("children")
        topology.bolt("child", Child).shuffle(topology.spout("ones", lambda: iter([1]), outputs=("n",)))
        """
    )
    assert run.end() == 0
    children = [int(text.split()[0]) for text in run.err.split("child is ")[1:]]
    assert len(children) == 4  # three lives that the tuple ended, and the last one
    wait_until(lambda: not any(map(is_alive, children)), 2, "the end of the children")


def test_worker_that_somebody_kills_is_replaced(squall: Squall) -> None:
    """It is said to have been killed, and the run goes on."""
    run = squall.run(
        """
        from squall import Topology

        def wait():
            while True:
                yield None

        topology = Topology("idle")
        topology.bolt("take", lambda n: None).shuffle(topology.spout("wait", wait, outputs=("n",)))
        """
    )
    worker = run.worker_pid()
    run.event("progress")
    os.kill(worker, signal.SIGKILL)
    lost = wait_until(run.lost, what="the loss")[0]
    assert (lost["id"], lost["pid"], lost["code"]) == (1, worker, "worker_crashed")
    assert "SIGKILL" in lost["cause"]
    told = wait_until(lambda: run.events("worker")[4:5], what="the next life")  # started, ready, lost, started, ready
    assert told[0]["state"] == "ready"
    assert told[0]["pid"] != worker
    run.interrupt()
    assert run.end() == 0


def test_die_ends_the_worker(squall: Squall) -> None:
    """Semantics 13, 9. The exception ends the worker, which is replaced; what ended it thrice is a dead letter."""
    run = squall.run(CRASHING.format(how="raise KeyError('gone')", attributes='on_error = "die"'))
    assert run.end() == 0
    assert [lost["cause"] for lost in run.lost()] == ['"crash" raised what ends its worker'] * 3
    assert "KeyError" in run.err
    assert (run.summary()["acked"], run.summary()["dead"]) == (99_999, 1)


def test_die_of_a_spout_ends_the_worker(squall: Squall) -> None:
    """Semantics 13. Also when another spout would go on for ever."""
    run = squall.run(
        """
        from squall import Spout, Topology

        class Dies(Spout):
            outputs = ("n",)
            on_error = "die"

            def next_tuple(self):
                raise ConnectionError("the source is gone")

        def endless():
            while True:
                yield 1

        topology = Topology("dying")
        take = topology.bolt("take", lambda n: None).shuffle(topology.spout("dies", Dies))
        take.shuffle(topology.spout("endless", endless, outputs=("n",)))
        """,
        *NO_SECOND_LIFE,
    )
    assert run.end() == 1
    assert '"dies" raised what ends its worker' in run.err
    assert "the source is gone" in run.err
    run.summary()


def test_exception_text_of_any_length_is_cut_and_breaks_no_report(squall: Squall) -> None:
    run = squall.run(
        """
        from squall import Topology

        def fail(n: int):
            raise ValueError("x" * 30_000_000)

        topology = Topology("wordy")
        wordy = topology.bolt("fail", fail, on_error="die")
        wordy.shuffle(topology.spout("s", lambda: iter(range(3)), outputs=("n",)))
        """,
        *NO_SECOND_LIFE,
    )
    assert run.end() == 1
    assert '"fail" raised what ends its worker' in run.err
    (failed,) = run.events("failed")
    assert "ValueError: xxxx" in failed["text"]
    assert len(failed["text"]) < 2000
    run.summary()


@pytest.mark.parametrize("kind", ["bolt", "spout", "async bolt", "blocking bolt"])
def test_open_that_raises_fails_the_run(squall: Squall, kind: str) -> None:
    """An exception in `open` names the component; no spout was started."""
    run = squall.run(
        f"""
        from squall import Bolt, Spout, Topology
        kind = {kind!r}

        class Source(Spout):
            outputs = ("n",)

            def open(self, context):
                if kind == "spout":
                    raise ConnectionError("no such server")

            def next_tuple(self):
                self.emit(1)

        class Target(Bolt):
            blocking = kind == "blocking bolt"

            def open(self, context):
                if kind == "bolt" or kind == "blocking bolt":
                    raise ConnectionError("no such server")

            def process(self, n: int):
                pass

        class Async(Target):
            async def open(self, context):
                raise ConnectionError("no such server")

            async def process(self, n: int):
                pass

        topology = Topology("opening")
        source = topology.spout("source", Source)
        topology.bolt("target", Async if kind == "async bolt" else Target).shuffle(source)
        """
    )
    assert run.end() == 1
    assert '"source"' in run.err if kind == "spout" else '"target"' in run.err
    assert "no such server" in run.err
    assert run.summary()["emitted"] == 0


def test_deep_recursion_and_memory_error_fail_the_tuple_only(squall: Squall) -> None:
    """User code that breaks the interpreter's limits fails its tuple; the run goes on."""
    run = squall.run(
        """
        from squall import Bolt, Topology

        def deep(n):
            return deep(n + 1)

        class Break(Bolt):
            def process(self, n: int):
                if n == 1:
                    deep(0)
                if n == 2:
                    bytearray(1 << 60)

        topology = Topology("limits")
        topology.bolt("break", Break, retries=0).shuffle(topology.spout("s", lambda: iter(range(5)), outputs=("n",)))
        """
    )
    assert run.end() == 0
    summary = run.summary()
    assert (summary["emitted"], summary["acked"], summary["failed"], summary["dead"]) == (5, 3, 2, 2)
    assert "RecursionError" in run.err
    assert "MemoryError" in run.err


PLACES = """
    from squall import Bolt, Spout, Topology
    place = {place!r}

    def at(name):
        if place == name:
            raise ValueError("trouble in " + name)

    class Source(Spout):
        outputs = ("n",)

        def __init__(self):
            self.numbers = list(range(20, 0, -1))
            self.raises = True

        def next_tuple(self):
            if not self.numbers:
                return
            if self.numbers[-1] == 10 and self.raises:
                self.raises = False
                at("next_tuple")
            n = self.numbers.pop()
            self.emit(n, id=n)

        def ack(self, n):
            at("ack")

        def fail(self, n):
            self.numbers.append(n)
            at("fail")

        def close(self):
            at("spout close")

    class Work(Bolt):
        outputs = ("n",)
        tick_every = 0.01

        def process(self, n: int):
            if n == 7 and place in ("process", "fail"):
                raise ValueError("trouble in process")
            return n

        def tick(self):
            at("tick")

        def drain(self):
            at("drain")

        def close(self):
            at("close")

    class Batch(Bolt):
        def process_batch(self, n: list) -> None:
            if 7 in n:
                at("process_batch")

    topology = Topology("places")
    work = topology.bolt("work", Work, retries=1).shuffle(topology.spout("source", Source))
    topology.bolt("batch", Batch, retries=1).shuffle(work)
"""


@pytest.mark.parametrize(
    ("place", "code", "component"),
    [
        ("process", 0, "work"),
        ("process_batch", 0, "batch"),
        ("next_tuple", 0, "source"),
        ("ack", 0, "source"),
        ("fail", 0, "source"),
        ("tick", 0, "work"),
        ("drain", 1, "work"),
        ("close", 0, "work"),
        ("spout close", 0, "source"),
    ],
)
def test_exception_anywhere_is_reported_and_survived(squall: Squall, place: str, code: int, component: str) -> None:
    """Each place where user code can raise: the component is named, the run goes on, nothing acked is lost."""
    run = squall.run(PLACES.format(place=place), "--for", "1s")
    assert run.end() == code
    assert "trouble in" in run.err
    assert component in run.err
    summary = run.summary()
    assert summary["pending"] == 0
    assert summary["acked"] == (19 if place in ("process", "process_batch", "fail") else 20)


def test_generator_that_raises_fails_the_run(squall: Squall) -> None:
    """A generator is dead once it has raised: what it gave is processed, and the run fails."""
    run = squall.run(
        """
        from squall import Topology

        def numbers():
            yield from range(5)
            raise OSError("the source broke")

        topology = Topology("generators")
        topology.bolt("take", lambda n: None).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
        """
    )
    assert run.end() == 1
    assert '"numbers"' in run.err
    assert "the source broke" in run.err
    assert run.summary()["acked"] == 5
