"""`squall dead debug` in a real terminal: the component on the recorded input, under Python's debugger."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import WITHIN_S, Squall

DEBUGGED = """
    import asyncio
    from squall import Bolt, Topology, TopologyContext

    def function(n: int):
        half = n / 2
        raise ValueError("function", half)

    def generator(n: int):
        yield n
        local = n + 1
        raise ValueError("generator", local)

    async def coroutine(n: int):
        ends = asyncio.Event()
        server = await asyncio.start_server(lambda _reader, _writer: ends.set(), "127.0.0.1", 0)
        await asyncio.open_connection(*server.sockets[0].getsockname())
        await ends.wait()
        local = n + 2
        raise ValueError("coroutine", local)

    class Method(Bolt):
        outputs = ("n",)

        def open(self, context: TopologyContext):
            self.opened = context.component

        def on_number(self, n: int):
            self.emit(n)
            raise ValueError(self.opened)

    class Batch(Bolt):
        blocking = True

        def process_batch(self, n: list[int]):
            raise ValueError("batch", n)

    class Wrong(Bolt):
        outputs = ("a", "b")

        def process(self, n: int):
            return n

    def build(first: int) -> Topology:
        topology = Topology("debugged")
        numbers = topology.spout("numbers", lambda: iter([first]), outputs=("n",))
        topology.bolt("function", function, retries=0, parallelism=2).shuffle(numbers)
        topology.bolt("generator", generator, retries=0, outputs=("n",)).shuffle(numbers)
        topology.bolt("coroutine", coroutine, retries=0).shuffle(numbers)
        topology.bolt("method", Method, retries=0).shuffle(numbers, into=Method.on_number)
        topology.bolt("batch", Batch, retries=0).shuffle(numbers)
        topology.bolt("wrong", Wrong, retries=0).shuffle(numbers)
        return topology
"""


class Debugger:
    """The terminal of someone who debugs letters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, typed: tuple[str, ...] = ()) -> tuple[int, str]:
        """Exit code and screen of a debugger that is told `typed`, a line at each prompt."""
        environment = os.environ | {"SQUALL_STORM_LOCAL_DIR": str(self.folder / "state"), "TERM": "dumb"}
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            command = [sys.executable, "-m", "squall.cli", "dead", "debug", "debugged", *arguments]
            os.execvpe(command[0], command, environment)
        shown, waiting, deadline = b"", list(typed), time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 1 << 16)
                except OSError:  # how the end of a terminal looks
                    break
            if waiting and shown.count(b"(Pdb) ") > len(typed) - len(waiting):
                os.write(terminal, f"{waiting.pop(0)}\n".encode())
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), re.sub(r"\x1b\[[?\d]*[a-z]|\r", "", shown.decode())


@pytest.fixture(scope="module")
def debug(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debugger]:
    """A debugger for the letters of one run, in which each component but one has failed alone."""
    folder = tmp_path_factory.mktemp("debugged")
    squall = Squall(folder)
    text = textwrap.dedent(DEBUGGED)
    (folder / "debugged.py").write_text(text)
    for name in NUMBERS:  # the first failure of a root is its letter: one run for each component
        wired = [line for line in text.splitlines() if "topology.bolt" not in line or f'"{name}"' in line]
        (folder / "debugged.py").write_text("\n".join(wired))
        assert squall.done("run", "debugged.py", "-p", "first=7").process.returncode == 0
    (folder / "debugged.py").write_text(text)
    yield Debugger(folder)
    squall.close()


NUMBERS = {
    name: number for number, name in enumerate(["function", "generator", "coroutine", "method", "batch", "wrong"], 1)
}


@pytest.mark.parametrize(
    ("name", "typed", "shown"),
    [
        ("function", "p half", "3.5"),
        ("generator", "p local", "8"),
        ("coroutine", "p local", "9"),
        ("method", "p n, self.opened", "(7, 'method')"),
        ("batch", "p n", "[7]"),
    ],
)
def test_debugger_stops_where_it_raised(debug: Debugger, name: str, typed: str, shown: str) -> None:
    code, screen = debug(str(NUMBERS[name]), typed=(typed, "q"))
    assert code == 1, screen
    assert f'letter {NUMBERS[name]}: "{name}" on numbers/default(n=7)' in screen
    assert f"(Pdb) {typed}\n{shown}\n(Pdb) q\n" in screen
    assert "squall/" not in screen
    if name in ("generator", "method"):
        assert "would emit on default: (7)" in screen
    assert screen.rstrip().splitlines()[-1].startswith("failed: ValueError: ")


@pytest.mark.parametrize(
    ("name", "typed", "shown"),
    [
        ("function", ("p n", "n", "p half", "q"), "-> half = n / 2"),
        ("generator", ("p n", "n", "n", "n", "p local", "q"), "-> yield n"),
        ("coroutine", ("p n", "q"), "-> ends = asyncio.Event()"),
    ],
)
def test_debugger_stops_at_the_first_line(debug: Debugger, name: str, typed: tuple[str, ...], shown: str) -> None:
    code, screen = debug(str(NUMBERS[name]), "--step", typed=typed)
    assert code == 0, screen
    assert screen.index(shown) < screen.index("(Pdb) p n\n7\n")


def test_what_fails_after_the_component_is_told(debug: Debugger) -> None:
    code, screen = debug(str(NUMBERS["wrong"]))
    assert code == 1
    assert "failed: EmissionError" in screen


def test_mended_file_is_debugged_instead(debug: Debugger) -> None:
    mended = textwrap.dedent(DEBUGGED).replace('raise ValueError("function", half)', "return None")
    (debug.folder / "mended.py").write_text(mended)
    code, screen = debug("1", "mended.py", "-p", "first=1")
    assert code == 0
    assert screen.rstrip().endswith("ended well")
    (debug.folder / "gone.py").write_text(mended.replace('bolt("function"', 'bolt("other"'))
    code, screen = debug("1", "gone.py")
    assert code == 2
    assert 'the topology has no component "function" any more' in screen
