"""Positions on their way to the disk: stored by a thread, in groups, and told of where they are waited for."""

from __future__ import annotations

import select
from pathlib import Path
from threading import Event

import pytest
from squall.engines.embedded.positions import PositionStore
from squall.engines.embedded.storing import Storing, Why
from squall.errors import ClusterError
from squall.runtime.positions import StoredPosition


def position(task: int) -> StoredPosition:
    return StoredPosition("numbers", task, 8, "Numbers", b"7")


class SlowStore(PositionStore):
    """A disk that takes its time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "t")
        self.groups: list[list[int]] = []
        self.begun, self.go_on = Event(), Event()

    def put(self, *positions: StoredPosition) -> list[OSError | None]:
        self.groups.append([one.task for one in positions])
        self.begun.set()
        assert self.go_on.wait(30)
        return super().put(*positions)


def test_nobody_waits_for_the_disk_and_what_comes_meanwhile_is_one_group(tmp_path: Path) -> None:
    store, told = SlowStore(tmp_path), list[tuple[int, Why]]()
    storing = Storing(store)
    for task in range(5):
        storing.put(position(task), lambda why, task=task: told.append((task, why)))
        assert store.begun.wait(30)
    storing.tell()
    assert told == []
    store.go_on.set()
    poll = select.poll()
    poll.register(storing.fd, select.POLLIN)
    while len(told) < 5:
        assert poll.poll(30_000)
        storing.tell()
    assert store.groups == [[0], [1, 2, 3, 4]]
    assert told == [(task, None) for task in range(5)]
    storing.close()
    store.close()


def test_the_end_waits_for_what_is_under_way(tmp_path: Path) -> None:
    store, told = SlowStore(tmp_path), list[Why]()
    storing = Storing(store)
    storing.put(position(0), told.append)
    store.go_on.set()
    storing.finish()
    assert told == [None]
    storing.close()
    store.close()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ClusterError("somebody else has them")])
def test_what_cannot_be_stored_is_told_of_each(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: StoredPosition) -> list[OSError | None]:
        raise error

    store, told = PositionStore(tmp_path, "t"), list[Why]()
    monkeypatch.setattr(store, "put", refuse)
    storing = Storing(store)
    storing.put(position(0), told.append)
    storing.close()
    assert told == [error]
