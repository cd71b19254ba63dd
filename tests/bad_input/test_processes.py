"""What only a real process can show: bytes of its arguments, odd files, code that hangs or exits, Ctrl-C, no output."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .law import CommandLine, Refusal, lawful
from .values import LONG
from .wires import until

WITHIN_S = 60.0
RUNS_ALONE = [sys.executable, "-m", "squall.cli"]


class Processes:
    """Starts `squall` in a folder of the test, and ends what is left of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str | bytes, **options: object) -> subprocess.Popen[bytes]:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            [*RUNS_ALONE, *arguments],
            cwd=self.folder,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )
        self._started.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> Refusal:
        out, err = process.communicate(timeout=WITHIN_S)
        return Refusal(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def refuses(self, *arguments: str | bytes) -> Refusal:
        """What a command says that must be refused; nothing of a run is left."""
        refusal = self.end(self.start(*arguments))
        assert refusal.status in (1, 2), refusal
        lawful(refusal)
        self.nothing_left()
        return refusal

    def nothing_left(self) -> None:
        runs = self.folder / "state" / "runs"
        assert not runs.exists() or not list(runs.iterdir())
        assert not list(self.folder.glob("*.sock"))

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.close()


ARGUMENTS: dict[str, list[str | bytes]] = {
    "no utf-8 as a file": ["check", b"\xff\xfe.py"],
    "no utf-8 as a code": ["explain", b"\xff\xfe"],
    "no utf-8 as a topology": ["dead", "list", b"\xed\xa0\x80"],
    "no utf-8 as a command": [b"\x80"],
    "no utf-8 as a setting": ["check", "good.py", "-c", b"topology.retries=\xff"],
    "no utf-8 as a parameter": ["check", "good.py", "-p", b"region\xff=eu"],
    "no utf-8 as an expression": ["tap", "last", "--where", b"n == '\xff'"],
    "no utf-8 as a project": ["new", b"a\xff"],
    "long file": ["run", "x" * LONG],
    "long setting": ["run", "good.py", "-c", "x" * LONG + "=1"],
    "many settings": ["run", "good.py", *["-c", "topology.retries=many"] * 1000],
    "many long arguments": ["dead", "show", "good", *["9" * 1000] * 1000],
    "escapes": ["explain", "\x1b]0;title\x07\x1b[2J"],
    "lines": ["explain", "a\n  code: forged_code\nb"],
}


BY_THE_SYSTEM = ("no utf-8 as a file", "no utf-8 as a command", "many long arguments")
"""Arguments that a process is given as it starts; the others are given as it would decode them."""


@pytest.mark.parametrize("name", ARGUMENTS)
def test_argument_of_any_bytes_is_refused_in_one_reason(
    processes: Processes, command_line: CommandLine, name: str
) -> None:
    if name in BY_THE_SYSTEM:
        processes.refuses(*ARGUMENTS[name])
    else:
        command_line.refuses(*map(os.fsdecode, ARGUMENTS[name]))


# -- topology files -------------------------------------------------------------------------------------------------

HEAD = "import os, sys, threading\nfrom squall import Bolt, Spout, Topology\n"
TAIL = """
topology = Topology("odd")
numbers = topology.spout("numbers", lambda: iter([1]), outputs=("n",))
topology.bolt("odd", Odd).shuffle(numbers)
"""
SOURCES: dict[str, tuple[str, set[str]]] = {
    "nothing": ("", {"topology_missing"}),
    "raises": ("raise ValueError('a\\x1b[31m\\nb')", {"file_raises"}),
    "raises without a text": (
        "class E(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise E",
        {"file_raises"},
    ),
    "raises what is no exception": ("class E(BaseException): ...\nraise E('odd')", {"file_raises"}),
    "cancelled": ("import asyncio\nraise asyncio.CancelledError", {"file_raises"}),
    "exits": ("import sys\nsys.exit(0)", {"file_raises"}),
    "really exits": ("import os\nos._exit(0)", {"file_raises"}),
    "recursion": ("def f(): f()\nf()", {"file_raises"}),
    "deep source": ("(" * 5000 + ")" * 5000, {"file_syntax", "file_raises"}),
    "long source": ("x = " + "-" * 100_000 + "1", {"file_syntax", "file_raises"}),
    "syntax": ("def", {"file_syntax"}),
    "no text": ("x = 1\0", {"file_syntax", "file_raises"}),
    "missing module": ("import no_such_module_at_all", {"module_missing"}),
    "closes its output": (HEAD + "os.close(1)\nsys.stdout.close()\nraise ValueError", {"file_raises"}),
    "cannot be copied": (
        HEAD + "class Odd(Bolt):\n    def __init__(self): self.lock = threading.Lock()\n"
        "    def process(self, n): ...\nOdd = Odd()" + TAIL,
        {"component_copy"},
    ),
    "proxy that raises": (
        HEAD
        + "class Proxy:\n    @property\n    def __class__(self): raise RuntimeError('no context')\nproxy = Proxy()",
        {"topology_missing"},
    ),
    "function that returns nothing": (HEAD + "def make() -> Topology: ...", {"topology_missing"}),
    "parameter of no type": (
        HEAD + "def make(x: threading.Lock) -> Topology: ...",
        {"parameter_missing", "parameter_invalid"},
    ),
}


ENDS_PROCESSES = ("exits", "really exits", "closes its output", "recursion", "deep source", "long source")
"""Code that harms the process that runs it, or could."""


@pytest.mark.parametrize("name", SOURCES)
def test_file_of_any_code_is_refused_in_one_reason(processes: Processes, command_line: CommandLine, name: str) -> None:
    source, codes = SOURCES[name]
    (processes.folder / "odd.py").write_text(source)
    run = processes if name in ENDS_PROCESSES else command_line
    refusal = run.refuses("run", "odd.py", "--summary", "summary.json")
    assert set(refusal.codes) & codes, refusal
    assert not (processes.folder / "summary.json").exists()


@pytest.mark.parametrize("how", ["raise ValueError('no')", "sys.exit(0)", "raise GeneratorExit"])
def test_class_that_cannot_be_made_ends_the_run_that_makes_it(processes: Processes, how: str) -> None:
    """A class is made by the worker, once a task; its reason is told with the traceback of its own code alone."""
    odd = f"class Odd(Bolt):\n    def __init__(self): {how}\n    def process(self, n): ..."
    (processes.folder / "odd.py").write_text(HEAD + odd + TAIL)
    ended = processes.end(processes.start("run", "odd.py"))
    assert ended.status == 1
    assert ended.codes == ["component_make"]
    assert ended.err.count("Traceback") == 1
    processes.nothing_left()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def no_text(path: Path) -> None:
    path.write_bytes(os.urandom(1 << 20))


def unreadable(path: Path) -> None:
    path.write_text("")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("whoever runs this may read everything")


ODD_FILES = {one.__name__: one for one in (fifo, link_to_itself, device, folder, no_text, unreadable)}


@pytest.mark.parametrize("make", ODD_FILES.values(), ids=ODD_FILES)
@pytest.mark.parametrize("command", ["run", "check"])
def test_what_is_no_file_of_code_is_refused_and_not_waited_for(
    command_line: CommandLine, command: str, make: object
) -> None:
    make(command_line.folder / "odd.py")  # type: ignore[operator]
    assert command_line.refuses(command, "odd.py").codes[0].startswith("file_")


@pytest.mark.parametrize("path", ["fifo", "folder", "/dev/full/x", "x" * 300], ids=["fifo", "folder", "below", "long"])
def test_summary_that_cannot_be_written_is_refused_before_the_run(command_line: CommandLine, path: str) -> None:
    os.mkfifo(command_line.folder / "fifo")
    (command_line.folder / "folder").mkdir()
    assert command_line.refuses("run", "good.py", "--summary", path).codes == ["summary_unwritable"]


def test_summary_of_a_run_that_does_not_begin_leaves_the_old_one(processes: Processes) -> None:
    """An address that is taken is found out late."""
    (processes.folder / "old.json").write_text("old")
    (processes.folder / "taken.py").write_text(
        "from squall import Topology\nfrom squall.connectors.tcp import TcpSpout\ntopology = Topology('taken')\n"
        "lines = topology.spout('lines', TcpSpout.listen('192.0.2.1:9'))\n"
        "topology.bolt('last', lambda line: None).shuffle(lines)\n"
    )
    for name in ("old.json", "new.json"):
        assert processes.refuses("run", "taken.py", "--summary", name).codes == ["address_unusable"]
    assert (processes.folder / "old.json").read_text() == "old"
    assert not (processes.folder / "new.json").exists()


# -- interrupts, and nobody who listens -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "check"])
def test_import_that_hangs_is_ended_by_an_interrupt(processes: Processes, command: str) -> None:
    (processes.folder / "odd.py").write_text("import time\nopen('begun', 'w').close()\ntime.sleep(600)\n")
    process = processes.start(command, "odd.py")
    until((processes.folder / "begun").exists, "the import")
    process.send_signal(signal.SIGINT)
    ended = processes.end(process)
    assert ended.status == 130
    assert "Traceback" not in ended.err
    processes.nothing_left()


@pytest.mark.parametrize("arguments", [["check", "odd.py"], ["explain", "no_such"], ["stacks", "nowhere"], ["run"]])
def test_refusal_that_nobody_reads_ends_as_it_would(processes: Processes, arguments: list[str]) -> None:
    """Standard output and standard error are pipes without a reader."""
    read, write = os.pipe()
    os.close(read)
    process = processes.start(*arguments, stdout=write, stderr=write)
    os.close(write)
    assert process.wait(WITHIN_S) == (1 if arguments[0] == "stacks" else 2)


@pytest.mark.parametrize("arguments", [["check", "odd.py"], ["explain", "no_such"], ["run", "odd.py"]])
def test_refusal_without_any_standard_stream_ends_as_it_would(processes: Processes, arguments: list[str]) -> None:
    line = [*RUNS_ALONE, *arguments]
    closed = subprocess.run(
        [shutil.which("sh") or "/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "-", *line], cwd=processes.folder
    )
    assert closed.returncode == 2


def test_run_that_is_interrupted_at_any_time_leaves_nothing(processes: Processes) -> None:
    """While it starts, too."""
    for wait_s in (0.0, 0.1, 0.3, 0.6):
        process = processes.start("run", "good.py", "-p", "limit=1000000000", "--drain", "1s")
        time.sleep(wait_s)  # not for a condition: the moment is what varies
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        ended = processes.end(process)
        assert ended.status in (0, 1, 130, -signal.SIGINT), ended
        processes.nothing_left()


CASES = [
    *(f"argument: {name}" for name in ARGUMENTS),
    *(f"code: {name}" for name in SOURCES),
    *(f"{command} file: {name}" for command in ("run", "check") for name in ODD_FILES),
    *(f"summary: {name}" for name in ("fifo", "folder", "below", "long", "old")),
    *(f"interrupt: {name}" for name in ("run", "check", "start")),
    *(f"unread: {number}" for number in range(7)),
]
