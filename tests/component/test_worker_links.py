"""What meets the links between workers: strangers at their doors, and connections that break in every way."""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from chaos.proxy import Proxy
from squall.engines.embedded import sockets

from .conftest import Running, Squall, wait_until
from .over_workers import count, kept, kill, lost, pid, with_keep

NUMBERS = 20_000
COPYING = """
    topology = Topology("copying")
    numbers = topology.spout("numbers", lambda: iter(range(20_000)), outputs=("n",))
    topology.bolt("keep", Keep).shuffle(numbers)
"""
COPYING_UNTIL = """
    def numbers():
        "Counts until its test has seen enough."
        n = 0
        while not (FOLDER / "end").exists():
            yield (n := n + 1)

    topology = Topology("copying", settings={"topology.max.spout.pending": 20})
    numbers = topology.spout("numbers", numbers, outputs=("n",))
    topology.bolt("keep", Keep).shuffle(numbers)
"""
WITHIN_S = 5.0


def socket_of(squall: Squall, worker: int) -> Path:
    """Where the other workers call one."""

    def found() -> Path | None:
        return next((squall.state / "runs").glob(f"*/worker-{worker}.sock"), None)

    return wait_until(found, what="its socket")


def copied(squall: Squall, run: Running, *, failed: bool = False) -> None:
    """All numbers came, and nothing but what was lost on a link that was given up came twice."""
    assert run.end() == 0, run.err
    seen = count(squall)
    assert set(seen) == set(range(NUMBERS))
    summary = run.summary()
    assert (summary["acked"], summary["dead"], lost(run)) == (NUMBERS, 0, [])
    if not failed:
        assert summary["failed"] == 0
        assert seen.total() == NUMBERS, "a link that goes on sends nothing twice"


def ended(squall: Squall, run: Running, deaths: int = 0) -> None:
    """All numbers came."""
    assert run.end() == 0, run.err
    seen = count(squall)
    assert set(seen) == set(range(1, max(seen) + 1))
    assert (run.summary()["dead"], len(lost(run))) == (0, deaths)


def resident_kib(process: int) -> int:
    (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def told(squall: Squall, event: str) -> list[str]:
    """What the workers have logged of it."""
    lines = [line for path in squall.state.rglob("*.log") for line in path.read_text().splitlines()]
    return [line for line in lines if event in line]


# -- strangers ---------------------------------------------------------------------------------------------------------


def tls_hello() -> bytes:
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    hello = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="worker")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    return out.read()


def refused(run: Running) -> Counter[str]:
    """How often something was refused on the links of the run, by cause, as far as is told."""
    told = [event for event in run.events() if event["event"] in ("progress", "summary")]
    links = told[-1]["links"].values() if told else ()
    return sum((Counter(link["refused"]) for link in links), Counter())


def knock(path: Path, text: bytes) -> socket.socket:
    """Says something to a worker, as soon as there is room at its door. It may have hung up meanwhile."""

    def connected() -> socket.socket | None:
        with suppress(BlockingIOError):
            return sockets.connect(path, WITHIN_S)
        return None

    connection = wait_until(connected, what="room at the door")
    with suppress(OSError):
        connection.sendall(text)
    return connection


def is_sent_away(connection: socket.socket) -> bool:
    """Whether the worker hangs up, after a greeting at most."""
    said = b""
    with connection:
        try:
            while data := connection.recv(1 << 16):
                said += data
        except ConnectionError:
            pass
    return len(said) <= 1024


