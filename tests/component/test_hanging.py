"""A topology whose user code hangs can be looked at and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from squall.engines.embedded import sockets
from squall.engines.embedded.runs import running

from .conftest import Squall, wait_until

HANGING = """
    import logging, re
    from squall import Bolt, Topology

    def hang_in_python():
        while True:
            pass

    def hang_in_c():
        re.match(r"(a+)+$", "a" * 60 + "b")  # holds the interpreter lock for years

    class Hang(Bolt):
        def process(self, n: int):
            {how}()

    topology = Topology("hanging", settings={{"topology.stuck.secs": 0.5}})
    topology.bolt("hang", Hang).shuffle(topology.spout("one", lambda: iter([1]), outputs=("n",)))
"""


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("how", ["hang_in_python", "hang_in_c"])
def test_stacks_of_a_topology_that_hangs(squall: Squall, how: str) -> None:
    """Semantics 28, 16. `squall stacks` and the watchdog show where it hangs, also while the lock is never given up."""
    run = squall.run(HANGING.format(how=how))
    worker = run.worker_pid()
    wait_until(lambda: cpu_ticks(worker) > 50, what="the loop")
    stacks = squall.done("stacks", "hanging")
    assert stacks.process.returncode == 0
    assert how in stacks.out
    assert "process" in stacks.out
    stuck = run.event("stuck")
    assert stuck["component"] == "hang"
    assert how in stuck["stack"]
    run.interrupt()
    run.event("draining")
    run.interrupt()
    assert run.end(5) == 130


def test_a_worker_that_takes_no_commands_holds_up_neither_its_parent_nor_its_end(squall: Squall) -> None:
    run = squall.run(HANGING.format(how="hang_in_python"))
    worker = run.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    (path,) = running(squall.state).values()
    with sockets.connect(path, 10) as asker:
        for _ in range(40):
            asker.sendall(sockets.line({"cmd": "metrics", "much": "x" * 60_000}))
        assert "busy_with" in next(iter(asker.makefile()))
    run.interrupt()
    run.event("draining")
    run.interrupt()
    assert run.end() == 130


def test_commands_that_wait_for_a_worker_without_end_are_refused_from_a_number_on(squall: Squall) -> None:
    """Semantics 28. They wait for the interpreter lock, in the worker's memory."""
    run = squall.run(HANGING.format(how="hang_in_c"))
    worker = run.worker_pid()
    wait_until(lambda: cpu_ticks(worker) > 50, what="the loop")
    (path,) = running(squall.state).values()
    with sockets.connect(path, 10) as asker:
        for _ in range(100):
            asker.sendall(sockets.line({"cmd": "metrics"}))
        answers = [json.loads(line) for _, line in zip(range(100), asker.makefile(), strict=False)]
    refused = [answer["error"] for answer in answers if "error" in answer]
    assert set(refused) == {"64 commands wait for the worker already"}
    assert len(refused) in (36, 37)  # what the parent has told may be one of the 64
    assert all("busy_with" in answer for answer in answers[len(refused) :])
    assert "hang_in_c" in squall.done("stacks", "hanging").out
    run.interrupt()
    run.event("draining")
    run.interrupt()
    assert run.end() == 130


ELSEWHERE = """
    import asyncio, time
    from squall import Bolt, Topology

    def hang_here():
        time.sleep(1000)

    async def wait_here():
        await asyncio.sleep(1000)

    class Blocking(Bolt):
        blocking = True

        def process(self, n: int):
            hang_here()

    class Async(Bolt):
        async def process(self, n: int):
            await asyncio.sleep(0)
            hang_here()

    class AsyncDeep(Bolt):
        async def process(self, n: int):
            await asyncio.create_task(self.deeper())

        async def deeper(self):
            hang_here()

    class Innocent(Bolt):
        async def process(self, n: int):
            pass

    class Open(Bolt):
        def open(self, context):
            hang_here()

        def process(self, n: int):
            pass

    class BlockingOpen(Open):
        blocking = True

    class AsyncOpen(Bolt):
        async def open(self, context):
            await wait_here()

        async def process(self, n: int):
            pass

    class Close(Bolt):
        def process(self, n: int):
            pass

        def close(self):
            hang_here()

    class Init(Bolt):
        def __init__(self):
            import sys
            if "squall.runtime.worker" in sys.orig_argv:
                hang_here()

        def process(self, n: int):
            pass

    topology = Topology("hanging", settings={{"topology.stuck.secs": 0.5, "topology.message.timeout.secs": 0.2}})
    numbers = topology.spout("one", lambda: iter([1]), outputs=("n",))
    topology.bolt("innocent", Innocent).shuffle(numbers)
    topology.bolt("hang", {kind}, retries=0).shuffle(numbers)
"""


