"""How a run begins, goes on and ends: events, exit codes, the summary that adds up."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from .conftest import Squall, is_alive, wait_until

FINITE = """
    from squall import Bolt, Topology

    def numbers():
        yield from range(1000)

    class Sum(Bolt):
        outputs = ("total",)

        def open(self, context):
            self.total = 0

        def process(self, n: int):
            self.total += n

        def drain(self):
            return self.total

        def close(self):
            print("closing at", self.total)

    class Last(Bolt):
        def process(self, total: int):
            print("the total is", total)

    topology = Topology("sums")
    source = topology.spout("numbers", numbers, outputs=("n",))
    total = topology.bolt("sum", Sum).shuffle(source)
    topology.bolt("last", Last).shuffle(total)
"""

HOLDING = """
    from squall import Bolt, Topology, Tuple

    def numbers():
        yield from range(10)

    class Batch(Bolt):
        outputs = ("total",)
        manual_ack = True

        def open(self, context):
            self.held = []

        def process(self, n: int, tup: Tuple):
            self.held.append(tup)

        def drain(self):
            self.emit(sum(tup.values[0] for tup in self.held), anchors=self.held)
            self.ack(*self.held)

    def last(total: int):
        print("the total is", total)

    topology = Topology("holding", settings={"topology.message.timeout.secs": 3600})
    source = topology.spout("numbers", numbers, outputs=("n",))
    topology.bolt("last", last).shuffle(topology.bolt("batch", Batch).shuffle(source))
"""

ENDLESS = """
    from squall import Bolt, Topology

    def ones():
        while True:
            yield 1

    class Count(Bolt):
        def process(self, n: int):
            pass

    topology = Topology("endless")
    topology.bolt("count", Count).shuffle(topology.spout("ones", ones, outputs=("n",)))
"""

STUCK = """
    from squall import Bolt, Topology

    def ones():
        while True:
            yield 1

    class Stuck(Bolt):
        def process(self, n: int):
            while True:
                pass

    topology = Topology("stuck")
    topology.bolt("stuck", Stuck).shuffle(topology.spout("ones", ones, outputs=("n",)))
"""


def test_run_of_finite_sources_drains_and_adds_up(squall: Squall) -> None:
    """Semantics 35. Every spout is exhausted and nothing is pending: `drain` in order, then `close`, exit code 0."""
    run = squall.run(FINITE)
    assert run.end() == 0
    events = run.events()
    assert events[0]["event"] == "started"
    assert events[0]["topology"] == "sums"
    assert set(events[0]["workers"][0]) == {"id", "pid"}
    summary = run.summary()
    assert (summary["emitted"], summary["acked"], summary["pending"]) == (1000, 1000, 0)
    assert summary["components"]["sum"]["executed"] == 1000
    assert summary["components"]["last"]["executed"] == 1
    assert {"p50", "p99", "max"} <= set(summary["complete_ms"])
    assert {"executed", "emitted", "acked", "failed", "process_ms", "execute_ms"} <= set(summary["components"]["sum"])
    assert summary["wall_s"] > 0
    assert summary["cpu_s"] > 0


def test_run_ends_when_all_that_is_pending_is_held_for_a_drain(squall: Squall) -> None:
    """Semantics 35. What the holder waits for will not come any more: it is told so by `drain`, not by a time-out."""
    run = squall.run(HOLDING)
    assert run.end() == 0
    summary = run.summary()
    assert (summary["emitted"], summary["acked"], summary["failed"]) == (10, 10, 0)
    assert "the total is 45" in run.err


def test_prints_go_to_standard_error_with_the_component(squall: Squall) -> None:
    """Semantics 38. Standard output holds JSON lines only; prints are on standard error and in a log file."""
    run = squall.run(FINITE)
    assert run.end() == 0
    printed = [line for line in run.err.splitlines() if "the total is 499500" in line]
    assert len(printed) == 1
    assert "last" in printed[0]
    closing = [line for line in run.err.splitlines() if "closing at 499500" in line]
    assert len(closing) == 1
    assert "sum" in closing[0]
    assert any("the total is 499500" in path.read_text() for path in squall.state.rglob("*.log"))


def test_for_stops_endless_sources_and_drains(squall: Squall) -> None:
    """Semantics 35. `--for` stops the sources; what is pending ends; progress came each second."""
    run = squall.run(ENDLESS, "--for", "4s")
    assert run.end() == 0
    summary = run.summary()
    assert summary["pending"] == summary["failed"] == 0
    assert summary["components"]["count"]["executed"] == summary["emitted"] > 1000
    assert run.events("progress")


def test_longest_names_make_files(squall: Squall) -> None:
    """What `check` takes, `run` takes: log, socket, dead letters and the task's folder are named after them."""
    name = "漢" * 66
    run = squall.run(
        f"""
        from squall import Bolt, DeadLetter, Topology

        class Last(Bolt):
            def process(self, n: int):
                (self.context.work_dir / "file").write_text("there")
                raise DeadLetter("for the log")

        topology = Topology("{name}")
        topology.bolt("{name[:-1]}字", Last).shuffle(topology.spout("ones", lambda: iter([1]), outputs=("n",)))
        """
    )
    assert run.end() == 0, run.err
    assert run.summary()["dead"] == 1
    assert "for the log" in squall.done("dead", "list", name).out


