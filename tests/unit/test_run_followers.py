"""What a run tells those who follow it: its events, its open dead letters, its processes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from squall.engines.embedded import sockets
from squall.engines.embedded.followers import Followers
from squall.engines.embedded.outgoing import Outgoing
from squall.engines.embedded.process_figures import ProcessFigures
from squall.runtime import dead_log, replay
from squall.runtime.letter_lines import ASKED, DROPPED, Change, Run
from squall.runtime.letters import Letter
from squall.runtime.open_letters import OpenLetters
from squall.runtime.stored import LogReader


class Follower:
    """One end of a connection that follows a run; the other is `theirs`."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._lines = sockets.LineBuffer()

    def viewer(self) -> Outgoing:
        return Outgoing(self.theirs, sockets.MAX_LINE_BYTES)

    def kinds(self) -> list[str]:
        """The kinds of the events that have come since the last look."""
        kinds: list[str] = []
        while True:
            try:
                data = self._ours.recv(1 << 16)
            except BlockingIOError:
                return kinds
            kinds += [event["event"] for event in self._lines.feed(data)]
            if not data:
                return [*kinds, "closed"]


def test_who_comes_later_first_hears_how_it_began_and_how_it_stands() -> None:
    told = Followers()
    for kind in ("started", "progress", "stuck", "progress"):
        told.tell({"event": kind})
    follower = Follower()
    told.add(follower.viewer())
    told.tell({"event": "log", "text": "private"})
    told.tell({"event": "draining"})
    assert follower.kinds() == ["started", "progress", "draining"]


def test_one_who_does_not_read_is_dropped_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MAX_LINE_BYTES", 1_000_000)
    told = Followers()
    lazy, follower = Follower(), Follower()
    told.add(lazy.viewer())
    told.add(follower.viewer())
    heard: list[str] = []
    for _ in range(200):
        told.tell({"event": "progress", "much": "x" * 20_000})
        heard += follower.kinds()
    assert heard == ["progress"] * 200
    assert lazy.theirs.recv(1) == b""  # as one that has gone: whoever waits for it closes it
    assert lazy.kinds()[-1] == "closed"


def test_what_waits_for_a_slow_one_goes_on_when_it_reads() -> None:
    told = Followers()
    follower = Follower()
    told.add(follower.viewer())
    for _ in range(100):
        told.tell({"event": "progress", "much": "x" * 20_000})
    heard: list[str] = []
    deadline = time.monotonic() + 10
    while len(heard) < 100 and time.monotonic() < deadline:
        heard += follower.kinds()
        told.pass_time()
    assert len(heard) == 100


def test_last_words_are_sent() -> None:
    told = Followers()
    follower = Follower()
    told.add(follower.viewer())
    told.tell({"event": "summary"})
    told.close()
    assert follower.kinds() == ["summary", "closed"]


def letter(error: str) -> Letter:
    return Letter(
        component="parse",
        source="lines",
        stream="default",
        task=2,
        fields=("line",),
        values=("bad",),
        error=error,
        traceback="",
        attempts=4,
        roots=(1,),
        at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        spout="lines",
        spout_task=1,
        spout_stream="default",
        root_values=("bad",),
        message_id=None,
    )


def test_open_letters_are_followed_as_the_log_grows(tmp_path: Path) -> None:
    path = tmp_path / "dead" / "words.log"
    letters = OpenLetters(path)
    assert letters.now() == {"open": 0, "last": None}
    stored: list[int] = []
    log = dead_log.DeadLog(path, stored.append, lambda _letter: None)
    for number in range(3):
        log.put(number, letter(f"ValueError: {number}"))
    log.close()
    last = {"number": 3, "component": "parse", "error": "ValueError: 2", "at": "2026-01-02T03:04:05+00:00"}
    assert letters.now() == {"open": 3, "last": last}
    dead_log.mark(path, [Change(number, DROPPED) for number in (1, 3)])
    assert letters.now() == {"open": 1, "last": last}
    assert OpenLetters(path).now() == {"open": 1, "last": last}


@pytest.mark.parametrize("takes_away", [Path.unlink, lambda path: path.rename(path.with_suffix(".old"))])
def test_a_log_that_is_taken_away_loses_no_later_letter(tmp_path: Path, takes_away: Callable[[Path], object]) -> None:
    path = tmp_path / "dead" / "words.log"
    letters, stored, told = OpenLetters(path), Queue[int](), list[str]()
    run = Run("r", "f.py", None, [], {})
    log = dead_log.DeadLog(path, stored.put, lambda _letter: None, run=run, replaced=lambda: told.append("replaced"))
    log.put(1, letter("ValueError: early"))
    log.put(2, letter("ValueError: early, too"))
    assert (stored.get(timeout=10), stored.get(timeout=10)) == (1, 2)
    assert letters.now()["open"] == 2
    takes_away(path)
    assert letters.now() == {"open": 0, "last": None}
    log.change(Change(1, DROPPED))
    log.put(3, letter("ValueError: late"))
    assert stored.get(timeout=10) == 3
    log.change(Change(1, DROPPED))
    log.close()
    assert told == ["replaced"]
    reader = LogReader(path)
    (late,) = reader.refresh()
    assert (late.head.error, late.state, list(reader.runs)) == ("ValueError: late", DROPPED, ["r"])
    assert letters.now()["last"]["error"] == "ValueError: late"


def test_the_end_of_a_replay_is_not_told_of_a_letter_in_a_newer_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "root_of", lambda _stored, _built: replay.Root(0, 0, ("x",), None))
    path = tmp_path / "dead" / "words.log"
    told, emitted = list[Change](), list[int]()

    def emit(*_: Any, handle: int = 0, **__: Any) -> None:
        emitted.append(handle)

    replays: Any = replay.Replays(path, None, emit, told.append)  # pyright: ignore[reportArgumentType]

    def logged_and_asked() -> None:
        log = dead_log.DeadLog(path, lambda _handle: None, lambda _letter: None)
        log.put(1, letter("ValueError: bad"))
        log.close()
        dead_log.mark(path, [Change(1, ASKED)])

    logged_and_asked()
    replays.begin()
    path.unlink()
    replays.forget()
    logged_and_asked()
    replays.begin()
    assert emitted == [1]
    replays.failed(1, "again")
    replays.ended(1, acked=True, attempt=2)
    assert told == []
    replays.begin()
    assert emitted == [1, 1]
    replays.ended(1, acked=True, attempt=1)
    assert [change.state for change in told] == ["acked"]


def test_a_torn_line_is_no_letter(tmp_path: Path) -> None:
    path = tmp_path / "words.log"
    path.write_bytes(b'00000000 {"letter":{}}\nnonsense\n12')
    assert OpenLetters(path).now() == {"open": 0, "last": None}


def test_process_figures_are_those_of_the_system() -> None:
    figures = ProcessFigures(3, os.getpid())
    figures.now()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    now = figures.now()
    assert (now["id"], now["pid"]) == (3, os.getpid())
    assert now["cpu_ratio"] > 0
    assert 1_000_000 < now["rss_bytes"] < 10_000_000_000


def test_process_that_has_ended_has_no_figures() -> None:
    now = ProcessFigures(0, 2**22 + 1).now()
    assert (now["cpu_ratio"], now["rss_bytes"]) == (0.0, 0)