def test_strangers_at_the_door_are_sent_away_and_change_nothing(squall: Squall) -> None:
    """Random bytes, HTTP, TLS, a line, nothing at all, much: each is cut off soon, and the run goes on."""
    chance = random.Random(5)
    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    texts = [chance.randbytes(chance.randrange(1, 3000)) for _ in range(20)]
    texts += [b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n", tls_hello(), b"hello\n", b"", bytes(1 << 20)]
    paths = [socket_of(squall, worker) for worker in (1, 2)]
    wait_until(lambda: count(squall), what="numbers")
    connections = [knock(path, text) for path in paths for text in texts]
    assert all(map(is_sent_away, connections))
    copied(squall, run)
    counted = refused(run)
    assert counted["garbage"] >= (len(texts) - 1) * len(paths), counted


IDLE = 10_000


def test_ten_thousand_idle_connections_hold_up_no_tuple(squall: Squall) -> None:
    """As many as this process may have; the worker keeps few of them, and soon none."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    most = min(IDLE, before[1] - 1000)
    run = squall.run(with_keep(squall, COPYING_UNTIL), "-w", 2)
    process, path = pid(run, 2), socket_of(squall, 2)
    wait_until(lambda: count(squall), what="numbers")
    size_kib = resident_kib(process)
    idle: list[socket.socket] = []
    try:
        while len(idle) < most:
            idle.append(knock(path, b""))
            if len(idle) % 1000 == 0:
                seen = len(count(squall))
                wait_until(lambda seen=seen: len(count(squall)) > seen, WITHIN_S, "more numbers")
        descriptors = len(os.listdir(f"/proc/{process}/fd"))
        assert descriptors < 300, f"{descriptors} in the worker"
        assert resident_kib(process) < size_kib + 64 * 1024
        wait_until(lambda: refused(run).total() >= most, what="that each was sent away")
        (squall.folder / "end").touch()
        ended(squall, run)
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_worker_without_descriptors_waits_quietly_for_some(squall: Squall) -> None:
    """It can take no call of a new life of another worker: it does not spin meanwhile, and all comes in the end."""
    run = squall.run(with_keep(squall, COPYING_UNTIL), "-w", 2)
    process = pid(run, 2)
    wait_until(lambda: count(squall), what="numbers")
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    resource.prlimit(process, resource.RLIMIT_NOFILE, (3, before[1]))
    kill(run, 1)
    wait_until(lambda: refused(run)["no_descriptors"] > 0, what="that there are none")
    used_s, began_s = cpu_s(process), time.monotonic()
    wait_until(lambda: time.monotonic() > began_s + 1.0, what="a second")
    used_s = cpu_s(process) - used_s
    assert used_s < 0.3, f"{used_s} s of CPU in a second"
    seen = len(count(squall))
    resource.prlimit(process, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: len(count(squall)) > seen, what="more numbers")
    (squall.folder / "end").touch()
    ended(squall, run, deaths=1)


WAITING = """
    def numbers():
        yield from range(100)
        while not (FOLDER / "go").exists():
            yield None

    topology = Topology("waiting")
    topology.bolt("keep", Keep).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
"""


def test_what_links_have_counted_is_told(squall: Squall) -> None:
    run = squall.run(with_keep(squall, WAITING), "-w", 2)
    wait_until(lambda: len(count(squall)) == 100, what="numbers")
    assert "LINKS" not in squall.done("ps").out
    assert is_sent_away(knock(socket_of(squall, 2), b"hello\n"))

    def told() -> bool:
        reports = [report for report in run.events("progress") if "2" in report["links"]]
        return bool(reports) and reports[-1]["links"]["2"]["refused"].get("garbage") == 1

    wait_until(told, what="that something was refused")
    assert squall.done("ps").out.splitlines()[1].endswith("refused: garbage 1")
    (listed,) = map(json.loads, squall.done("ps", "--json").out.splitlines())
    assert (listed["links_down"], listed["links_refused"]) == ([], {"garbage": 1})
    assert "refused: garbage 1" in squall.done("top", "--once").out
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    links = run.summary()["links"]
    there, back = links["1"]["peers"]["2"], links["2"]["peers"]["1"]
    assert there["frames_sent"] == back["frames_received"] > 0
    assert back["frames_sent"] == there["frames_received"] > 0
    assert (there["unreceipted_frames"], there["waiting"], there["under_way"]) == (0, 0, 0)


# -- connections that break --------------------------------------------------------------------------------------------

SHAKEN = 2000
"""More bytes than a hand-shake has."""
BYTE_EVERY_S = 1.0


def test_a_link_that_is_cut_again_and_again_goes_on_without_loss(squall: Squall) -> None:
    """Semantics 20. In the midst of frames, in both directions."""
    chance = random.Random(20)

    def cut(number: int, is_caller: bool, before: int, data: bytes) -> bytes | None:
        if number <= 12 and before > SHAKEN and chance.random() < 0.2:
            return None
        return data

    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    proxy = Proxy(socket_of(squall, 2), cut)
    copied(squall, run)
    proxy.close()
    assert proxy.connections > 5


def test_bytes_that_are_corrupted_on_their_way_are_noticed_and_come_again(squall: Squall) -> None:
    """Never a wrong tuple: each frame has a checksum."""
    chance = random.Random(24)

    def corrupt(number: int, is_caller: bool, before: int, data: bytes) -> bytes | None:
        if number > 12 or before < SHAKEN or chance.random() > 0.3:
            return data
        at = chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]

    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    proxy = Proxy(socket_of(squall, 2), corrupt)
    copied(squall, run)
    proxy.close()
    assert proxy.connections > 5
    counted = refused(run)
    assert sum(n for cause, n in counted.items() if cause.startswith("frame_")) >= proxy.connections // 2, counted


def test_a_link_that_gives_a_byte_at_a_time_loses_nothing(squall: Squall) -> None:
    """Frames come together however slowly; the first connection that carries some goes on so until it is given up."""
    slow: list[int] = []

    def bytewise(data: bytes) -> Iterator[bytes]:
        for at in range(len(data)):
            until_s = time.monotonic() + BYTE_EVERY_S
            wait_until(lambda until_s=until_s: time.monotonic() > until_s)
            yield data[at : at + 1]

    def trickle(number: int, is_caller: bool, before: int, data: bytes) -> bytes | Iterable[bytes]:
        if not is_caller or before <= SHAKEN:
            return data
        slow.append(number)
        return bytewise(data) if number == slow[0] else data

    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    proxy = Proxy(socket_of(squall, 2), trickle)
    copied(squall, run, failed=True)
    proxy.close()
    assert proxy.connections > 1
    assert slow, "the first one was slow when it carried frames"


@pytest.mark.parametrize("from_caller", [True, False])
def test_a_link_that_is_half_open_is_given_up_and_found_again(squall: Squall, from_caller: bool) -> None:
    """One end hears nothing more, and no error either."""

    first: list[int] = []  # the connection that came to carry frames

    def swallow(number: int, is_caller: bool, before: int, data: bytes) -> bytes | None:
        if is_caller is not from_caller or before <= SHAKEN:
            return data
        first.append(number)
        return b"" if number == first[0] else data

    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    proxy = Proxy(socket_of(squall, 2), swallow)
    copied(squall, run, failed=True)
    proxy.close()
    assert proxy.connections > 1


def test_a_link_on_which_all_takes_long_is_only_slow(squall: Squall) -> None:
    """Each piece comes 5 ms late."""

    def delay(number: int, is_caller: bool, before: int, data: bytes) -> bytes | None:
        until_s = time.monotonic() + 0.005
        wait_until(lambda: time.monotonic() > until_s)
        return data

    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    proxy = Proxy(socket_of(squall, 2), delay)
    copied(squall, run)
    proxy.close()
    assert proxy.connections <= 2  # a worker calls again if the other had not been told yet whom to expect


def test_a_link_that_cannot_be_had_is_told_of_and_waited_for(squall: Squall) -> None:
    """A socket that is gone from its folder: a warning after 10 s, once, with the cause."""
    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    path = socket_of(squall, 2)
    proxy = Proxy(path, lambda number, is_caller, before, data: data)
    wait_until(lambda: count(squall), what="numbers")
    path.unlink()
    proxy.cut(proxy.connections)
    lines = wait_until(lambda: told(squall, "event=link_missed worker=2"), what="the warning")
    assert "because='nobody answers at the address'" in lines[0]
    path.with_suffix(".behind").rename(path)
    copied(squall, run, failed=True)
    proxy.close()
    assert len(told(squall, "event=link_missed worker=2")) == 1


def test_a_handshake_that_is_replayed_or_cut_off_is_refused(squall: Squall) -> None:
    """All prefixes of what a worker said when it called, and the whole of it, said again by somebody else."""
    said = bytearray()

    def note(number: int, is_caller: bool, before: int, data: bytes) -> bytes | None:
        if number == 1 and is_caller and len(said) < SHAKEN:
            said.extend(data)
        return data

    run = squall.run(with_keep(squall, COPYING), "-w", 2)
    path = socket_of(squall, 2)
    proxy = Proxy(path, note)
    wait_until(lambda: count(squall), what="numbers")
    called = proxy.connections  # once more, if the other worker had not been told yet whom to expect
    ends = [*range(1, min(len(said), 200), 3), len(said)]
    connections = [knock(path.with_suffix(".behind"), bytes(said[:end])) for end in ends]
    assert all(map(is_sent_away, connections))
    copied(squall, run)
    proxy.close()
    assert proxy.connections == called


# -- calls that do not return for long ---------------------------------------------------------------------------------

LONG_CALLS = """
    WHO, CALLS_S = {who}, {calls_s}

    class Numbers(Spout):
        outputs = ("n",)

        def open(self, context):
            self.numbers = iter(range(context.task_index, 40, context.task_count))

        def next_tuple(self):
            if (n := next(self.numbers, None)) is None:
                raise Exhausted
            self.emit(n, id=n)

    class Slow(Bolt):
        def open(self, context):
            self.index, self.calls_s = context.task_index, iter(CALLS_S)

        def process(self, n: int):
            if self.index == WHO:
                time.sleep(next(self.calls_s, 0))
            keep(n, self.index)

    topology = Topology("long-calls")
    numbers = topology.spout("numbers", Numbers, parallelism=2)
    topology.bolt("slow", Slow, parallelism=2).all(numbers)
"""


@pytest.mark.parametrize(("who", "calls_s"), [(0, (10,)), (1, (10,)), (0, (6, 6, 6)), (1, (6, 6, 6))])
def test_calls_that_take_long_fail_nothing(squall: Squall, who: int, calls_s: tuple[int, ...]) -> None:
    """Semantics 7, 16. Nobody hears of a worker meanwhile, and the one with the lower number calls nobody either."""
    run = squall.run(with_keep(squall, LONG_CALLS.format(who=who, calls_s=calls_s)), "-w", 2)
    assert run.end(within_s=60) == 0, run.err
    seen = Counter(tuple(values) for values in kept(squall))
    assert seen == Counter((n, index) for n in range(40) for index in range(2))
    summary = run.summary()
    assert (summary["acked"], summary["failed"], lost(run)) == (40, 0, [])


# -- what is opened while a link is gone -------------------------------------------------------------------------------

MEANWHILE = """
    import sys

    class Numbers(Spout):
        outputs = ("n",)
        blocking = True

        def open(self, context):
            self.numbers = iter(range(3))

        def next_tuple(self):
            if (n := next(self.numbers, None)) is None:
                raise Exhausted
            while n == 1 and not (FOLDER / "go").exists():
                time.sleep(0.01)
            self.emit(n)

    class Between(Bolt):
        def process(self, n: int):
            return n

    class Last(Bolt):
        def process(self, n: int):
            keep(n)
            if n == 0:  # nothing else runs in this worker
                sys.setswitchinterval(1000)
                (FOLDER / "spins").touch()
                until_s = time.monotonic() + 4
                while time.monotonic() < until_s:
                    pass

    topology = Topology("meanwhile")
    numbers = topology.spout("numbers", Numbers, outputs=("n",))
    between = topology.bolt("between", Between, outputs=("n",)).shuffle(numbers)
    topology.bolt("last", Last).shuffle(between)
"""


def test_a_root_that_was_opened_while_a_link_was_gone_ends(squall: Squall) -> None:
    """Semantics 19. It comes, by way of a third worker, to one that does not know yet that the link was given up, and
    that drops its ack with the link when it hears of it."""
    first: list[int] = []  # the connection of the spout's worker

    def refuse(number: int, is_caller: bool, before: int, data: bytes) -> bytes | None:
        is_first = is_caller and before == 0 and data[5:9] == (1).to_bytes(4, "little")
        if is_first:
            first.append(number)
        return None if is_first and (squall.folder / "spins").exists() and not is_given_up() else data

    def is_given_up() -> bool:
        return bool(told(squall, "event=link_lost"))

    run = squall.run(with_keep(squall, MEANWHILE), "-w", 3)
    proxy = Proxy(socket_of(squall, 3), refuse)
    wait_until(lambda: (squall.folder / "spins").exists(), what="the first number")
    proxy.cut(first[-1])
    wait_until(is_given_up, what="the end of the link")
    until_s = time.monotonic() + 0.5
    wait_until(lambda: time.monotonic() > until_s, what="the spout's worker to have heard of it")
    (squall.folder / "go").touch()
    assert run.end() == 0, run.err
    proxy.close()
    assert set(count(squall)) == {0, 1, 2}
    assert (run.summary()["acked"], run.summary()["dead"], lost(run)) == (3, 0, [])
