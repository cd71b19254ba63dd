"""Fixes that say what somebody may have meant, for the slips of a first day."""

from __future__ import annotations

from pathlib import Path

import pytest
from squall.errors import TopologyError
from squall.planner.load import load_topology
from squall.planner.validate import validate

HEAD = """
from squall import Bolt, Topology
t = Topology("x")
def gen():
    yield 1
"""
LINES = 't.spout("lines", gen, outputs=("a", "b"))'


def told(folder: Path, text: str) -> str:
    file = folder / "slip.py"
    file.write_text(HEAD + text)
    with pytest.raises(TopologyError) as error:
        validate(load_topology(str(file), None, []))
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('t.spout("lines", gen, output=("a",))', "did you mean `outputs`? The log"),
        ('t.sput("lines", gen)', "did you mean `spout`? The log"),
        ('t.spout("lines", gem)', "did you mean `gen`? The log"),
        ('t.spout("lines", 1 / 0)', "fix: mend it; the log"),
        ('t.spout("lines", gen(), outputs=("a",))', "gen in place of gen(...)"),
        ('t.spout("lines", [1, 2], outputs=("a",))', "give a function that returns it: `lambda: iter(...)`"),
        (f'{LINES}\nt.bolt("count", print("x"))', "give the function itself, `f` in place of `f(...)`"),
        (f'{LINES}\nt.bolt("count", lambda a: None)', "streams: lines/default(a, b)"),
        (f'{LINES}\nt.bolt("count", lambda a: None).shuffle("lines")', 'lines = topology.spout("lines", ...)'),
        ('t.bolt("count", lambda a: None).shuffle(t.spout("lines", gen))', 'say what "lines" emits'),
        (
            f'class B(Bolt):\n    def execute(self, tup): ...\nt.bolt("b", B).shuffle({LINES})',
            "rename `execute` to `process`",
        ),
        (
            f'class B(Bolt):\n    def proces(self, a): ...\nt.bolt("b", B).shuffle({LINES})',
            "rename `proces` to `process`",
        ),
        ("import jsonn", 'did you mean "json"? Else install it: pip install jsonn'),
        ("import cv2_is_not_here", "install it: pip install cv2_is_not_here"),
        ("import sklearn.linear", "install it: pip install scikit-learn"),
        ("import json.nothing", '"json" is there and has no such part'),
    ],
)
def test_fix_says_what_may_have_been_meant(tmp_path: Path, text: str, said: str) -> None:
    assert said in told(tmp_path, text)


def test_function_that_only_lacks_its_annotation_is_named(tmp_path: Path) -> None:
    file = tmp_path / "slip.py"
    file.write_text('from squall import Topology\ndef build(): return Topology("x")\ndef other(): ...\n')
    with pytest.raises(TopologyError) as error:
        load_topology(str(file), None, [])
    assert f"annotate it: `def build(...) -> Topology`; or name it: {file}:build" in str(error.value)
