"""The tutorial, followed as a newcomer follows it: its files are written, its commands run, its outputs looked for.

A block of code whose first line names a file is that file. In a `console` block

- `$ squall run …` runs in the first terminal, a real one, and is left running if it does not end by itself;
- any other `$ command` runs in the second terminal;
- `^C` is pressed in the first terminal, which then ends;
- lines before any command are what the first terminal shows by then.

What is shown is compared loosely (`documents.missing`). The port is another one, since tests run at the same time.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from .documents import ROOT, blocks_of, missing

PAGES = sorted(page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/tutorial/[0-9]*.md"))
PORT = "9999"
WITHIN_S = 20.0
LOOKS = ("squall dead list", "squall dead show", "cat")
"""Commands that change nothing: a reader who is too quick looks again."""


class Item(NamedTuple):
    """A command (or `^C`, or nothing) and the lines that follow it."""

    command: str
    shown: list[str]
    where: str


def items_of(page: str) -> Iterator[Item]:
    for block in blocks_of(page):
        if block.language != "console":
            continue
        item = Item("", [], f"{page}:{block.line}")
        for number, line in enumerate(block.code.splitlines(), block.line + 1):
            if line.startswith("$ ") or line == "^C":
                if item.command or item.shown:
                    yield item
                item = Item(line.removeprefix("$ "), [], f"{page}:{number}")
            else:
                item.shown.append(line)
        yield item


class Terminal:
    """The first terminal, with a program in it."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self._raw = b""
        read, write = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}" if ">" not in command else command],
            stdin=write,
            stdout=write,
            stderr=write,
            cwd=folder,
            env=environment | {"COLUMNS": "110", "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(write)
        self._reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self._reader.start()

    def _read(self, fd: int) -> None:
        try:
            while data := os.read(fd, 1 << 16):
                self._raw += data
        except OSError:
            pass  # how the end of a terminal looks
        os.close(fd)

    @property
    def text(self) -> str:
        text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", self._raw).decode(errors="replace")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def shows(self, shown: list[str], where: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while (line := missing(shown, self.text)) is not None:
            if time.monotonic() > deadline or self.process.poll() is not None:
                self._reader.join(1)
                if (line := missing(shown, self.text)) is not None:
                    raise AssertionError(
                        f"{where}: the terminal does not show {line!r}:\n{self.text[:1500]}\n…\n{self.text[-2500:]}"
                    )
            time.sleep(0.02)

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.wait(WITHIN_S) == 0
        self._reader.join(5)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Reader:
    """Someone who follows a page in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = str(free_port())
        self.terminal: Terminal | None = None
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
        }

    def write(self, page: str) -> None:
        """Writes the files that a page shows."""
        for block in blocks_of(page):
            if name := block.file_name:
                (self.folder / name).write_text(block.code.replace(PORT, self.port), encoding="utf-8")

    def follow(self, page: str) -> None:
        """Does all that a page says, from top to bottom."""
        files = {block.line: block for block in blocks_of(page) if block.file_name}
        for item in items_of(page):
            at = int(item.where.rpartition(":")[2])
            for line in [line for line in files if line < at]:
                block = files.pop(line)
                (self.folder / str(block.file_name)).write_text(block.code.replace(PORT, self.port), encoding="utf-8")
            self.do(item)
        assert self.terminal is None or self.terminal.process.poll() is not None, "the page leaves a program running"

    def do(self, item: Item) -> None:
        shown = [line.replace(PORT, self.port) for line in item.shown]
        if item.command == "^C" or not item.command:
            assert self.terminal is not None, f"{item.where}: nothing is running"
            if item.command:
                self.terminal.interrupt()
            self.terminal.shows(shown, item.where)
        elif item.command.startswith("squall run"):
            assert self.terminal is None or self.terminal.process.poll() is not None, f"{item.where}: still running"
            self.terminal = Terminal(item.command, self.folder, self.environment)
            self.terminal.shows(shown, item.where)
            wrong = any("  code: " in line for line in shown)
            if wrong or "--for" in item.command:
                assert (self.terminal.process.wait(WITHIN_S) != 0) == wrong, self.terminal.text
        else:
            self.run(item)

    def run(self, item: Item) -> None:
        """Runs a command in the second terminal; its exit code fits what it shows."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            with (self.folder / "shown.out").open("w+") as out:
                command = ["bash", "-c", item.command.replace(PORT, self.port)]
                done = subprocess.run(
                    command,
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    timeout=WITHIN_S,
                    check=False,
                )
            text = (self.folder / "shown.out").read_text()
            line = missing(item.shown, text)
            if line is None or time.monotonic() > deadline or not item.command.startswith(LOOKS):
                break
            time.sleep(0.05)
        assert line is None, f"{item.where}: {item.command} does not show {line!r}:\n{text}"
        assert (done.returncode != 0) == ("  code: " in text), f"{item.where}: exit code {done.returncode}:\n{text}"

    def close(self) -> None:
        if self.terminal is not None:
            self.terminal.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.mark.parametrize("number", range(len(PAGES)), ids=[Path(page).stem for page in PAGES])
def test_a_newcomer_can_follow_the_step(reader: Reader, number: int) -> None:
    for page in PAGES[:number]:
        reader.write(page)
    reader.follow(PAGES[number])


def test_there_are_five_steps_that_lead_to_each_other() -> None:
    assert len(PAGES) == 5
    for page, next_page in pairwise(PAGES):
        assert re.search(rf"^Next: \[.*\]\({Path(next_page).name}\)", (ROOT / page).read_text(), re.MULTILINE)


def new_lines(code: str, before: str) -> list[int]:
    """Numbers of the lines that `code` has and `before` has not; empty ones do not count."""
    new, old = code.splitlines(), before.splitlines()
    changes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [n + 1 for kind, _, _, start, end in changes if kind != "equal" for n in range(start, end) if new[n].strip()]


def test_marked_lines_are_those_that_are_new() -> None:
    """`hl_lines` names the lines that the file did not have in the step before."""
    before: dict[str, str] = {}
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        marked = re.findall(r'^```python(?: hl_lines="([\d ]*)")?\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
        for lines, code in marked:
            name = code.partition("\n")[0]
            if name in before:
                new = " ".join(map(str, new_lines(code, before[name])))
                assert lines == new, f"{page}: {name}"
            before[name] = code
