"""Standard input as a source: what a shell's pipe, a file, a terminal and an interrupt lead to."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
from squall import Topology
from squall.connectors.files import JsonLines
from squall.connectors.stdin import StdinSpout
from squall.errors import TopologyError
from squall.planner.validate import validate
from squall.testing import LocalCluster

from .conftest import Squall, wait_until

COUNTING = """
    from squall import Topology
    from squall.connectors.files import FileSink, JsonLines
    from squall.connectors.stdin import StdinSpout

    topology = Topology("lines")
    lines = topology.spout("lines", StdinSpout({format}), parallelism={tasks})
    topology.bolt("out", FileSink({path!r})).shuffle(lines)
"""


def topology_file(squall: Squall, format: str = "", tasks: int = 1) -> Path:
    path = str(squall.folder / "out.txt")
    return squall.file(COUNTING.format(path=path, format=format, tasks=tasks))


def seen(squall: Squall) -> list[str]:
    path = squall.folder / "out.txt"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_of_a_pipe_is_counted(squall: Squall, workers: int) -> None:
    """Its second task, which has nothing to read, may be in another worker."""
    file = topology_file(squall, tasks=2)
    with subprocess.Popen("yes | head -n 200000; printf last", shell=True, stdout=subprocess.PIPE) as writer:
        run = squall.start("run", file, "--json", "-w", workers, stdin=writer.stdout)
        assert run.end() == 0, run.err
    assert run.summary()["acked"] == 200_001
    assert len(seen(squall)) == 200_001
    assert seen(squall)[-1] == "last", "a last line needs no line feed"
    assert run.summary()["components"]["lines"]["metrics"]["bytes_read"] == 400_004


def test_a_file_and_no_input_at_all_end_by_themselves(squall: Squall) -> None:
    (squall.folder / "in.txt").write_text("one\ntwo\n")
    with (squall.folder / "in.txt").open("rb") as file:
        run = squall.start("run", topology_file(squall), "--json", stdin=file)
        assert run.end() == 0, run.err
    assert seen(squall) == ["one", "two"]
    empty = squall.start("run", topology_file(squall), "--json")
    assert empty.end() == 0, empty.err
    assert empty.summary()["emitted"] == 0


def test_lines_that_cannot_be_read_are_dead_letters_with_their_number(squall: Squall) -> None:
    (squall.folder / "in.txt").write_text('{"a": 1}\n\n{"a": \n{"a": 2}\n')
    with (squall.folder / "in.txt").open("rb") as file:
        run = squall.start("run", topology_file(squall, 'JsonLines(fields=["a"])'), "--json", stdin=file)
        assert run.end() == 0, run.err
    assert seen(squall) == ["1", "2"]
    assert run.summary()["dead"] == 1
    assert "standard input:3: " in run.err


def test_an_interrupt_ends_a_run_whose_input_goes_on(squall: Squall) -> None:
    reading, writing = os.pipe()
    run = squall.start("run", topology_file(squall), "--json", stdin=reading)
    os.close(reading)
    os.write(writing, b"one\ntwo\nhal")
    wait_until(lambda: seen(squall) == ["one", "two"], what="the lines that are whole")
    run.interrupt()
    assert run.end() == 0, run.err
    os.close(writing)
    assert run.summary()["acked"] == 2


def test_a_writer_waits_for_a_topology_that_does(squall: Squall) -> None:
    """Nothing is dropped, and 64 MiB are kept: the writer is held up before it has written all."""
    squall.file(
        """
        from squall import Bolt, Topology
        from squall.connectors.stdin import StdinSpout

        class Never(Bolt):
            manual_ack = True
            def process(self, line): ...

        topology = Topology("lines", settings={"topology.max.spout.pending": 100})
        topology.bolt("never", Never).shuffle(topology.spout("lines", StdinSpout()))
        """
    )
    reading, writing = os.pipe()
    run = squall.start("run", squall.folder / "topology.py", "--json", "--drain", "0.2s", stdin=reading)
    os.close(reading)
    os.set_blocking(writing, False)
    written = 0

    def is_held_up() -> bool:
        nonlocal written
        try:
            while True:
                written += os.write(writing, (b"x" * 999 + b"\n") * 32)
        except BlockingIOError:
            if written < 64 << 20:
                return False
            return bool(run.events("progress")) and run.events("progress")[-1]["pending"] == 100
        return False

    wait_until(is_held_up, what="a writer that is held up")
    run.interrupt()
    assert run.end() == 1
    os.close(writing)
    assert written < 70_000_000


def test_a_terminal_is_read_line_by_line_with_a_hint(squall: Squall) -> None:
    ours, theirs = pty.openpty()
    run = squall.start("run", topology_file(squall), stdin=theirs)
    os.close(theirs)
    wait_until(lambda: "Ctrl-D ends them" in run.err, what="the hint")
    os.write(ours, b"typed\n")
    wait_until(lambda: seen(squall) == ["typed"], what="the line")
    os.write(ours, b"\x04")
    assert run.end() == 0, run.err
    os.close(ours)


def with_input(*spouts: Any) -> Topology:
    topology = Topology("t")
    for number, spout in enumerate(spouts):
        topology.bolt(f"b{number}", lambda line: None).shuffle(topology.spout(f"s{number}", spout))
    return topology


def test_one_spout_reads_standard_input() -> None:
    with pytest.raises(TopologyError, match="code: stdin_twice"):
        validate(with_input(StdinSpout(), StdinSpout()))


def test_in_a_test_it_is_mocked() -> None:
    with LocalCluster(with_input(StdinSpout()), mock_sources={"s0": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.emitted("s0") == [("a",)]
    with pytest.raises(TopologyError, match="mock_sources"), LocalCluster(with_input(StdinSpout())):
        pass


def test_its_fields_are_those_of_the_format() -> None:
    assert StdinSpout().outputs == ("line",)
    assert StdinSpout(JsonLines(fields=["user", "n"])).outputs == ("user", "n")