@pytest.mark.parametrize(
    "kind",
    ["Blocking", "Async", "AsyncDeep", "Open", "BlockingOpen", "AsyncOpen", "Close", "Init"],
)
def test_call_that_hangs_anywhere_is_reported_with_its_stack(squall: Squall, kind: str) -> None:
    """Semantics 16. In threads, on the event loop, and where components are made, opened and closed."""
    run = squall.run(ELSEWHERE.format(kind=kind))
    stuck = run.event("stuck")
    assert stuck["component"] == "hang"
    assert ("wait_here" if kind == "AsyncOpen" else "hang_here") in stuck["stack"]
    assert stuck["running_s"] >= 0.5
    run.process.kill()


def test_blocking_spout_that_waits_for_its_source_is_not_stuck(squall: Squall) -> None:
    """It may wait as long as it likes."""
    run = squall.run(
        """
        import queue
        from squall import Spout, Topology

        class Source(Spout):
            outputs = ("n",)
            blocking = True

            def open(self, context):
                self.queue = queue.Queue()
                context.after(1, self.queue.put, 7)

            def next_tuple(self):
                return self.queue.get()

        topology = Topology("waiting", settings={"topology.stuck.secs": 0.1})
        topology.bolt("last", lambda n: print("took", n)).shuffle(topology.spout("source", Source))
        """
    )
    wait_until(lambda: len(run.events("progress")) >= 2, what="two seconds")
    assert run.events("stuck") == []
    run.process.kill()


def test_log_level_changes_while_user_code_hangs(squall: Squall) -> None:
    """Semantics 28. A level is changed for a while although a call does not return."""
    run = squall.run(
        """
        import logging
        from squall import Bolt, Topology

        class Hang(Bolt):
            def process(self, n: int):
                log = logging.getLogger("mine")
                while not log.isEnabledFor(logging.DEBUG):
                    pass
                log.debug("now you see me")
                while log.isEnabledFor(logging.DEBUG):
                    pass
                log.debug("now you do not")
                log.info("it is over")

        topology = Topology("chatty")
        topology.bolt("hang", Hang).shuffle(topology.spout("one", lambda: iter([1]), outputs=("n",)))
        """
    )
    run.event("started")
    changed = squall.done("log-level", "chatty", "mine=DEBUG:1s")
    assert changed.process.returncode == 0, changed.err
    assert run.end() == 0
    assert "now you see me" in run.err
    assert "now you do not" not in run.err
    over = next(line for line in run.err.splitlines() if "it is over" in line)
    assert "component=hang" in over


def test_log_level_does_not_wait_for_ever_for_the_interpreter(squall: Squall) -> None:
    """While C code holds the interpreter lock the change waits for it; the command says so and ends."""
    run = squall.run(HANGING.format(how="hang_in_c"))
    worker = run.worker_pid()
    wait_until(lambda: cpu_ticks(worker) > 50, what="the loop")
    changed = squall.start("log-level", "hanging", "root=DEBUG")
    assert changed.end(20) == 1
    assert "hanging" in changed.err
    assert len(changed.err.splitlines()) <= 25
    run.process.kill()


def test_commands_name_what_is_running(squall: Squall) -> None:
    run = squall.run(HANGING.format(how="hang_in_python"))
    run.event("started")
    missing = squall.done("stacks", "other")
    assert missing.process.returncode == 1
    assert '"other" is not running' in missing.err
    assert "hanging" in missing.err


def test_worker_that_hangs_is_replaced_where_settings_say_so(squall: Squall) -> None:
    """Semantics 16, 9. A call that runs for twice the time-out costs its worker; thrice, and its tuple is dead."""
    text = HANGING.format(how="hang_in_c").replace('secs": 0.5', 'secs": 0.3, "topology.message.timeout.secs": 0.5')
    run = squall.run(text, "-c", "topology.stuck.restart=true")
    assert run.end() == 0
    assert [lost["code"] for lost in run.lost()] == ["call_hangs"] * 3
    assert all('"hang"' in lost["cause"] for lost in run.lost())
    assert run.summary()["dead"] == 1


def test_tuple_of_a_call_that_takes_too_long_fails_but_the_run_goes_on(squall: Squall) -> None:
    """Semantics 16. A call that returns at last has failed its tuple meanwhile."""
    run = squall.run(
        """
        import time
        from squall import Bolt, Topology

        class Slow(Bolt):
            def process(self, n: int):
                if n == 2:
                    end = time.monotonic() + 1
                    while time.monotonic() < end:
                        pass

        topology = Topology("slow", settings={"topology.message.timeout.secs": 0.3})
        topology.bolt("slow", Slow, retries=0).shuffle(topology.spout("s", lambda: iter(range(5)), outputs=("n",)))
        """
    )
    assert run.end() == 0
    summary = run.summary()
    assert (summary["acked"], summary["failed"], summary["dead"]) == (4, 1, 1)
    assert "call_overdue" in run.err