def test_figures_that_are_no_numbers_are_errors_and_spoil_no_other(squall: Squall) -> None:
    """JSON has no NaN, and Python writes no integer of more than 4,300 digits."""
    run = squall.run(
        """
        from squall import Bolt, Topology

        class Odd(Bolt):
            def open(self, context):
                context.counter("nothing").add(float("nan"))
                context.counter("huge").add(10**5000)
                context.histogram("endless").record(float("inf"))
                context.gauge("broken", lambda: 1 / 0)
                context.table("rows", lambda: {"good": 1, "bad": float("nan")})
                context.counter("good").add(7)

            def process(self, n: int):
                pass

        topology = Topology("odd")
        topology.bolt("odd", Odd).shuffle(topology.spout("ones", lambda: iter([1]), outputs=("n",)))
        """
    )
    assert run.end() == 0, run.err
    assert "NaN" not in run.out
    odd = run.summary()["components"]["odd"]
    assert odd["metrics"] == {"good": 7, "endless.count": 1}
    assert odd["tables"] == {"rows": {"good": 1}}
    for name in ("nothing", "huge", "endless", "bad"):
        assert f"ValueError: the figure {name!r} is no number" in run.err
    assert "ZeroDivisionError" in run.err


def test_interrupt_drains(squall: Squall) -> None:
    """Semantics 35. Ctrl-C stops the sources and drains: exit code 0. SIGTERM does the same."""
    for number in (signal.SIGINT, signal.SIGTERM):
        run = squall.run(ENDLESS)
        run.event("progress")
        run.process.send_signal(number)
        assert run.end() == 0
        assert run.summary()["pending"] == 0
        assert not is_alive(run.worker_pid())


def test_second_interrupt_kills(squall: Squall) -> None:
    """A drain that does not come to an end is given up at the second Ctrl-C: exit code 130, no process is left."""
    run = squall.run(STUCK)
    worker = run.worker_pid()
    wait_until(lambda: _cpu_ticks(worker) > 30, what="the loop")
    run.interrupt()
    run.event("draining")
    run.interrupt()
    assert run.end(5) == 130
    assert run.summary()["emitted"] >= 0
    wait_until(lambda: not is_alive(worker), 2, "the end of the worker")


def test_drain_that_is_not_done_in_time_fails_the_run(squall: Squall) -> None:
    """Semantics 35. What is left after `--drain` is named by component, and the exit code is 1."""
    run = squall.run(
        """
        from squall import Bolt, Topology

        def ones():
            yield from range(10)

        class Hold(Bolt):
            manual_ack = True
            hold_max = 3600.0

            def process(self, n: int):
                pass

        topology = Topology("holding")
        topology.bolt("hold", Hold).shuffle(topology.spout("ones", ones, outputs=("n",)))
        """,
        "--for", "2s", "--drain", "1s",
    )  # fmt: skip
    assert run.end() == 1
    assert run.summary()["pending"] == 10
    assert "hold" in run.err


def test_drain_without_time_is_no_failure_where_nothing_is_left(squall: Squall) -> None:
    """Semantics 35. `--drain 0s`: what has ended has ended in time."""
    run = squall.run(FINITE, "--drain", "0s")
    assert run.end() == 0, run.err
    assert run.summary()["components"]["last"]["executed"] == 1


def test_worker_dies_with_its_parent(squall: Squall) -> None:
    """Semantics 21. The parent is the run: killed, it takes its worker along within a second."""
    run = squall.run(ENDLESS)
    worker = run.worker_pid()
    run.event("progress")
    run.process.kill()
    wait_until(lambda: not is_alive(worker), 1, "the end of the worker")


