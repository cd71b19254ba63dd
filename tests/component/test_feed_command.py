"""`squall feed` as its users run it."""

from __future__ import annotations

import gzip
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Running, Squall, wait_until
from .receiver import Receiver, at_random


@pytest.fixture
def numbers(squall: Squall) -> Path:
    """A file of a thousand lines; the last one has no end."""
    path = squall.folder / "numbers"
    path.write_bytes(b"\n".join(b"%d" % n for n in range(1000)))
    return path


def expected(*ranges: range) -> list[bytes]:
    return [b"%d" % n for numbers in ranges for n in numbers]


def summary(run: Running) -> Any:
    last = run.events()[-1]
    assert last["event"] == "summary"
    return last


def test_the_lines_of_files_arrive_in_order(squall: Squall, numbers: Path) -> None:
    """Gzip files are unpacked; what is over the end of a file does not go on in the next."""
    packed = squall.folder / "packed.gz"
    packed.write_bytes(gzip.compress(b"a\nb\r\n\nc"))
    with Receiver() as receiver:
        run = squall.done("feed", receiver.address, numbers, packed, "--repeat", 2)
        assert run.process.returncode == 0, run.err
        assert receiver.records == [*expected(range(1000)), b"a", b"b\r", b"", b"c"] * 2
        assert re.search(r"^2,008 records receipted by 127\.0\.0\.1:\d+ in ", run.out, re.MULTILINE)
        assert run.err == ""


@pytest.mark.parametrize(
    ("framing", "data", "wire"),
    [
        ("fixed:3", b"abcdef", b"abcdef"),
        ("delimiter:00", b"a\n\0b", b"a\n\0b\0"),
        ("length:2:little", b"\1\0a\0\0", b"\1\0a\0\0"),
    ],
)
def test_framings_are_those_of_the_file(squall: Squall, framing: str, data: bytes, wire: bytes) -> None:
    (squall.folder / "data").write_bytes(data)
    with Receiver(cut=lambda data: ([data], b""), receipts=False) as receiver:
        run = squall.done("feed", receiver.address, "data", "--framing", framing, "--no-receipts")
        assert run.process.returncode == 0, run.err
        assert b"".join(receiver.records) == wire
        assert "records handed to the system for 127.0.0.1" in run.out


def test_standard_input_over_a_unix_socket(squall: Squall) -> None:
    with Receiver(path=squall.folder / "sock") as receiver:
        command = [sys.executable, "-m", "squall.cli", "feed", receiver.address, "-", "--quiet"]
        done = subprocess.run(command, input=b"one\ntwo\n", capture_output=True, timeout=30)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert receiver.records == [b"one", b"two"]


def test_breaks_are_told_and_lose_nothing(squall: Squall, numbers: Path) -> None:
    with Receiver(breaks_after=at_random(5, 900)) as receiver:
        run = squall.done("feed", receiver.address, numbers, "--json")
        assert run.process.returncode == 0, run.err
        told = summary(run)
        assert (told["sent"], told["receipted"], told["breaks"], told["done"]) == (1000, 1000, 4, True)
        assert len(receiver.records) - 1000 <= told["resent"]
        assert set(receiver.records) == set(expected(range(1000)))


def test_several_connections_share_the_records(squall: Squall) -> None:
    """What is receipted is still counted from the first record on."""
    path = squall.folder / "many"
    path.write_bytes(b"\n".join(expected(range(300_000))))
    with Receiver() as receiver:
        run = squall.done("feed", receiver.address, path, "--connections", 4, "--json")
        assert summary(run)["receipted"] == 300_000
        assert receiver.connections > 1
        assert sorted(receiver.records) == sorted(expected(range(300_000)))


def test_a_rate_and_an_interrupt_that_tells_how_to_go_on(squall: Squall, numbers: Path) -> None:
    """Both halves together are the file, each record once."""
    with Receiver() as receiver:
        run = squall.start("feed", receiver.address, numbers, "--rate", 400, "--json")
        wait_until(lambda: len(receiver.records) > 100, what="the first records")
        assert len(receiver.records) < 1000
        run.interrupt()
        assert run.end() == 130
        (command,) = re.findall(r"^  squall (feed .* --skip \d+)$", run.err, re.MULTILINE)
        assert summary(run)["done"] is False
        assert f"--skip {summary(run)['next_skip']}" in command
        assert squall.done(*shlex.split(command.replace("--rate 400", ""))).process.returncode == 0
        assert set(receiver.records) == set(expected(range(1000)))
        assert len(receiver.records) <= 1000 + summary(run)["sent"] - summary(run)["receipted"]


def test_skip_goes_on_over_the_ends_of_files(squall: Squall, numbers: Path) -> None:
    with Receiver() as receiver:
        run = squall.done("feed", receiver.address, numbers, "--repeat", 3, "--skip", 1500, "--json")
        assert receiver.records == expected(range(500, 1000), range(1000))
        told = summary(run)
        assert (told["sent"], told["skipped"], told["next_skip"]) == (1500, 1500, 3000)


