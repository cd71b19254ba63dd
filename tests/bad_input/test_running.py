"""Bad arguments of commands that find what they are for: a running topology, and dead letters on disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .law import CommandLine
from .values import LONG, TEXTS
from .wires import until

WITHIN_S = 60.0
TOPOLOGY = """
from squall import DeadLetter, Topology

def refuse(n, name):
    raise DeadLetter(f"refused {name}")

def rows():
    yield 1, "one"
    yield 2, "two"
    while True:
        yield None

topology = Topology("held")
topology.bolt("refuse", refuse).shuffle(topology.spout("rows", rows, outputs=("n", "name")))
"""


class Held:
    """A topology that runs, with two dead letters."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        (folder / "held.py").write_text(TOPOLOGY)
        self._out = folder / "out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "squall.cli", "run", "held.py", "--json"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=os.environ | {"SQUALL_STORM_LOCAL_DIR": str(self.state)},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        until(self._has_letters, "the dead letters")

    def _has_letters(self) -> bool:
        lines = [line for line in self._out.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return any(event.get("dead") == 2 for event in map(json.loads, lines))

    @property
    def log(self) -> bytes:
        return (self.state / "dead" / "held.log").read_bytes()

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(WITHIN_S) == 0


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    held = Held(tmp_path_factory.mktemp("held"))
    yield held
    held.close()


EXPRESSIONS = {
    **{name: text for name, text in TEXTS.items() if name not in ("long",)},
    "no such field": "m > 1",
    "call": "__import__('os').system('touch pwned')",
    "attribute": "name.__class__",
    "lambda": "(lambda: n)()",
    "comprehension": "[x for x in name]",
    "statement": "n = 1",
    "deep": "(" * 300 + "n" + ")" * 300,
    "deeper": "not " * 5000 + "n",
    "walrus": "(m := n)",
    "star": "*n",
    "unended": "'",
    "long": "n == " + "1 + " * 20_000 + "1",
    "format": "'{0.__class__}'.format(n)",
    "yield": "(yield)",
}
NO_FAULT = {"space", "script", "percent", "braces", "dots"}
"""What is an expression all the same, or the same as none."""
OF_A_RUN: dict[str, list[str]] = {
    **{f"tap where {name}": ["tap", "rows", "--where", text] for name, text in EXPRESSIONS.items()
       if name not in NO_FAULT},
    **{f"tap of {name}": ["tap", text] for name, text in TEXTS.items()},
    **{f"tap of stream {name}": ["tap", f"rows:{text}"] for name, text in TEXTS.items() if text},
    **{f"level of {name}": ["log-level", "held", f"root={text}"] for name, text in TEXTS.items() if text},
    **{f"level for {name}": ["log-level", "held", f"root=INFO:{text}"] for name, text in TEXTS.items()},
    "one level of two": ["log-level", "held", "squall=DEBUG", "root=LOUD"],
    "running once only": ["stacks", "hel"],
    "other case": ["stacks", "Held"],
}  # fmt: skip


@pytest.mark.parametrize("line", OF_A_RUN.values(), ids=OF_A_RUN)
def test_command_to_a_run_is_refused_and_the_run_goes_on(
    held: Held, command_line: CommandLine, line: list[str]
) -> None:
    refusal = command_line.refuses(*line, "-c", f"storm.local.dir={held.state}")
    assert refusal.codes[0] != "no_answer"
    assert held.process.poll() is None


OF_LETTERS: dict[str, list[str]] = {
    **{f"{command} {name}": ["dead", command, "held", number, *more]
       for command, more in (("show", []), ("drop", []), ("replay", ["--yes"]), ("edit", ["--yes"]), ("debug", []))
       for name, number in (("unknown", "3"), ("huge", "9" * 400), ("zero", "0"), ("negative", "-1"))},
    **{f"one of two: {command}": ["dead", command, "held", "1", "3"] for command in ("drop", "replay")},
    "drop nothing": ["dead", "drop", "held"],
    **{f"set {name}": ["dead", "replay", "held", "1", "--set", text] for name, text in {
        "nothing": "", "no value": "n", "no field": "=1", "unknown field": "m=1", "control": "a\x1b=1",
        "long field": "x" * LONG + "=1"}.items()},
    **{f"export to {name}": ["dead", "export", "held", path] for name, path in {
        "folder": "folder", "below a file": "good.py/x", "nowhere": "nowhere/x", "device": "/dev/full/x",
        "long": "x" * 300, "nul": "a\0b"}.items()},
    **{f"export as {name}": ["dead", "export", "held", "--format", text] for name, text in TEXTS.items()},
    "debug of no file": ["dead", "debug", "held", "1", "missing.py"],
    "debug of another": ["dead", "debug", "held", "1", "good.py"],
}  # fmt: skip


@pytest.mark.parametrize("line", OF_LETTERS.values(), ids=OF_LETTERS)
def test_command_for_letters_is_refused_and_the_log_is_as_it_was(
    held: Held, command_line: CommandLine, line: list[str]
) -> None:
    (command_line.folder / "folder").mkdir()
    shutil.copytree(held.state / "dead", command_line.state / "dead")
    refusal = command_line.refuses(*line)
    assert refusal.status in (1, 2)
    assert (command_line.state / "dead" / "held.log").read_bytes() == held.log


CASES = [*OF_A_RUN, *OF_LETTERS]