def test_worker_that_hangs_dies_with_its_parent(squall: Squall) -> None:
    """Semantics 21, also while user code holds the loop."""
    run = squall.run(STUCK)
    worker = run.worker_pid()
    wait_until(lambda: _cpu_ticks(worker) > 30, what="the loop")
    run.process.kill()
    wait_until(lambda: not is_alive(worker), 1, "the end of the worker")


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("import squall_nothing_like_this", 2, ["squall_nothing_like_this"]),
        ("x = 1\ny = = 2\n", 2, ["line 2"]),
        ("x = 1\nraise ValueError('boom')\n", 2, ["line 2", "boom"]),
        ("x = 1\n", 2, ["no topology"]),
        ("from squall import Topology\na, b = Topology('a'), Topology('b')\n", 2, ["a, b"]),
        ("from squall import Topology\nt = Topology('a/b')\n", 2, ['"a/b"', "no spout"]),
        (
            "from squall import Topology\n"
            "t = Topology('t', settings={'topology.retrys': 1, 'topology.workers': 'x'})\n",
            2,
            ['"topology.retries"', "topology.workers", "'x'"],
        ),
    ],
    ids=["missing module", "syntax error", "raises", "no topology", "two", "bad name", "bad settings"],
)
def test_wrong_definition_is_one_short_error(squall: Squall, text: str, code: int, shown: list[str]) -> None:
    """What is wrong is said in at most 25 lines, without a traceback; the exit code is 2."""
    run = squall.done("run", squall.file(text), "--json")
    assert run.process.returncode == code
    assert len(run.err.splitlines()) <= 25
    assert "Traceback" not in run.err
    for part in shown:
        assert part in run.err
    assert run.out == ""


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["run", "nothing.py"], "nothing.py"),
        (["run", "."], "folder"),
        (["run"], "FILE"),
        (["run", "topology.py", "--for", "soon"], "soon"),
        (["run", "topology.py", "-c", "topology.retries=many"], "many"),
        (["run", "topology.py", "-c", "no.such.key=1"], "no.such.key"),
        (["run", "topology.py:other"], "other"),
        (["run", "topology.py", "-p", "x=1"], "x=1"),
        (["dance"], "dance"),
        (["explain", "no_such_code"], "no_such_code"),
    ],
)
def test_wrong_use_is_one_short_error(squall: Squall, arguments: list[str], shown: str) -> None:
    """Wrong use of the command line: exit code 2 and a short text that names it."""
    squall.file(FINITE)
    run = squall.done(*arguments)
    assert run.process.returncode == 2
    assert shown in run.err
    assert len(run.err.splitlines()) <= 25
    assert "Traceback" not in run.err


def test_check_draws_the_graph_and_runs_nothing(squall: Squall) -> None:
    check = squall.done("check", squall.file(FINITE))
    assert check.process.returncode == 0
    for name in ("numbers", "sum", "last", "shuffle"):
        assert name in check.out
    assert not (squall.state / "runs").exists()


SPREAD = """
    from squall import Bolt, Topology

    topology = Topology("spread", workers=2)
    numbers = topology.spout("numbers", lambda: iter(range(5)), outputs=("n",))
    topology.bolt("last", lambda n: None, parallelism=3).shuffle(numbers)
    """


def test_tasks_run_in_as_many_workers_as_the_topology_or_the_command_says(squall: Squall) -> None:
    run = squall.done("run", squall.file(SPREAD), "--json")
    assert [worker["id"] for worker in run.event("started")["workers"]] == [1, 2]
    run = squall.done("run", squall.file(SPREAD), "--json", "-w", "1")
    assert [worker["id"] for worker in run.event("started")["workers"]] == [1]


def test_workers_for_which_there_are_no_executors_are_told(squall: Squall) -> None:
    run = squall.done("run", squall.file(SPREAD), "-w", "9")
    assert "warning: there are 4 executors, so 4 of 9 workers are used" in run.err.splitlines()
    assert run.process.returncode == 0


def test_check_shows_which_worker_runs_what_and_what_crosses(squall: Squall) -> None:
    check = squall.done("check", squall.file(SPREAD))
    assert (check.process.returncode, check.err) == (0, "")
    assert check.out.splitlines()[2:] == [
        "",
        "tasks in worker  1  2",
        "numbers          4  ·    where there is room",
        "last             1  2–3  evenly",
        "",
        "tuples that go to another worker",
        "numbers → last  shuffle  67%",
        "",
        '"spread" is valid: 2 components, 4 tasks, 2 worker(s)',
    ]


def test_workers_of_the_command_line_are_stronger_than_those_of_the_topology(squall: Squall) -> None:
    file = squall.file(SPREAD)
    one, many, auto = (squall.done("check", file, "-w", workers) for workers in ("1", "9", "auto"))
    assert one.err == 'warning: "last" has 3 tasks in one worker: they share one core\n'
    assert many.err == "warning: there are 4 executors, so 4 of 9 workers are used\n"
    assert '"last" has 3 executors' in auto.out
    none = squall.done("check", file, "-w", "many")
    assert none.process.returncode == 2
    assert "setting_invalid" in none.err
    assert "--workers many" in none.err