def test_an_endless_feed_goes_on_until_it_is_interrupted(squall: Squall, numbers: Path) -> None:
    with Receiver() as receiver:
        run = squall.start("feed", receiver.address, numbers, "--repeat", 0, "--quiet")
        wait_until(lambda: len(receiver.records) > 5000, what="the fifth round")
        run.interrupt()
        assert run.end() == 130
        assert run.out == ""


def test_a_receiver_that_cannot_be_reached_is_exit_code_1(squall: Squall, numbers: Path) -> None:
    with Receiver() as receiver:
        receiver.stop()
        run = squall.done("feed", receiver.address, numbers, "--give-up-after", "300ms")
        assert run.process.returncode == 1
        assert "tcp_unreachable" in run.err
        assert "Connection refused" in run.err
        receiver.start()


def test_a_file_for_tls_that_is_not_there_is_exit_code_1(squall: Squall, numbers: Path) -> None:
    run = squall.done("feed", "127.0.0.1:1", numbers, "--ca", "gone.pem")
    assert run.process.returncode == 1
    assert "gone.pem: No such file or directory" in run.err.replace("[Errno 2] ", "")
    assert "tls_unusable" in run.err


def test_a_receiver_without_receipts_is_exit_code_1(squall: Squall, numbers: Path) -> None:
    with Receiver(receipts=False) as receiver:
        run = squall.done("feed", receiver.address, numbers)
        assert run.process.returncode == 1
        assert "tcp_no_receipts" in run.err
        assert squall.done("feed", receiver.address, numbers, "--no-receipts").process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere:1", "gone"], "feed_input"),
        (["nowhere", "numbers"], "tcp_address"),
        (["nowhere:1", "numbers", "--framing", "csv"], "feed_framing"),
        (["nowhere:1", "numbers", "--give-up-after", "soon"], "duration_invalid"),
        (["nowhere:1", "-", "numbers"], "feed_input"),
        (["nowhere:1", "-", "--repeat", "2"], "feed_input"),
        (["nowhere:1", "numbers", "--connections", "0"], "usage_invalid"),
        (["nowhere:1"], "usage_invalid"),
    ],
)
def test_wrong_use_is_exit_code_2(squall: Squall, numbers: Path, arguments: list[str], code: str) -> None:
    run = squall.done("feed", *arguments)
    assert run.process.returncode == 2
    assert code in run.err


def test_a_file_that_is_cut_off_is_told_with_what_was_sent(squall: Squall) -> None:
    """Exit code 1, and a command for the time when the file is whole."""
    packed = gzip.compress(os.urandom(1 << 20).replace(b"\n", b".").hex().encode() + b"\n" * 10)
    (squall.folder / "cut.gz").write_bytes(packed[: len(packed) // 2])
    (squall.folder / "half").write_bytes(b"x" * 250)
    with Receiver() as receiver:
        run = squall.done("feed", receiver.address, "cut.gz")
        assert run.process.returncode == 1
        assert "feed_unreadable" in run.err
    with Receiver(cut=lambda data: ([data], b"")) as receiver:
        run = squall.done("feed", receiver.address, "half", "--framing", "fixed:100")
        assert run.process.returncode == 1
        assert "it ends 50 bytes into a record" in run.err


def test_a_pipe_gets_a_line_every_few_seconds(squall: Squall, numbers: Path) -> None:
    with Receiver() as receiver:
        receiver.reads.clear()
        run = squall.start("feed", receiver.address, numbers)
        wait_until(lambda: re.search(r"s  sent 1,000  receipted 0  0/s  3\.9 kB of 3\.9 kB", run.out), what="a line")
        receiver.reads.set()
        assert run.end() == 0


def test_a_terminal_gets_a_bar(squall: Squall, numbers: Path) -> None:
    """It shows why there is no connection, then how far it is; nothing of it is left in the end but the summary."""
    main, other = pty.openpty()
    with Receiver() as receiver:
        receiver.stop()
        run = squall.start("feed", receiver.address, numbers, "--rate", 1000, stdout=other)
        os.close(other)
        screen = _read_until(main, "not connected: Connection refused; trying again")
        receiver.start()
        screen += _read_until(main, "receipted")
        screen += _read_until(main, "1,000 records receipted by")
        assert run.end() == 0
        assert "%" in screen


def _read_until(fd: int, text: str) -> str:
    screen = ""
    while text not in screen:
        screen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(fd, 65536).decode())
    return screen


def test_a_feeder_that_was_killed_goes_on_from_its_last_report(squall: Squall, numbers: Path) -> None:
    """`kill -9` leaves the progress lines: with `--skip` nothing is lost, and only what was on its way comes twice."""
    with Receiver() as receiver:
        run = squall.start("feed", receiver.address, numbers, "--rate", 300, "--json")
        run.event("progress")
        run.process.send_signal(signal.SIGKILL)
        run.end()
        skip = run.events("progress")[-1]["next_skip"]
        assert 0 < skip < 1000
        assert squall.done("feed", receiver.address, numbers, "--skip", skip).process.returncode == 0
        assert set(receiver.records) == set(expected(range(1000)))
