"""What a run tells those who follow it: its events, its open dead letters, its processes."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from squall.engines.embedded import followers, sockets
from squall.engines.embedded.followers import Followers
from squall.engines.embedded.process_figures import ProcessFigures
from squall.runtime import dead_log
from squall.runtime.letters import Letter
from squall.runtime.open_letters import OpenLetters


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as made:
        yield made


def events_in(connection: socket.socket) -> list[str]:
    """The kinds of the events that wait in a connection."""
    lines, kinds = sockets.LineBuffer(), list[str]()
    connection.setblocking(False)
    while True:
        try:
            data = connection.recv(1 << 16)
        except BlockingIOError:
            return kinds
        kinds += [event["event"] for event in lines.feed(data)]
        if not data:
            return [*kinds, "closed"]


def test_who_comes_later_first_hears_how_it_began_and_how_it_stands(selector: selectors.BaseSelector) -> None:
    told = Followers()
    for kind in ("started", "progress", "stuck", "progress"):
        told.tell({"event": kind})
    ours, theirs = socket.socketpair()
    told.add(theirs, selector)
    told.tell({"event": "log", "text": "private"})
    told.tell({"event": "draining"})
    assert events_in(ours) == ["started", "progress", "draining"]


def test_one_who_does_not_read_is_dropped_and_holds_up_nobody(
    selector: selectors.BaseSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "MAX_WAITING_BYTES", 1_000_000)
    told = Followers()
    (lazy, lazys), (ours, theirs) = socket.socketpair(), socket.socketpair()
    told.add(lazys, selector)
    told.add(theirs, selector)
    heard: list[str] = []
    for _ in range(200):
        told.tell({"event": "progress", "much": "x" * 20_000})
        heard += events_in(ours)
    assert heard == ["progress"] * 200
    assert lazys.fileno() == -1
    assert events_in(lazy)[-1] == "closed"


def test_what_waits_for_a_slow_one_goes_on_when_it_reads(selector: selectors.BaseSelector) -> None:
    told = Followers()
    ours, theirs = socket.socketpair()
    told.add(theirs, selector)
    for _ in range(100):
        told.tell({"event": "progress", "much": "x" * 20_000})
    lines, heard, deadline = sockets.LineBuffer(), 0, time.monotonic() + 10
    while heard < 100 and time.monotonic() < deadline:
        heard += len(lines.feed(ours.recv(1 << 16)))
        for key, _ in selector.select(0):
            key.data()
    assert heard == 100


def test_last_words_are_sent_after_the_loop_has_ended(selector: selectors.BaseSelector) -> None:
    told = Followers()
    ours, theirs = socket.socketpair()
    told.add(theirs, selector)
    selector.close()
    told.end()
    told.tell({"event": "summary"})
    told.close()
    assert events_in(ours) == ["summary", "closed"]


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
    last = {"number": 3, "component": "parse", "error": "ValueError: 2", "at": "2026-01-02T03:04:05.000+00:00"}
    assert letters.now() == {"open": 3, "last": last}
    dead_log.mark(path, [1, 3], dead_log.DROPPED)
    assert letters.now() == {"open": 1, "last": last}
    assert OpenLetters(path).now() == {"open": 1, "last": last}


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