def test_plain_output_is_a_line_a_second_and_a_summary(squall: Squall) -> None:
    """On a pipe `squall run` prints plain lines, and a summary whose figures add up."""
    run = squall.start("run", squall.file(ENDLESS), "--for", "5s")
    assert run.end() == 0
    lines = run.out.splitlines()
    assert sum("pending" in line and "/s" in line for line in lines) >= 2
    assert any("emitted" in line and "= acked" in line for line in lines)


def test_a_bolt_that_gets_a_tuple_after_its_drain_is_drained_again(squall: Squall) -> None:
    """Semantics 35. A timer of the bolt above lets go of one when all have drained; a sum that is sent late has it."""
    run = squall.run(
        """
        from squall import Bolt, Topology, Tuple

        def numbers():
            yield 1
            yield 2
            while True:
                yield None

        class Later(Bolt):
            manual_ack = True
            outputs = ("n",)

            def process(self, tup: Tuple):
                if tup["n"] == 1:
                    return self.let_go(tup)
                self.context.after(1.0, self.let_go, tup)
                print("held")

            def let_go(self, tup: Tuple):
                self.emit(tup["n"], anchors=[tup])
                self.ack(tup)

        class Kept(Bolt):
            manual_ack = True

            def open(self, context):
                self.kept = []

            def process(self, tup: Tuple):
                self.kept.append(tup)

            def drain(self):
                print("drained", sum(tup["n"] for tup in self.kept))
                for tup in self.kept:
                    self.ack(tup)
                self.kept.clear()

        class Sums(Bolt):
            outputs = ("n",)
            sum = 0

            def process(self, n: int):
                self.sum += n

            def drain(self):
                print("sum", self.sum)
                return self.sum

        topology = Topology("late")
        later = topology.bolt("later", Later).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
        topology.bolt("kept", Kept).shuffle(later)
        topology.bolt("sums", Sums).shuffle(later)
        """
    )
    wait_until(lambda: "held" in run.err, what="the tuple in the bolt's hands")
    run.interrupt()
    assert run.end() == 0, run.err
    assert re.findall(r"logger=stdout (drained .|sum .)", run.err) == ["drained 1", "sum 1", "drained 2", "sum 3"]
    assert run.summary()["acked"] == 2


def test_a_bolt_in_a_loop_is_drained_once(squall: Squall) -> None:
    """What its drain sends comes back to it."""
    run = squall.run(
        """
        from squall import Bolt, Topology

        class Sums(Bolt):
            outputs = ("n",)

            def process(self, n: int):
                pass

            def drain(self):
                print("drained")
                return 7

        topology = Topology("looping")
        sums = topology.bolt("sums", Sums).shuffle(topology.spout("one", lambda: iter([1]), outputs=("n",)))
        sums.shuffle(topology.bolt("back", lambda n: n, outputs=("n",)).shuffle(sums))
        """
    )
    assert run.end() == 0, run.err
    assert run.err.count("logger=stdout drained") == 1


def test_drain_waits_for_a_timer_that_will_ack_what_is_held(squall: Squall) -> None:
    """Semantics 35: timers empty."""
    run = squall.run(
        """
        from squall import Bolt, Topology, Tuple

        def one():
            yield 1
            while True:
                yield None

        class Later(Bolt):
            manual_ack = True

            def process(self, tup: Tuple):
                self.context.after(1.0, self.ack, tup)
                print("held")

        topology = Topology("later")
        topology.bolt("later", Later).shuffle(topology.spout("one", one, outputs=("n",)))
        """
    )
    wait_until(lambda: "held" in run.err, what="the tuple in the bolt's hands")
    run.interrupt()
    assert run.end() == 0
    assert run.summary()["acked"] == 1


def test_drain_does_not_wait_for_a_poll_that_never_returns(squall: Squall) -> None:
    """Semantics 35. A blocking spout waits for what will not come any more: its thread is left alone."""
    run = squall.run(
        """
        import queue
        from squall import Bolt, Spout, Topology

        class FromQueue(Spout):
            outputs = ("n",)
            blocking = True

            def open(self, context):
                self.waiting = queue.Queue()
                self.waiting.put(1)

            def next_tuple(self):
                return self.waiting.get()

        class Show(Bolt):
            def process(self, n: int):
                print("shown", n)

        topology = Topology("waiting")
        topology.bolt("show", Show).shuffle(topology.spout("from_queue", FromQueue))
        """,
        "--drain",
        "20s",
    )
    wait_until(lambda: "shown 1" in run.err, what="the tuple")
    run.interrupt()
    assert run.end(12) == 0
    summary = run.summary()
    assert (summary["acked"], summary["pending"]) == (1, 0)
    assert "event=not_closed" in run.err