def test_call_may_take_its_time_where_message_timeouts_are_off(squall: Squall) -> None:
    """`topology.enable.message.timeouts: false`: no tuple fails for being slow."""
    run = squall.run(
        """
        import time
        from squall import Topology

        def slow(n):
            end = time.monotonic() + 1
            while time.monotonic() < end:
                pass

        settings = {"topology.message.timeout.secs": 0.3, "topology.enable.message.timeouts": False}
        topology = Topology("slow", settings=settings)
        topology.bolt("slow", slow, retries=0).shuffle(topology.spout("s", lambda: iter([1]), outputs=("n",)))
        """
    )
    assert run.end() == 0
    assert (run.summary()["acked"], run.summary()["failed"]) == (1, 0)


def test_topology_sets_its_log_level(squall: Squall) -> None:
    """`worker.log.level` of a topology's own settings is stronger than that of the machine."""
    run = squall.run(
        """
        import logging
        from squall import Topology

        def talk(n):
            logging.getLogger("mine").debug("event=detail n=%d", n)

        topology = Topology("talking", settings={"worker.log.level": "DEBUG"})
        topology.bolt("talk", talk).shuffle(topology.spout("s", lambda: iter([7]), outputs=("n",)))
        """
    )
    assert run.end() == 0
    assert "event=detail n=7" in run.err


def test_overlong_command_is_refused_and_harms_nobody(squall: Squall) -> None:
    """Semantics 28. Whoever writes to the control socket: the run goes on and takes the next command."""
    run = squall.run(
        """
        from squall import Topology

        def nothing():
            while True:
                yield None

        topology = Topology("idle")
        topology.bolt("last", lambda n: None).shuffle(topology.spout("none", nothing, outputs=("n",)))
        """
    )
    run.event("progress")
    refused = squall.done("log-level", "idle", f"{'x' * 100_000}=DEBUG")
    assert refused.process.returncode == 1
    assert "code: command_refused" in refused.err
    (control,) = squall.state.glob("runs/*/control.sock")
    escaped = "\N{SNOWMAN}" * 20_000  # 60,000 bytes, and twice as many when the parent passes it on
    for line in (b"x" * (20 << 20), json.dumps({"cmd": escaped}, ensure_ascii=False).encode()):
        with sockets.connect(control, 30) as client:
            client.sendall(line + b"\n")
            assert b"more than 65536 bytes" in client.recv(1000)
    assert squall.done("log-level", "idle", "mine=DEBUG").process.returncode == 0
    run.interrupt()
    assert run.end() == 0


AWAY = """
    import time
    from squall import Bolt, Topology
    from squall.api.waiting import Waits

    def rows():
        yield 0
        while True:  # each poll is a call of the loop
            yield None

    class Wait(Waits, Bolt):
        blocking = True

        def process(self, n: int):
            time.sleep(1000)

        def waits_for(self):
            return "a table"

    class Hang(Bolt):
        blocking = True

        def process(self, n: int):
            time.sleep(1000)

    class HangOnLoop(Bolt):
        def process(self, n: int):
            while True:
                pass

    limits = {{"topology.stuck.secs": 0.3, "topology.stuck.restart": True, "topology.message.timeout.secs": 0.5}}
    topology = Topology("hanging", settings=limits)
    numbers = topology.spout("one", rows, outputs=("n",))
    topology.bolt("wait", Wait).shuffle(numbers)
    topology.bolt("hang", {kind}).shuffle(numbers)
"""


@pytest.mark.parametrize("kind", ["Hang", "HangOnLoop"])
def test_worker_is_ended_for_the_call_that_hangs_not_for_one_that_waits(squall: Squall, kind: str) -> None:
    """Semantics 16. While the loop goes on, and while it does not; in the same worker another call waits."""
    run = squall.run(AWAY.format(kind=kind))
    wait_until(run.lost, what="the end of the worker")
    assert run.lost()[0]["code"] == "call_hangs"
    assert '"hang"' in run.lost()[0]["cause"]

    def told() -> set[tuple[str, str]]:
        return {(stuck["component"], stuck["waits_for"]) for stuck in run.events("stuck")}

    wait_until(lambda: told() == {("hang", ""), ("wait", "a table")}, what="both calls")
    run.process.kill()


def test_call_that_returned_on_a_loop_that_is_idle_since_costs_no_worker(squall: Squall) -> None:
    """Semantics 16. It is alone in its worker, and none follows for several times as long as one may take."""
    run = squall.run(
        """
        import time
        from squall import Topology
        from squall.connectors.tcp import TcpSpout

        def slow(line):
            end_s = time.monotonic() + 0.8
            while time.monotonic() < end_s:
                pass

        limits = {"topology.stuck.secs": 0.3, "topology.stuck.restart": True, "topology.message.timeout.secs": 0.5}
        topology = Topology("idle", settings=limits)
        topology.bolt("slow", slow, retries=0).shuffle(topology.spout("lines", TcpSpout.listen("127.0.0.1:0")))
        """,
        "-w",
        2,
    )
    host, _, port = run.event("started")["listening"]["lines"].rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"a\n")
        run.event("stuck")
        idle_until_s = time.monotonic() + 3
        wait_until(lambda: time.monotonic() > idle_until_s, what="some time")
    assert run.lost() == []
    run.interrupt()
    assert run.end() == 0
