"""Names are taken or refused by one rule: in code, on the command line, and where files are named after them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from squall import Topology
from squall.errors import SquallError, TopologyError, one_line
from squall.planner.validate import checked_name, validate
from squall.runtime.dead_log import log_path
from squall.testing import LocalCluster

from .law import CommandLine
from .values import NO_NAMES, ODD_NAMES, TEXTS


def named_topology(name: str) -> Topology:
    topology = Topology(name)
    topology.bolt("last", lambda n: None).shuffle(topology.spout("numbers", lambda: iter([1]), outputs=("n",)))
    return topology


def named_spout(name: str) -> Topology:
    topology = Topology("names")
    topology.bolt("last", lambda n: None).shuffle(topology.spout(name, lambda: iter([1]), outputs=("n",)))
    return topology


def named_bolt(name: str) -> Topology:
    topology = Topology("names")
    topology.bolt(name, lambda n: None).shuffle(topology.spout("numbers", lambda: iter([1]), outputs=("n",)))
    return topology


def named_stream(name: str) -> Topology:
    topology = Topology("names")
    numbers = topology.spout("numbers", lambda: iter([1]), outputs=("n",), streams={name: ("n",)})
    topology.bolt("last", lambda n: None).shuffle(numbers[name])
    return topology


NAMED: dict[str, Callable[[str], Topology]] = {
    "topology": named_topology,
    "spout": named_spout,
    "bolt": named_bolt,
    "stream": named_stream,
}
REFUSED = {f"{kind}: {name}": (kind, text) for kind in NAMED for name, text in NO_NAMES.items()}
TAKEN = {f"{kind}: {name}": (kind, text) for kind in NAMED for name, text in ODD_NAMES.items()}
FIELDS = {**ODD_NAMES, **TEXTS}
SAME = {**{f"no name: {name}": text for name, text in NO_NAMES.items()}, **ODD_NAMES}
CASES = [*REFUSED, *TAKEN, *(f"field: {name}" for name in FIELDS), *(f"new: {name}" for name in SAME)]


@pytest.mark.parametrize(("kind", "text"), REFUSED.values(), ids=REFUSED)
def test_no_name_is_refused_with_the_rule(kind: str, text: str) -> None:
    with pytest.raises(TopologyError) as caught:
        validate(NAMED[kind](text))
    assert {defect.code for defect in caught.value.defects} == {"name_invalid"}
    (told, *_), whole = str(caught.value).splitlines(), str(caught.value)
    assert one_line(text, 500)[:20] in told
    assert "1–100 visible characters" in whole
    assert all(line.isprintable() and len(line) < 1200 for line in whole.split("\n"))


@pytest.mark.parametrize(("kind", "text"), TAKEN.values(), ids=TAKEN)
def test_odd_name_is_a_name_to_the_end(kind: str, text: str) -> None:
    """A run with it does all that a run does."""
    with LocalCluster(NAMED[kind](text)) as cluster:
        cluster.run_until_idle()


@pytest.mark.parametrize("text", ODD_NAMES.values(), ids=ODD_NAMES)
def test_files_named_after_a_topology_stay_in_their_folder(text: str, tmp_path: Path) -> None:
    path = log_path(tmp_path, text)
    path.parent.mkdir()
    path.touch()
    assert path.resolve().parent == tmp_path / "dead"
    assert len(f"{text}-4194304-{2**33}.log.3".encode()) <= 255


@pytest.mark.parametrize("text", FIELDS.values(), ids=FIELDS)
def test_field_may_have_any_name_and_is_told_in_one_line(text: str) -> None:
    """Fields name columns of other people's files, so no name is refused; what people look at stays in its line."""
    topology = Topology("fields")
    numbers = topology.spout("numbers", lambda: iter([1]), outputs=(text,))
    topology.bolt("last", lambda n: None).fields(numbers, text, rename={text: "n"})
    assert validate(topology).components["last"].inputs[0].keys == (0,)
    topology.bolt("second", lambda n: None).fields(numbers, "no such field", rename={text: "n"})
    with pytest.raises(TopologyError) as caught:
        validate(topology)
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


def test_names_that_differ_in_case_are_two() -> None:
    topology = Topology("case")
    words = topology.spout("Count", lambda: iter([1]), outputs=("n", "N"), streams={"Default": ("n",)})
    topology.bolt("count", lambda n: None).shuffle(words)
    assert set(validate(topology).components) == {"Count", "count"}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_the_command_line_takes_the_names_that_code_takes(command_line: CommandLine, text: str) -> None:
    """A project's name ends up in code, in shell commands and in file names."""
    if checked_name("topology", text) is not None:
        assert command_line.refuses("new", "project", "--name", text).codes == ["name_invalid"]
        return
    assert command_line.said("new", "project", "--name", text).status == 0
    module = ast.parse((command_line.folder / "project" / "topology.py").read_text(encoding="utf-8"))
    assert [ast.literal_eval(call.args[0]) for call in ast.walk(module) if is_topology(call)] == [text]  # pyright: ignore


def is_topology(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Topology"


@pytest.mark.parametrize("command", ["list", "export"])
def test_no_name_of_a_topology_leads_out_of_its_folder(command_line: CommandLine, command: str) -> None:
    """What lies elsewhere and looks like a log is neither read nor written."""
    (command_line.state / "dead").mkdir(parents=True)
    (command_line.folder / "outside.log").write_text("")
    assert command_line.refuses("dead", command, "../../outside").codes == ["no_dead_letters"]


def test_the_rule_is_what_the_page_says() -> None:
    """Whatever is refused by the check is told by the class of errors that the page names."""
    assert all(checked_name("bolt", text) is None for text in ODD_NAMES.values())
    assert all(checked_name("bolt", text) is not None for text in NO_NAMES.values())
    assert all(checked_name("bolt", text) is not None for text in (None, 1, b"a", ["a"], object()))
    assert issubclass(TopologyError, SquallError)
    assert re.search("1–100", Topology.__doc__ or "")
