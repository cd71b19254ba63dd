"""Workers that die while others go on: nothing is lost, the cause is named, nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

import pytest

from .conftest import Running, Squall, free_port, is_alive, wait_until
from .over_workers import count, files_left, kept, kill, letters, lost, only_when_long, pid, with_keep

NUMBERS = 20_000
PENDING = 200

COPYING = """
    def numbers():
        "Gives the last third of the numbers when its test has done what it wanted to do meanwhile."
        for n in range(20_000):
            while n >= 13_000 and not (FOLDER / "go").exists():
                yield None
            yield n, os.getpid()

    class Slow(Keep):
        def process(self, n: int, source: int):
            keep(n, source)

    topology = Topology("copying", settings={"topology.max.spout.pending": 200})
    numbers = topology.spout("numbers", numbers, outputs=("n", "pid"))
    topology.bolt("slow", Slow).shuffle(numbers, rename={"pid": "source"})
"""


def copied_to(squall: Squall, run: Running, most: int) -> None:
    """Waits until so many numbers were kept."""
    wait_until(lambda: len(count(squall)) >= most or run.process.poll() is not None, what=f"{most} numbers")


def ended_well(squall: Squall, run: Running, deaths: int) -> None:
    """Every number was kept, few twice, and the totals add up."""
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    seen = count(squall)
    assert set(seen) == set(range(NUMBERS))
    assert seen.total() - NUMBERS <= deaths * 2 * PENDING
    summary = run.summary()
    assert summary["pending"] == 0
    assert summary["acked"] >= NUMBERS
    assert summary["failed"] <= deaths * PENDING
    assert summary["dead"] == 0
    assert summary.get("approximate") is (True if deaths else None)
    assert len(lost(run)) == deaths


def test_death_of_a_bolts_worker_loses_nothing(squall: Squall) -> None:
    """Semantics 19. What was on its way is emitted again at once, uncounted, and the run goes on."""
    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    for death in range(1, 4):
        copied_to(squall, run, death * 3000)
        kill(run, 2)
    ended_well(squall, run, 3)
    assert run.summary()["acked"] == NUMBERS, "its spout did not die, so each number is acked once"
    assert all("SIGKILL" in event["cause"] and event["id"] == 2 for event in lost(run))


def test_death_of_the_spouts_worker_skips_what_had_ended(squall: Squall) -> None:
    """Semantics 31. A generator is run again; what had ended with all before it is not sent again."""
    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    sources = [pid(run, 1)]
    for death in range(1, 4):
        copied_to(squall, run, death * 3000)
        sources.append(kill(run, 1))
    ended_well(squall, run, 3)
    by_source = {source: [n for n, by in kept(squall) if by == source] for source in sources}
    for death, source in enumerate(sources[1:], 1):
        assert min(by_source[source], default=NUMBERS) >= death * 3000 - 2 * PENDING  # it may have died at once


def test_death_of_all_workers_at_once_loses_nothing(squall: Squall) -> None:
    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    copied_to(squall, run, 3000)
    for process in [pid(run, 1), pid(run, 2)]:
        os.kill(process, signal.SIGKILL)
    ended_well(squall, run, 2)


@pytest.mark.parametrize(
    "stopped_s", [0.1, 1, 5, 7, pytest.param(20, marks=only_when_long), pytest.param(60, marks=only_when_long)]
)
@pytest.mark.parametrize("worker", [0, 1, 2])
def test_a_process_that_stands_still_for_a_while_loses_nothing(squall: Squall, worker: int, stopped_s: float) -> None:
    """Semantics 20, 21. Neither a link that was silent, nor one that was given up meanwhile; 0: the parent."""
    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    copied_to(squall, run, 2000)
    process = pid(run, worker) if worker else run.process.pid
    os.kill(process, signal.SIGSTOP)
    until_s = time.monotonic() + stopped_s
    wait_until(lambda: time.monotonic() > until_s, 90, "the time")
    os.kill(process, signal.SIGCONT)
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    seen = count(squall)
    assert set(seen) == set(range(NUMBERS))
    assert seen.total() - NUMBERS <= PENDING
    assert lost(run) == []
    summary = run.summary()
    assert (summary["acked"], summary["dead"]) == (NUMBERS, 0)
    assert summary["failed"] <= PENDING


CRASHING = """
    import ctypes, resource

    def limit_memory():
        pages = int(open("/proc/self/statm").read().split()[0])
        most = pages * resource.getpagesize() + (64 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    class Crash(Keep):
        outputs = ("n",)

        def process(self, n: int):
            if n == 500 and not (FOLDER / "crashed").exists():
                (FOLDER / "crashed").touch()
                HOW
            return n

    topology = Topology("crashing")
    numbers = topology.spout("numbers", lambda: iter(range(2000)), outputs=("n",))
    crash = topology.bolt("crash", Crash, parallelism=2).shuffle(numbers)
    topology.bolt("keep", Keep).shuffle(crash)
"""


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("os._exit(7)", "exited with code 7"),
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("raise SystemExit(4)", "SystemExit"),
    ],
    ids=["exit", "segfault", "abort", "sys.exit"],
)
def test_crash_in_a_bolt_is_named_and_survived(squall: Squall, how: str, cause: str) -> None:
    """Semantics 38. Which component ran, and how its worker ended; another life goes on."""
    run = squall.run(with_keep(squall, CRASHING.replace("HOW", how)), "-w", 3)
    assert run.end() == 0, run.err
    assert set(count(squall)) == set(range(2000))
    if "SystemExit" not in how:
        (death,) = lost(run)
        assert cause in death["cause"]
        assert '"crash"' in death["cause"]
    run.summary()


def test_a_limit_of_memory_fails_the_tuple_that_meets_it(squall: Squall) -> None:
    """It is tried again where there is room."""
    how = "limit_memory(); self.kept = [bytearray(4096) for _ in range(1 << 20)]"
    run = squall.run(with_keep(squall, CRASHING.replace("HOW", how)), "-w", 3)
    assert run.end() == 0, run.err
    assert set(count(squall)) == set(range(2000))
    run.summary()


def test_a_worker_without_memory_for_anything_is_replaced(squall: Squall) -> None:
    """It cannot take its parent's words any more, and the run must not wait for it."""
    how = "resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20)); [bytearray(4096) for _ in range(1 << 20)]"
    run = squall.run(with_keep(squall, CRASHING.replace("HOW", how)), "-w", 3)
    assert run.end() == 0, run.err
    assert set(count(squall)) == set(range(2000))
    (death,) = lost(run)
    assert death["code"] in ("worker_out_of_memory", "worker_crashed")
    run.summary()


KILLER = """
    class Killer(Bolt):
        outputs = ("n",)

        def process(self, n: int):
            if n == 500:
                os.kill(os.getpid(), signal.SIGKILL)
            return n

    topology = Topology("killing")
    numbers = topology.spout("numbers", lambda: iter(range(2000)), outputs=("n",))
    topology.bolt("aside", Keep, parallelism=2).shuffle(numbers)
    killer = topology.bolt("killer", Killer).shuffle(numbers)
    topology.bolt("keep", lambda n: None).shuffle(killer)
"""


def test_a_tuple_that_kills_its_worker_is_given_up_at_the_third_death(squall: Squall) -> None:
    """Semantics 9. A crash loop ends in a dead letter, and all else is processed."""
    run = squall.run(with_keep(squall, KILLER), "-w", 3)  # in the killer's worker there is another component, too
    assert run.end() == 0, run.err
    assert len(lost(run)) == 3
    (letter,) = letters(squall, "killing")
    assert (letter["root"], letter["component"]) == ({"n": 500}, "killer")
    assert "worker_killed_by_tuple" in letter["error"] or "died" in letter["error"], letter["error"]
    summary = run.summary()
    assert (summary["acked"], summary["dead"]) == (1999, 1)
    assert set(count(squall)) == set(range(2000))


BEHIND_A_FAILURE = """
    def fails(n):
        if n == 500:
            raise ValueError("fails before its killer is called")

    def kills(n):
        if n == 500:
            os._exit(3)

    topology = Topology("killing")
    numbers = topology.spout("numbers", lambda: iter(range(1000)), outputs=("n",))
    topology.bolt("first", fails).shuffle(numbers)
    topology.bolt("second", kills).shuffle(numbers)
    topology.bolt("keep", Keep).shuffle(numbers)
"""
BEHIND_A_TIMEOUT = """
    class Killer(Bolt):
        blocking = True

        def process(self, n: int):
            if n == 500:
                time.sleep(1.5)
                os._exit(3)

    settings = {"topology.message.timeout.secs": 0.5, "topology.max.spout.pending": 50}
    topology = Topology("killing", settings=settings)
    numbers = topology.spout("numbers", lambda: iter(range(1000)), outputs=("n",))
    topology.bolt("killer", Killer, parallelism=2).shuffle(numbers)
    topology.bolt("keep", Keep).shuffle(numbers)
"""


@pytest.mark.parametrize("topology", [BEHIND_A_FAILURE, BEHIND_A_TIMEOUT], ids=["failure", "timeout"])
def test_what_is_left_of_a_failed_try_and_kills_its_worker_is_given_up(squall: Squall, topology: str) -> None:
    """Semantics 9. Its tries are counted in the worker, and die with it: only the deaths are left to end the loop."""
    run = squall.run(with_keep(squall, topology), "-w", 1)
    assert run.end() == 0, run.err
    (letter,) = letters(squall, "killing")
    assert letter["root"] == {"n": 500}
    assert set(count(squall)) | {500} == set(range(1000))
    assert run.summary()["dead"] == 1


LOOPING = """
    def numbers(first):
        "Gives the last half of the numbers when its test has done what it wanted to do meanwhile."
        for n in range(3000):
            while n >= 1500 and not (FOLDER / "go").exists():
                yield None
            yield first + n, 2

    class Steps(Bolt):
        outputs = ("n", "left")

        def process(self, n: int, left: int):
            if left:
                return n, left - 1
            keep(n)

    class Slow(Steps):
        def process(self, n: int, left: int):
            time.sleep(0.001)
            return super().process(n, left)

    topology = Topology("looping", settings={"topology.max.spout.pending": 500})
    first = topology.spout("first", lambda: numbers(0), outputs=("n", "left"))
    second = topology.spout("second", lambda: numbers(10_000), outputs=("n", "left"))
    there = topology.bolt("there", Slow).shuffle(first)
    back = topology.bolt("back", Steps).shuffle(there).shuffle(second)
    there.shuffle(back)
"""


@pytest.mark.parametrize("worker", [1, 2])
def test_death_of_a_worker_that_tuples_only_come_to_by_a_loop_loses_nothing(squall: Squall, worker: int) -> None:
    """Semantics 19. What "second" gives comes to the other worker only by the edge that closes the loop."""
    text = with_keep(squall, LOOPING)
    placed = squall.done("check", squall.file(text), "-w", 2).out
    assert "beside first" in placed
    assert "beside second" in placed
    run = squall.run(text, "-w", 2)
    for death in range(1, 4):
        copied_to(squall, run, death * 400)
        kill(run, worker)
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    assert set(count(squall)) == {*range(3000), *range(10_000, 13_000)}
    summary = run.summary()
    assert (summary["pending"], summary["dead"]) == (0, 0)


CIRCLING = """
    def numbers():
        for n in range(300):
            yield n, os.getpid()

    class Circle(Bolt):
        "What the first life of the spout gave goes round for ever."
        outputs = ("n", "source")

        def process(self, n: int, source: int):
            (FOLDER / f"life-{source}").touch()
            if len(list(FOLDER.glob("life-*"))) == 1 or (FOLDER / f"first-{source}").exists():
                (FOLDER / f"first-{source}").touch()
                return n, source
            keep(n)

    class Back(Bolt):
        outputs = ("n", "source")

        def process(self, n: int, source: int):
            keep(-1)
            time.sleep(0.02 if (FOLDER / "slow").exists() else 0.0002)
            return n, source

    topology = Topology("circling")
    numbers = topology.spout("numbers", numbers, outputs=("n", "source"))
    circle = topology.bolt("circle", Circle).shuffle(numbers)
    back = topology.bolt("back", Back).shuffle(circle)
    circle.shuffle(back)
"""


def test_tuples_of_a_life_that_is_over_do_not_go_round_their_loop(squall: Squall) -> None:
    """Decision 0005. Their trees have ended with the life of the worker that had opened them, in another worker."""
    run = squall.run(with_keep(squall, CIRCLING), "-w", 2)
    wait_until(lambda: count(squall)[-1] > 1000, what="that tuples go round")
    (squall.folder / "slow").touch()
    so_far = count(squall)[-1]
    wait_until(lambda: count(squall)[-1] > so_far + 2, what="that most of them wait in the other worker")
    kill(run, 1)
    (squall.folder / "slow").unlink()
    assert run.end() == 0, run.err
    assert set(count(squall)) == {-1, *range(300)}


PARTS = """
    class Once(Bolt):
        "Dies once, with several tuples of one root in its hands."
        def process_batch(self, n):
            died = FOLDER / "died"
            if len(n) > 3 and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            for one in n:
                keep(one)

    topology = Topology("parts")
    numbers = topology.spout("numbers", lambda: iter(range(500)), outputs=("n",))
    split = topology.bolt("split", lambda n: [(n,)] * 4, outputs=("n",)).shuffle(numbers)
    topology.bolt("once", Once).shuffle(split)
"""


def test_one_death_counts_once_for_a_root_with_several_tuples_in_the_batch(squall: Squall) -> None:
    """Semantics 9. It takes three deaths, not three tuples."""
    run = squall.run(with_keep(squall, PARTS), "-w", 3)
    assert run.end() == 0, run.err
    assert len(lost(run)) == 1
    assert run.summary()["dead"] == 0
    assert set(count(squall)) == set(range(500))


AWAY = """
    import asyncio

    class Async(Bolt):
        outputs = ("n",)
        max_in_flight = 20

        async def process(self, n: int):
            await asyncio.sleep(0.01)
            die_of(n)
            return n

    class Blocking(Bolt):
        outputs = ("n",)
        blocking = True

        def process(self, n: int):
            die_of(n)
            return n

    class Batches(Bolt):
        outputs = ("n",)
        blocking = True

        def process_batch(self, n: list):
            for one in n:
                die_of(one)
            return n

    def die_of(n):
        if n == 500:
            os.kill(os.getpid(), signal.SIGKILL)

    class Beside(Bolt):
        blocking = True

        def process(self, n: int):
            time.sleep(0.002)

    topology = Topology("killing", settings={"topology.max.spout.pending": 100})
    numbers = topology.spout("numbers", lambda: iter(range(1000)), outputs=("n",))
    killer = topology.bolt("killer", KIND, parallelism=2).shuffle(numbers)
    topology.bolt("beside", Beside).shuffle(numbers)
    topology.bolt("keep", Keep).shuffle(killer)
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["Async", "Blocking", "Batches"])
def test_a_tuple_that_kills_its_worker_away_from_the_loop_is_given_up_alone(
    squall: Squall, kind: str, workers: int
) -> None:
    """Semantics 9. What ran beside it is a suspect too at first, and is cleared when it runs alone."""
    run = squall.run(with_keep(squall, AWAY.replace("KIND", kind)), "-w", workers)
    assert run.end() == 0, run.err
    (letter,) = letters(squall, "killing")
    assert (letter["root"], len(lost(run))) == ({"n": 500}, 3)
    assert "worker_killed_by_tuple" in letter["error"] or "died" in letter["error"], letter["error"]
    assert set(count(squall)) == set(range(1000)) - {500}
    assert run.summary()["dead"] == 1


DECODING = """
    class Odd:
        def __init__(self, n):
            self.n = n

    def made(n):
        if n == 500:
            HOW
        return Odd(n)

    register_type(Odd, encode=lambda odd: odd.n, decode=made)

    topology = Topology("decoding", settings={"topology.max.spout.pending": 100, "topology.retries": 1})
    numbers = topology.spout("numbers", lambda: iter(range(1000)), outputs=("n",))
    odd = topology.bolt("odd", lambda n: Odd(n), outputs=("odd",)).shuffle(numbers)
    topology.bolt("keep", lambda odd: keep(odd.n)).shuffle(odd)
"""


@pytest.mark.parametrize(
    ("how", "deaths"), [("os.kill(os.getpid(), signal.SIGKILL)", 3), ("raise LookupError(n)", 0)], ids=["kill", "raise"]
)
def test_a_value_whose_decoder_fails_ends_as_a_dead_letter(squall: Squall, how: str, deaths: int) -> None:
    """Semantics 9. Reading a tuple by code of the user is executing it."""
    run = squall.run(with_keep(squall, DECODING.replace("HOW", how)), "-w", 2)
    assert run.end() == 0, run.err
    (letter,) = letters(squall, "decoding")
    assert (letter["root"], len(lost(run))) == ({"n": 500}, deaths)
    assert set(count(squall)) == set(range(1000)) - {500}
    assert all('"keep"' in death["cause"] for death in lost(run))
    assert run.summary()["dead"] == 1


STARTING = """
    class Opens(Bolt):
        def open(self, context):
            os._exit(5)

        def process(self, n: int):
            pass

    topology = Topology("starting")
    numbers = topology.spout("numbers", lambda: iter(range(10)), outputs=("n",))
    topology.bolt("opens", Opens).shuffle(numbers)
"""


def test_a_worker_that_dies_whenever_it_starts_ends_the_run(squall: Squall) -> None:
    run = squall.run(with_keep(squall, STARTING), "-w", 2, "-c", "topology.worker.start.deaths.max=4")
    assert run.end() == 1
    (failed,) = run.events("failed")
    assert failed["code"] == "worker_start_deaths"
    assert '"opens"' in failed["text"]
    assert "exited with code 5" in failed["text"]
    assert len([event for event in lost(run) if event["id"] == 2]) == 4
    assert run.summary()["emitted"] == 0


WAITING = """
    IS_WORKER = b"squall.runtime.worker" in Path("/proc/self/cmdline").read_bytes()

    def begin(where):
        if where == WHERE and (FOLDER / "away").exists():
            raise ConnectionError("the database is away")

    def given():
        for n in range(2000):
            while n >= 1000 and not (FOLDER / "go").exists():
                yield None
            yield n

    class Opens(Keep):
        def open(self, context):
            begin("open")

    if IS_WORKER:
        begin("import")
    topology = Topology("waiting", settings={"topology.max.spout.pending": 200})
    numbers = topology.spout("numbers", given, outputs=("n",))
    topology.bolt("opens", Opens).shuffle(numbers)
"""


@pytest.mark.parametrize("where", ["open", "import"])
def test_a_replacement_waits_for_what_it_cannot_begin_without(squall: Squall, where: str) -> None:
    """What worked for the first life is gone for now: its exceptions are deaths like others, with back-off."""
    run = squall.run(with_keep(squall, WAITING.replace("WHERE", repr(where))), "-w", 2)
    process = pid(run, 2)
    copied_to(squall, run, 500)
    (squall.folder / "away").touch()
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: len(lost(run)) >= 4 or run.process.poll() is not None, what="three lives that cannot begin")
    (squall.folder / "away").unlink()
    pid(run, 2, after=process)
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    assert set(count(squall)) == set(range(2000))
    codes = {event["code"] for event in lost(run)[1:]}
    assert codes == {"component_failed" if where == "open" else "file_raises"}
    run.summary()


def test_deaths_beyond_a_limit_that_was_set_end_the_run(squall: Squall) -> None:
    run = squall.run(with_keep(squall, COPYING), "-w", 2, "-c", "topology.worker.deaths.max=2")
    os.kill(kill(run, 2), signal.SIGKILL)
    assert run.end() == 1
    (failed,) = run.events("failed")
    assert failed["code"] == "worker_deaths"
    run.summary()


DRAINING = """
    class Sum(Bolt):
        outputs = ("n",)

        def open(self, context):
            self.sum = 0

        def process(self, n: int):
            keep("one", n)

        def drain(self):
            (FOLDER / "draining").touch()
            if not (FOLDER / "died").exists():
                (FOLDER / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return [0, 1, 2]

    topology = Topology("draining")
    numbers = topology.spout("numbers", lambda: iter(range(1000)), outputs=("n",))
    total = topology.bolt("sum", Sum).shuffle(numbers)
    topology.bolt("keep", lambda n: keep("last", n)).shuffle(total)
"""


@pytest.mark.parametrize("workers", [2, 3])
def test_death_in_a_drain_begins_the_drain_anew(squall: Squall, workers: int) -> None:
    """Semantics 35. What one of them had drained is drained in the next life."""
    run = squall.run(with_keep(squall, DRAINING), "-w", workers)
    assert run.end() == 0, run.err
    rows = [tuple(row) for row in kept(squall)]
    assert {n for kind, n in rows if kind == "one"} == set(range(1000))
    assert {n for kind, n in rows if kind == "last"} == {0, 1, 2}
    assert len(lost(run)) == 1
    run.summary()


LISTENING = """
    import asyncio
    from squall.connectors.tcp import TcpSpout

    async def hold(line: str):
        (FOLDER / "holds").touch()
        while not (FOLDER / "go").exists():
            await asyncio.sleep(0.01)
        keep(line)

    def make(port: int) -> Topology:
        topology = Topology("listening")
        lines = topology.spout("lines", TcpSpout.listen(f"127.0.0.1:{port}"), parallelism=2)
        topology.bolt("hold", hold).shuffle(lines)
        return topology
"""


def test_death_in_the_drain_of_a_listening_spout_is_survived(squall: Squall) -> None:
    """Semantics 18. Who comes in a drain is refused, and a new life does not need the port."""
    port = free_port()
    run = squall.run(with_keep(squall, LISTENING), "-w", 2, "-p", f"port={port}")
    run.event("started")
    process = pid(run, 2)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"one\n")
        wait_until(lambda: (squall.folder / "holds").exists(), what="that it is held")
        run.interrupt()
        wait_until(lambda: is_refused(port) or run.process.poll() is not None, what="that newcomers are refused")
        os.kill(process, signal.SIGKILL)
        pid(run, 2, after=process)
        (squall.folder / "go").touch()
        assert run.end() == 0, run.err
    assert len(lost(run)) == 1
    run.summary()


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    return False


RESUMED = """
    def numbers():
        for n in range(1000):
            while n == 500 and (FOLDER / "died").exists() and not (FOLDER / "go").exists():
                yield None
            yield n, os.getpid()

    class Sum(Bolt):
        def process(self, n: int, source: int):
            self.source = source
            keep(n)

        def drain(self):
            if not (FOLDER / "died").exists():
                (FOLDER / "died").touch()
                os.kill(self.source, signal.SIGKILL)

    topology = Topology("again", settings={"topology.max.spout.pending": 200})
    numbers = topology.spout("numbers", numbers, outputs=("n", "pid"))
    topology.bolt("sum", Sum).shuffle(numbers, rename={"pid": "source"})
"""


def test_sources_that_run_again_have_all_their_time(squall: Squall) -> None:
    """They had ended by themselves, so the run was drained; what a lost worker's have to make again is no drain."""
    run = squall.run(with_keep(squall, RESUMED), "-w", 2, "--drain", "0.2")

    def phases() -> list[str]:
        after_death = run.events()[run.events().index(lost(run)[0]) :] if lost(run) else []
        return [event["phase"] for event in after_death if event["event"] == "progress"]

    wait_until(lambda: phases()[-2:] == ["running"] * 2 or run.process.poll() is not None, what="that it runs again")
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    assert len(lost(run)) == 1
    assert set(count(squall)) == set(range(1000))
    run.summary()


@pytest.mark.parametrize("workers", [1, 3])
def test_kill_of_the_parent_leaves_no_process_and_no_file(squall: Squall, workers: int) -> None:
    run = squall.run(with_keep(squall, COPYING), "-w", workers)
    pids = [pid(run, worker) for worker in range(1, min(workers, 2) + 1)]
    copied_to(squall, run, 100)
    run.process.kill()
    wait_until(lambda: not any(map(is_alive, pids)), 5, "the end of the workers")
    wait_until(lambda: files_left(squall) == [], 5, "that its folder is gone")


FILE = """
    from squall.connectors.files import FileSpout

    def hold(n):
        "Takes the last third of the numbers when its test has done what it wanted to do meanwhile."
        while n >= 13_000 and not (FOLDER / "go").exists():
            time.sleep(0.01)
        keep(n)

    topology = Topology("file", settings={"topology.max.spout.pending": 200})
    lines = topology.spout("lines", FileSpout(str(FOLDER / "lines.txt")))
    topology.bolt("keep", lambda line: hold(int(line))).shuffle(lines)
"""


def test_a_file_is_gone_on_with_where_it_had_got_to(squall: Squall) -> None:
    """Semantics 31."""
    (squall.folder / "lines.txt").write_text("".join(f"{n}\n" for n in range(NUMBERS)))
    run = squall.run(with_keep(squall, FILE), "-w", 2)
    for death in range(1, 3):
        copied_to(squall, run, death * 5000)
        kill(run, 1)
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    seen = count(squall)
    assert set(seen) == set(range(NUMBERS))
    assert run.summary()["dead"] == 0


def test_a_line_that_kills_its_worker_is_given_up_at_the_third_death(squall: Squall) -> None:
    """Semantics 9. Each life begins at the stored position; what had ended beyond it makes no other line of it."""
    (squall.folder / "lines.txt").write_text("".join(f"{n}\n" for n in range(NUMBERS)))
    (squall.folder / "go").touch()
    text = FILE.replace("keep(n)\n", "keep(n)\n        n == 5000 and os.kill(os.getpid(), signal.SIGKILL)\n")
    run = squall.run(with_keep(squall, text), "-w", 1)
    wait_until(lambda: len(lost(run)) > 3 or run.process.poll() is not None, what="its end")
    assert run.end() == 0, run.err
    assert set(count(squall)) == set(range(NUMBERS))
    (letter,) = letters(squall, "file")
    assert letter["root"] == {"line": "5000"}


STDIN = """
    from squall.connectors.stdin import StdinSpout

    def hold(n):
        "Takes the last third of the numbers when its test has done what it wanted to do meanwhile."
        while n >= 13_000 and not (FOLDER / "go").exists():
            time.sleep(0.01)
        keep(n)

    topology = Topology("piped", settings={"topology.max.spout.pending": 200})
    lines = topology.spout("lines", StdinSpout())
    topology.bolt("keep", lambda line: hold(int(line))).shuffle(lines)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_standard_input_comes_again_from_what_had_not_ended(squall: Squall, workers: int) -> None:
    """Semantics 31. The parent keeps it."""
    file = squall.file(with_keep(squall, STDIN))
    with subprocess.Popen(["seq", "0", str(NUMBERS - 1)], stdout=subprocess.PIPE) as writer:
        run = squall.start("run", file, "--json", "-w", workers, stdin=writer.stdout)
        for death in range(1, 3):
            copied_to(squall, run, death * 5000)
            kill(run, 1)
        (squall.folder / "go").touch()
        assert run.end() == 0, run.err
    assert set(count(squall)) == set(range(NUMBERS))
    assert run.summary()["dead"] == 0


def test_kill_of_the_parent_ends_what_workers_have_started(squall: Squall) -> None:
    """Processes that user code started too, as at any other end of a worker."""
    text = """
    import subprocess

    class Starts(Bolt):
        def open(self, context):
            self.child = subprocess.Popen(["sleep", "600"])
            keep(self.child.pid)

        def process(self, n: int):
            time.sleep(0.01)

    topology = Topology("starting")
    topology.bolt("starts", Starts).shuffle(topology.spout("numbers", lambda: itertools.count(), outputs=("n",)))
    """
    run = squall.run(with_keep(squall, text))
    pid(run, 1)
    (child,) = count(squall)
    run.process.kill()
    wait_until(lambda: not is_alive(child), 5, "the end of what the worker had started")
    wait_until(lambda: files_left(squall) == [], 5, "that its folder is gone")


def test_a_death_is_noticed_also_where_ends_of_children_were_ignored(squall: Squall) -> None:
    """Who starts `squall run` may have them ignored, and hand that down."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        run = squall.run(with_keep(squall, COPYING), "-w", 2)
    finally:
        signal.signal(signal.SIGCHLD, before)
    copied_to(squall, run, 1000)
    kill(run, 2)
    ended_well(squall, run, 1)


AGAIN = """
    def numbers():
        "Says in each life where it begins; the second one stops at 500 until its test has seen that."
        lives = len(list(FOLDER.glob("life-*")))
        (FOLDER / f"life-{os.getpid()}").touch()
        for n in range(1000):
            while lives == 1 and n == 500 and not (FOLDER / "go").exists():
                time.sleep(0.01)
            yield n, lives
        while not (FOLDER / "go").exists():
            yield None

    class Twice(Bolt):
        def process(self, n: int, life: int):
            keep(n, life)

    topology = Topology("again", settings={"topology.stuck.secs": 0.5})
    topology.bolt("twice", Twice).shuffle(topology.spout("numbers", numbers, outputs=("n", "life")))
"""


def test_a_generator_that_takes_long_again_holds_up_no_start_and_is_named(squall: Squall) -> None:
    """It is run again in the loop, so its worker is ready before, and the watchdog sees it."""
    run = squall.run(with_keep(squall, AGAIN), "-w", 2)
    copied_to(squall, run, 1000)
    wait_until(lambda: run.events("progress") and run.events("progress")[-1]["acked"] == 1000, what="acks")
    kill(run, 1)
    stuck = wait_until(lambda: run.events("stuck"), what="the call that hangs")
    assert stuck[0]["component"] == "numbers"
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    assert set(count(squall)) == set(range(1000))
    assert [n for n, life in kept(squall) if life] == []


def test_a_generator_that_gives_other_things_each_time_begins_anew(squall: Squall) -> None:
    """Semantics 31. What it gives is never left out; what was under way when its worker died is lost."""
    text = AGAIN.replace("    topology =", "    numbers.replayable = False\n    topology =")
    run = squall.run(with_keep(squall, text), "-w", 2)
    copied_to(squall, run, 1000)
    kill(run, 1)
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    assert {n for n, life in kept(squall) if life} == set(range(1000))


def test_generators_of_many_tasks_go_on_where_they_were(squall: Squall) -> None:
    text = """
    def numbers(context):
        for n in range(50):
            yield 1000 * context.task_index + n
        while not (FOLDER / "go").exists():
            yield None

    topology = Topology("many")
    numbers = topology.spout("numbers", numbers, outputs=("n",), parallelism=80)
    topology.bolt("keep", Keep).shuffle(numbers)
    """
    run = squall.run(with_keep(squall, text))
    copied_to(squall, run, 4000)
    wait_until(lambda: run.events("progress") and run.events("progress")[-1]["acked"] == 4000, what="acks")
    kill(run, 1)
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    assert count(squall).total() == 4000
