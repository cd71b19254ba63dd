"""Durable intake (semantics 33) as its users run it: what was receipted as stored comes, whatever is killed.

`make feed-kill` sends a million lines and kills more often.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest
from squall.connectors.tcp import TcpFeeder

from .conftest import Running, Squall, free_port, is_alive, wait_until
from .over_workers import kill as kill_worker

LINES = int(os.environ.get("SQUALL_FEED_KILL_LINES", "100000"))
KILLS = 5 if LINES <= 100_000 else 20
WITHIN_S = 60 + LINES / 5000

KEEP = """
    import os
    from squall import Bolt, Topology
    from squall.connectors.tcp import Json, TcpSpout

    class Keep(Bolt):
        def open(self, context):
            self.fd = os.open(f"kept-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def process_batch(self, line: list):
            os.write(self.fd, "".join(f"{text}\\n" for text in line).encode())

    def make(port: int, receipts: str = "stored", journal: str = "journal", tasks: int = 1) -> Topology:
        topology = Topology("kept", settings={"topology.retries": 0})
        spout = TcpSpout.listen(f"127.0.0.1:{port}", receipts=receipts, journal=journal)
        topology.bolt("keep", Keep).shuffle(topology.spout("lines", spout, parallelism=tasks))
        return topology
"""
HOLD = """
    from squall import Bolt, Topology
    from squall.connectors.tcp import TcpSpout

    class Hold(Bolt):
        manual_ack = True
        hold_max = 3600

        def process(self, line: str):
            with open("held", "a") as file:
                print(line, file=file)

    def make(port: int, receipts: str = "stored", journal: str = "journal", journal_max: int = 1 << 30) -> Topology:
        topology = Topology("kept")
        spout = TcpSpout.listen(f"127.0.0.1:{port}", receipts=receipts, journal=journal, journal_max=journal_max)
        topology.bolt("hold", Hold).shuffle(topology.spout("lines", spout))
        return topology
"""


def kept(squall: Squall) -> list[str]:
    """The lines that bolts have written, oldest file first; one that a kill has cut is none."""
    files = sorted(squall.folder.glob("kept-*"), key=lambda file: file.stat().st_mtime)
    return [line.rstrip("\n") for file in files for line in file.open() if line.endswith("\n")]


def held(squall: Squall) -> list[str]:
    path = squall.folder / "held"
    return path.read_text().splitlines() if path.exists() else []


def segments(squall: Squall) -> list[Path]:
    return sorted((squall.folder / "journal").glob("*/*.journal"))


def workers(run: Running) -> list[int]:
    """The processes of the workers, as far as they are told; the newest last."""
    run.event("started")
    started = [event["pid"] for event in run.events("worker") if event["state"] == "started"]
    return [run.worker_pid(), *started]


def send_for_ever(client: socket.socket) -> None:
    while True:
        client.sendall(b"x" * 9999 + b"\n")


def fill(path: Path) -> None:
    """Leaves no room on the disk of a file."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def troubles(run: Running) -> dict[str, Any]:
    """What the spout has reported as errors."""
    return (run.events("progress") or [{}])[-1].get("errors", {}).get("lines", {})


def kill(run: Running) -> None:
    """Kills the run with all of it."""
    pids = workers(run)
    run.process.kill()
    run.end()
    wait_until(lambda: not any(map(is_alive, pids)), what="the end of the workers")


def send(port: int, *lines: str) -> int:
    """How many of the lines were receipted, which is all."""
    with TcpFeeder(f"127.0.0.1:{port}") as feeder:
        feeder.send_many(lines)
        feeder.flush(timeout=30)
        return feeder.receipted


@pytest.mark.parametrize(
    ("receipts", "number_of_workers", "tasks"),
    [("stored", 1, 1), ("processed", 1, 1), ("stored", 2, 1), ("stored", 2, 2), ("processed", 2, 2)],
)
def test_workers_that_are_killed_lose_no_line(
    squall: Squall, receipts: str, number_of_workers: int, tasks: int
) -> None:
    port, chance = free_port(), Random(33)
    spread = "-p", f"tasks={tasks}", "-w", number_of_workers
    run = squall.run(KEEP, "-p", f"port={port}", "-p", f"receipts={receipts}", *spread)
    run.event("started")
    lines = [f"{number:09}" for number in range(LINES)]
    receipted: list[int] = []

    def feed() -> None:
        with TcpFeeder(f"127.0.0.1:{port}") as feeder:
            for line in lines:
                feeder.send(line)
            feeder.flush(timeout=WITHIN_S)
            receipted.append(feeder.receipted)

    sender = Thread(target=feed, daemon=True)
    sender.start()
    size = lambda: sum(file.stat().st_size for file in squall.folder.glob("kept-*")) // 10  # noqa: E731
    for number in range(1, KILLS + 1):
        enough = (number - chance.random()) / (KILLS + 1) * LINES
        wait_until(lambda enough=enough: size() > enough, WITHIN_S, f"{enough:.0f} lines")
        kill_worker(run, chance.randint(1, number_of_workers))
    sender.join(WITHIN_S)
    assert receipted == [LINES], run.err
    run.interrupt()
    assert run.end() == 0, run.err
    came = kept(squall)
    assert set(came) == set(lines)
    assert segments(squall) == [], "all has ended"
    print(f"{LINES} lines, {KILLS} kills: none lost, {len(came) - LINES} came twice", end=" ")


def test_what_had_not_ended_comes_first_in_the_next_run_and_in_its_order(squall: Squall) -> None:
    port = free_port()
    old, new = [f"old {number}" for number in range(3000)], [f"new {number}" for number in range(1000)]
    run = squall.run(HOLD, "-p", f"port={port}")
    run.event("started")
    assert send(port, *old) == len(old)
    kill(run)
    run = squall.run(KEEP, "-p", f"port={port}")
    run.event("started")
    assert send(port, *new) == len(new)
    run.interrupt()
    assert run.end() == 0, run.err
    assert kept(squall) == old + new
    summary = run.summary()
    assert summary["components"]["lines"]["metrics"]["replayed"] == len(old)
    again = squall.run(KEEP, "-p", f"port={port}")
    again.event("started")
    again.interrupt()
    assert again.end() == 0
    assert again.summary()["emitted"] == 0


def test_a_drain_that_does_not_finish_leaves_the_rest_for_the_next_run(squall: Squall) -> None:
    port = free_port()
    run = squall.run(HOLD, "-p", f"port={port}", "--drain", "1")
    run.event("started")
    send(port, "a", "b")
    run.interrupt()
    assert run.end() == 1
    run = squall.run(KEEP, "-p", f"port={port}")
    wait_until(lambda: kept(squall) == ["a", "b"], what="what was left")
    run.interrupt()
    assert run.end() == 0


def test_a_torn_tail_is_cut_and_damage_in_the_middle_ends_the_run(squall: Squall) -> None:
    port = free_port()
    run = squall.run(HOLD, "-p", f"port={port}")
    run.event("started")
    for number in range(3):
        send(port, f"line {number}")
    kill(run)
    [segment] = segments(squall)
    sound = segment.read_bytes()

    at = sound.index(b"line 1")
    segment.write_bytes(sound.replace(b"line 1", b"lime 1"))
    refused = squall.run(KEEP, "-p", f"port={port}")
    assert refused.end() == 1
    assert "code: journal_corrupt" in refused.err
    assert str(segment) in refused.err
    assert 0 <= at - int(refused.err.partition("byte: ")[2].split()[0]) < 64
    assert segment.read_bytes() != sound, "nothing is mended"

    segment.write_bytes(sound + sound[28:40])
    run = squall.run(KEEP, "-p", f"port={port}")
    wait_until(lambda: kept(squall) == ["line 0", "line 1", "line 2"], what="the records")
    run.interrupt()
    assert run.end() == 0, run.err


def test_two_runs_cannot_have_one_journal(squall: Squall) -> None:
    ports = free_port(), free_port()
    run = squall.run(HOLD, "-p", f"port={ports[0]}")
    run.event("started")
    wait_until(lambda: (squall.folder / "journal/0/lock").exists(), what="the journal")
    other = squall.start("run", squall.file(HOLD.replace('"kept"', '"other"'), "other.py"), "-p", f"port={ports[1]}")
    assert other.end() == 1
    assert "code: journal_in_use" in other.err
    assert f"process {workers(run)[-1]}" in other.err
    assert send(ports[0], "a") == 1
    kill(run)


def test_a_journal_that_cannot_be_made_ends_the_run(squall: Squall) -> None:
    (squall.folder / "journal").write_text("mine")
    run = squall.run(KEEP, "-p", f"port={free_port()}")
    assert run.end() == 1
    assert "code: journal_unusable" in run.err


def test_fewer_tasks_than_have_left_records_are_refused(squall: Squall) -> None:
    port = free_port()
    run = squall.run(HOLD, "-p", f"port={port}")
    run.event("started")
    send(port, "a")
    kill(run)
    (squall.folder / "journal/0").rename(squall.folder / "journal/2")
    run = squall.run(KEEP, "-p", f"port={port}")
    assert run.end() == 1
    assert "code: journal_tasks" in run.err


def test_a_full_journal_makes_senders_wait_and_says_so_once(squall: Squall) -> None:
    port = free_port()
    run = squall.run(HOLD, "-p", f"port={port}", "-p", f"journal_max={1 << 20}")
    run.event("started")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(2)
        with pytest.raises(TimeoutError):
            send_for_ever(client)
        wait_until(lambda: troubles(run), what="the report")
    assert "it holds" in troubles(run)["last"]
    assert troubles(run)["count"] == 1
    kill(run)


@pytest.fixture
def small_disk(squall: Squall) -> Path:
    """A file system of 4 MiB."""
    folder = squall.folder / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "journal", str(folder)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    return folder


@pytest.mark.parametrize("number_of_workers", [1, 2])
def test_a_full_disk_that_is_freed_loses_nothing(squall: Squall, small_disk: Path, number_of_workers: int) -> None:
    port, journal, filler = free_port(), small_disk / "journal", small_disk / "filler"
    try:
        run = squall.run(KEEP, "-p", f"port={port}", "-p", f"journal={journal}", "-w", number_of_workers)
        run.event("started")
        assert send(port, "before") == 1
        with pytest.raises(OSError, match="No space"):
            fill(filler)
        lines = [f"{number:06}" + "x" * 90 for number in range(20_000)]
        sent: list[int] = []
        sender = Thread(target=lambda: sent.append(send(port, *lines)), daemon=True)
        sender.start()
        wait_until(lambda: troubles(run), what="the report")
        assert not sent
        filler.unlink()
        sender.join(30)
        assert sent == [len(lines)]
        run.interrupt()
        assert run.end() == 0, run.err
        assert kept(squall) == ["before", *lines]
        assert troubles(run)["count"] == 1
        assert "no space left" in troubles(run)["last"].lower()
    finally:
        subprocess.run(["umount", "-l", str(small_disk)], check=False)


FAILING_DISK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>

/* Syncing fails while the file is there that FAILING names. */
int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (access(FAILING, F_OK) == 0) { errno = EIO; return -1; }
    return real(fd);
}
"""


def test_a_disk_that_fails_for_a_while_loses_nothing(squall: Squall, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be synced counts as not written, is receipted only when it was, and survives a kill then."""
    library, failing = squall.folder / "failing.so", squall.folder / "failing"
    source = squall.folder / "failing.c"
    source.write_text(FAILING_DISK)
    subprocess.run(["cc", "-shared", "-fPIC", f'-DFAILING="{failing}"', "-o", library, source, "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    port = free_port()
    run = squall.run(HOLD, "-p", f"port={port}", "-w", 2)
    run.event("started")
    assert send(port, "before") == 1
    failing.touch()
    lines = [f"{number:06}" for number in range(10_000)]
    sent: list[int] = []
    sender = Thread(target=lambda: sent.append(send(port, *lines)), daemon=True)
    sender.start()
    wait_until(lambda: troubles(run), what="the report")
    assert "Input/output error" in troubles(run)["last"]
    assert troubles(run)["count"] == 1
    assert not sent
    failing.unlink()
    sender.join(30)
    assert sent == [len(lines)]
    kill(run)
    run = squall.run(KEEP, "-p", f"port={port}", "-w", 2)
    wait_until(lambda: kept(squall) == ["before", *lines], what="all lines")
    run.interrupt()
    assert run.end() == 0, run.err


@pytest.mark.parametrize("number_of_workers", [1, 2])
def test_a_record_whose_decoder_kills_its_worker_ends_as_a_dead_letter(squall: Squall, number_of_workers: int) -> None:
    """Semantics 9: though no tuple was made of it yet."""
    port = free_port()
    text = KEEP.replace("receipts=receipts,", 'receipts=receipts, decoder=decode, outputs=("line",),').replace(
        "    class Keep(Bolt):",
        "    def decode(record):\n"
        "        if record == b'bad': os.kill(os.getpid(), 9)\n"
        "        return record.decode()\n\n"
        "    class Keep(Bolt):",
    )
    run = squall.run(text, "-p", f"port={port}", "-w", number_of_workers)
    run.event("started")
    lines = [f"line {number}" for number in range(200)]
    assert send(port, *lines[:100], "bad", *lines[100:]) == 201
    wait_until(lambda: set(kept(squall)) == set(lines), what="all other lines")
    run.interrupt()
    assert run.end() == 0, run.err
    # A sender whose receipt went with the first death has sent it again, as another record with deaths of its own.
    dead = run.summary()["dead"]
    assert dead >= 1
    assert len(run.lost()) == 3 * dead
    assert "bad" in squall.done("dead", "list", "kept").out
    assert segments(squall) == []


@pytest.mark.parametrize("number_of_workers", [1, 2])
def test_a_record_that_kills_its_worker_ends_as_a_dead_letter(squall: Squall, number_of_workers: int) -> None:
    """Semantics 9: it comes again from the journal in each life, and is known by its number there."""
    port = free_port()
    text = KEEP.replace(
        "    def process_batch(self, line: list):\n            os.write",
        "    def process_batch(self, line: list):\n"
        "            if 'bad' in line: os.kill(os.getpid(), 9)\n"
        "            os.write",
    )
    assert text != KEEP
    run = squall.run(text, "-p", f"port={port}", "-w", number_of_workers)
    run.event("started")
    lines = [f"line {number}" for number in range(200)]
    assert send(port, *lines[:100], "bad", *lines[100:]) == 201
    wait_until(lambda: set(kept(squall)) == set(lines), what="all other lines")
    run.interrupt()
    assert run.end() == 0, run.err
    assert run.summary()["dead"] == 1
    assert "bad" in squall.done("dead", "list", "kept").out
    assert segments(squall) == []
