"""The small parts of the embedded engine: following a file, sockets, run folders, marks."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from threading import Event, Thread

import pytest
from squall import _core
from squall.connectors.addresses import parse_address
from squall.engines.embedded import sockets
from squall.engines.embedded.runs import KEPT_LOGS, folder_of_run, remove_dead_runs, remove_old_logs, running
from squall.engines.embedded.tail import Tail
from squall.errors import TopologyError
from squall.model.durations import parse_duration
from squall.runtime.marks import Marks, marked


def test_tail_gives_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    tail = Tail(path)
    with path.open("a") as file:
        for part, lines in (("one\ntw", ["one"]), ("o\n", ["two"]), ("", []), ("half", [])):
            file.write(part)
            file.flush()
            assert tail.lines() == lines
    assert tail.rest() == ["half"]
    assert tail.rest() == []


def test_tail_of_a_file_that_comes_later(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "log")
    assert tail.lines() == []
    (tmp_path / "log").write_bytes(b"\xff\n")
    assert tail.lines() == ["\N{REPLACEMENT CHARACTER}"]


def test_tail_goes_on_in_the_file_that_takes_the_place(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\n")
    tail = Tail(tmp_path / "log")
    with path.open("a") as file:
        file.write("three\n")
    path.rename(tmp_path / "log.1")
    path.write_text("new, and longer than the old one was\n")
    assert tail.lines() == ["three"]
    assert tail.lines() == ["new, and longer than the old one was"]
    tail.close()


def test_only_the_newest_logs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(KEPT_LOGS + 5):
        log = folder / f"topology-1-{number}.log"
        log.touch()
        os.utime(log, (number, number))
    (folder / "errors.log").touch()
    remove_old_logs(tmp_path)
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"errors.log", *(f"topology-1-{number}.log" for number in range(5, KEPT_LOGS + 5))}


def test_socket_at_a_path_of_any_length_is_its_owners(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    path = folder / "control.sock"
    with sockets.listen(path) as listener, sockets.connect(path, 5) as client:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client.sendall(sockets.line({"cmd": "stacks"}))
        server, _ = listener.accept()
        with server:
            assert sockets.LineBuffer().feed(server.recv(100)) == [{"cmd": "stacks"}]


def test_lines_come_whole_and_garbage_is_left_out() -> None:
    buffer = sockets.LineBuffer()
    assert buffer.feed(b'{"a":1}\n{"b"') == [{"a": 1}]
    assert buffer.feed(b':2}\nnonsense\n[1]\n{"c":3}\n') == [{"b": 2}, {"c": 3}]
    assert buffer.feed(b"[" * 60_000 + b'\n{"d":' + b"[" * 60_000 + b'\n{"e":4}\n') == [{"e": 4}]


@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_line_over_the_limit_is_told_and_left_out_and_the_next_one_is_read(size: int) -> None:
    """However it is cut on its way."""
    told: list[None] = []
    buffer = sockets.LineBuffer(16, lambda: told.append(None))
    stream = b'{"a":1234567890}\n' + b"x" * 50 + b'\n{"a":123456789}\n'
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [line for piece in pieces for line in buffer.feed(piece)] == [{"a": 123456789}]
    assert len(told) == 2


def test_runs_of_dead_parents_are_removed(tmp_path: Path) -> None:
    """Also one whose process number somebody else has, as in a container that was started again."""
    runs = tmp_path / "runs"
    alive, dead, same = runs / "my-topology-1", runs / "my-topology-999999999", runs / f"my-topology-{os.getpid()}"
    with folder_of_run(alive):
        for run in (alive, dead, same):
            run.mkdir(parents=True, exist_ok=True)
            (run / "control.sock").touch()
        assert running(tmp_path) == {alive.name: alive / "control.sock"}
        remove_dead_runs(tmp_path)
        assert list(runs.iterdir()) == [alive]


def test_a_folder_has_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers may share a state folder, and both have the process number 1."""
    monkeypatch.setattr("squall.engines.embedded.runs.LOOKED_AT_S", 0.1)
    run = tmp_path / "runs" / "my-topology-1"
    with folder_of_run(run):
        with pytest.raises(OSError, match="another run has it"), folder_of_run(run):
            pass
        assert run.exists()
    with folder_of_run(run):
        assert run.exists()


def test_who_looks_at_runs_holds_up_none_that_begins(tmp_path: Path) -> None:
    run, is_over = tmp_path / "runs" / "my-topology-1", Event()

    def look() -> None:
        while not is_over.is_set():
            running(tmp_path)
            remove_dead_runs(tmp_path)

    looking = [Thread(target=look) for _ in range(2)]
    for thread in looking:
        thread.start()
    for _ in range(20):
        with folder_of_run(run):
            assert run.exists()
    is_over.set()
    for thread in looking:
        thread.join()


def test_marks_say_whose_code_runs_elsewhere() -> None:
    page = _core.page_create()
    marks = Marks(page, ["spout", "fetch", "store"])
    fetch, other, store = marks("fetch"), marks("fetch"), marks("store")
    assert marked(page) == []
    fetch(True)
    other(True)
    store(True)
    assert marked(page) == [2, 3]
    fetch(False)
    assert marked(page) == [2, 3]
    other(False)
    assert marked(page) == [3]
    assert _core.page_read(page) == (0, 0)
    os.close(page)


def test_more_tasks_than_marks_are_not_marked() -> None:
    page = _core.page_create()
    marks = Marks(page, ["a"])
    made = [marks("a") for _ in range(1600)]
    for mark in made[1536:]:
        mark(True)
    assert marked(page) == []
    made[1535](True)
    assert marked(page) == [1]
    os.close(page)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20s", 20),
        ("5m", 300),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("7", 7),
        (" 1 s ", 1),
        ("10us", 1e-5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "soon", "-1s", "1 week", "1e3", "nan", "5 5s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:7007", ("::1", 7007)), ("example.org:0", ("example.org", 0))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "7007", ":7007", "host:", "host:port", "host:65536", "host:-1", "host:²"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(TopologyError, match="tcp_address"):
        parse_address(text)
