"""The store of positions: all or nothing on disk, and never silently nothing."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from squall import Spout, Topology
from squall.engines.embedded.positions import PositionStore, told, unmatched
from squall.errors import ClusterError, StateError
from squall.model.graph import Graph
from squall.planner.validate import validate
from squall.runtime.positions import StoredPosition


class Numbers(Spout):
    outputs = ("n",)

    def next_tuple(self) -> None: ...


def graph(name: str = "numbers", tasks: int = 2) -> Graph:
    topology = Topology("t")
    topology.bolt("b", lambda n: None).shuffle(topology.spout(name, Numbers, parallelism=tasks))
    return validate(topology)


def position(task: int = 0, value: bytes = b"\x00\xff7", component: str = "numbers") -> StoredPosition:
    return StoredPosition(component, task, 2, "Numbers", value)


@pytest.fixture
def store(tmp_path: Path) -> PositionStore:
    return PositionStore(tmp_path, "t")


def kept(folder: Path) -> list[StoredPosition]:
    """What the next run finds."""
    store = PositionStore(folder, "t")
    try:
        return store.begin(graph(), from_start=False)
    finally:
        store.close()


def test_what_was_put_is_found_by_the_next_run(store: PositionStore, tmp_path: Path) -> None:
    assert store.begin(graph(), from_start=False) == []
    for one in (position(1), position(0), position(0, b"8")):
        store.put(one)
    store.close()
    assert kept(tmp_path) == [position(0, b"8"), position(1)]


def test_nothing_is_written_for_a_topology_without_positions(store: PositionStore, tmp_path: Path) -> None:
    store.begin(graph(), from_start=True)
    store.forget()
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_from_start_and_the_end_of_the_sources_forget(store: PositionStore, tmp_path: Path) -> None:
    store.put(position())
    store.close()
    first = PositionStore(tmp_path, "t")
    assert first.begin(graph(), from_start=True) == []
    first.close()
    again = PositionStore(tmp_path, "t")
    again.begin(graph(), from_start=False)
    again.put(position())
    again.forget()
    again.close()
    assert kept(tmp_path) == []


def test_what_is_forgotten_in_part_is_forgotten_whole(
    store: PositionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one task would begin anew and the others go on, over a power cut while positions are removed."""
    for task in range(2):
        store.put(position(task))

    def dies(folder: Path) -> None:
        (folder / "0").unlink()
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", dies)
        with pytest.raises(OSError, match="Input/output"):
            store.forget()
    store.close()
    assert kept(tmp_path) == []
    again = PositionStore(tmp_path, "t")
    again.begin(graph(), from_start=False)
    again.put(position(1))
    again.close()
    assert kept(tmp_path) == [position(1)]


def test_a_torn_file_is_refused_by_its_name(store: PositionStore, tmp_path: Path) -> None:
    store.put(position())
    store.close()
    path = tmp_path / "positions" / "t" / "numbers" / "0"
    whole = path.read_bytes()
    for size in range(len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(StateError, match="position_unreadable") as caught:
            kept(tmp_path)
        assert str(path) in str(caught.value)
        assert "--from-start" in str(caught.value)


def test_a_changed_byte_and_another_version_are_refused(store: PositionStore, tmp_path: Path) -> None:
    store.put(position())
    store.close()
    path = tmp_path / "positions" / "t" / "numbers" / "0"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"Numbers", b"Numbera"))
    with pytest.raises(StateError, match="its checksum is wrong"):
        kept(tmp_path)
    import zlib

    body = data.rstrip(b"\n").partition(b" ")[2].replace(b'"version":1', b'"version":2')
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(body), body))
    with pytest.raises(StateError, match="of version 2"):
        kept(tmp_path)


def test_a_write_that_was_cut_off_leaves_the_position_before(store: PositionStore, tmp_path: Path) -> None:
    store.put(position(0, b"7"))
    store.close()
    (tmp_path / "positions" / "t" / "numbers" / "0.new").write_bytes(b"half of a")
    assert kept(tmp_path) == [position(0, b"7")]


def test_a_full_disk_leaves_the_position_before_and_the_next_try_succeeds(tmp_path: Path) -> None:
    store = PositionStore(tmp_path, "t")
    store.put(position(0, b"7"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        refused, stored = store.put(position(0, bytes(10_000)), position(1, b"8"))
        assert refused is not None
        assert "too large" in str(refused)
        assert stored is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.close()
    assert kept(tmp_path) == [position(0, b"7"), position(1, b"8")]
    again = PositionStore(tmp_path, "t")
    assert again.put(position(0, bytes(10_000))) == [None]
    again.close()
    assert kept(tmp_path) == [position(0, bytes(10_000)), position(1, b"8")]


def test_one_run_at_a_time_has_the_positions(store: PositionStore, tmp_path: Path) -> None:
    store.put(position())
    for act in (lambda other: other.begin(graph(), from_start=True), lambda other: other.put(position(1))):
        with pytest.raises(ClusterError, match="positions_in_use"):
            act(PositionStore(tmp_path, "t"))
    store.close()
    assert kept(tmp_path) == [position()]


def test_a_process_that_was_killed_holds_no_positions(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from squall.engines.embedded.positions import PositionStore as S\n"
        "from squall.runtime.positions import StoredPosition as P\n"
        "S(Path(sys.argv[1]), 't').put(P('numbers', 0, 2, 'Numbers', b'7')); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert kept(tmp_path) == [position(0, b"7")]


def test_files_are_the_owners_alone(store: PositionStore, tmp_path: Path) -> None:
    store.put(position())
    path = tmp_path / "positions" / "t" / "numbers" / "0"
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    store.close()


def test_a_file_that_cannot_be_read_is_an_error(
    store: PositionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(position())
    store.close()

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # by its mode it would still be read by root
    with pytest.raises(PermissionError):
        kept(tmp_path)


@pytest.mark.parametrize(
    "junk",
    [{"task": "0"}, {"task": 1}, {"task": True}, {"component": "b"}, {"component": []}, {"spout": 5}, {"position": 7}],
    ids=str,
)
def test_a_position_that_is_not_of_its_task_is_not_taken_for_none(tmp_path: Path, junk: dict[str, object]) -> None:
    store = PositionStore(tmp_path, "t")
    store.put(position())
    store.close()
    file = tmp_path / "positions/t/numbers/0"
    body = json.dumps(json.loads(file.read_bytes()[9:]) | junk).encode()
    file.write_bytes(b"%08x %s\n" % (zlib.crc32(body), body))
    with pytest.raises(StateError) as refused:
        kept(tmp_path)
    assert refused.value.code == "position_unreadable"


def test_positions_fit_the_spout_by_name_and_tasks() -> None:
    assert unmatched(position(), graph()) is None
    gone = unmatched(position(component="others"), graph())
    bolt = unmatched(position(component="b"), graph())
    tasks = unmatched(position(), graph(tasks=3))
    assert gone is not None
    assert bolt is not None
    assert tasks is not None
    assert '"others"' in gone.message
    assert dict(tasks.facts) == {"stored by": "2 tasks", "now": "3 tasks"}
    assert {defect.code for defect in (gone, bolt, tasks)} == {"position_unmatched"}


def test_a_run_says_in_one_line_where_it_goes_on() -> None:
    text = told([position(0), position(1), position(0, component="others")])
    assert text == "going on where the last run stopped: numbers, others; --from-start forgets"
