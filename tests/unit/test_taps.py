"""Taps inside a worker: who sees what, and the relay of the parent."""

from __future__ import annotations

import errno
import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from squall import Bolt, Emit, Topology, _core
from squall.cluster.stuck import Stuck
from squall.engines.embedded import control as control_module
from squall.engines.embedded import sockets
from squall.engines.embedded.control import MAX_UNREAD_BYTES, Control
from squall.engines.embedded.followers import Followers
from squall.planner.validate import validate
from squall.runtime.taps import MAX_LINE_CHARS, MAX_TAPS, Taps
from squall.testing import LocalCluster


class Split(Bolt):
    outputs = ("word", "n")
    streams = {"odd": ("n", "password")}  # noqa: RUF012

    def process(self, n: int) -> list[Any]:
        return [(f"w{n}", n), Emit(n, "secret", stream="odd")]


def topology() -> Topology:
    topology = Topology("t")
    split = topology.bolt("split", Split, parallelism=2).shuffle(topology.spout("s", lambda: iter(()), outputs=("n",)))
    topology.bolt("last", lambda word, n: None).shuffle(split)
    texts = topology.spout("texts", lambda: iter(()), outputs=("text",))
    topology.bolt("reader", lambda text: None).shuffle(texts)
    return topology


class Tapping:
    """A cluster with taps, and what they sent."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.sent: list[dict[str, Any]] = []
        self.takes = True
        self.taps = Taps(validate(topology()), cluster.worker, self._send)
        self.taps.attach(cluster._built)  # pyright: ignore[reportPrivateUsage]
        self._number = 0

    def _send(self, line: bytes) -> bool:
        self.sent.append(json.loads(line))
        return self.takes

    def open(self, component: str, **request: Any) -> dict[str, Any]:
        self._number += 1
        return self.taps.open(self._number, {"component": component, **request})

    def feed(self, *values: int) -> None:
        self.cluster.feed("s", values)
        self.cluster.run_until_idle()

    def rows(self, number: int = 1) -> list[list[Any]]:
        """Stream and values of what a tap has been sent, sorted."""
        self.taps.end()
        return sorted(row[2:] for line in self.sent if line["tap"] == number for row in line["rows"])


@pytest.fixture
def tapping() -> Iterator[Tapping]:
    with LocalCluster(topology(), mock_sources={"s": [], "texts": []}) as cluster:
        tapping = Tapping(cluster)
        yield tapping
        for number in range(1, 20):
            tapping.taps.close(number)


def test_a_tap_sees_every_task_and_stream_from_now_on_and_no_secret(tapping: Tapping) -> None:
    tapping.feed(0)
    assert tapping.open("split") == {"tap": 1, "streams": {"default": ("word", "n"), "odd": ("n", "password")}}
    tapping.feed(1, 2)
    assert tapping.rows() == [
        ["default", ["w1", 1]],
        ["default", ["w2", 2]],
        ["odd", [1, "***"]],
        ["odd", [2, "***"]],
    ]
    assert len({row[1] for line in tapping.sent for row in line["rows"]}) == 2


def test_one_thread_serves_all_taps_however_often_they_are_switched(tapping: Tapping) -> None:
    def serving() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "squall-taps"]

    before = serving()  # of other tests, on their way out
    for number in range(1, 11):
        tapping.open("split")
        assert len(set(serving()) - set(before)) == 1
        tapping.taps.close(number)
    deadline_s = time.monotonic() + 10
    while serving() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not serving()
    tapping.open("split")
    assert len(serving()) == 1


def test_a_tap_of_one_stream_by_an_expression(tapping: Tapping) -> None:
    tapping.open("split", stream="default", where="n > 1 and word.startswith('w')", as_text=True)
    tapping.feed(1, 2, 3)
    assert tapping.rows() == [["default", ["'w2'", "2"]], ["default", ["'w3'", "3"]]]


def test_an_expression_chooses_the_streams_that_have_its_fields(tapping: Tapping) -> None:
    assert tapping.open("split", where="word == 'w1'")["streams"] == {"default": ("word", "n")}
    assert list(tapping.open("split", where="n == 1")["streams"]) == ["default", "odd"]


def test_an_expression_that_raises_is_no_match_and_counted(tapping: Tapping) -> None:
    tapping.open("split", stream="default", where="1 / (n - 2) > 0")
    tapping.feed(1, 2, 3)
    assert tapping.rows() == [["default", ["w3", 3]]]
    assert tapping.sent[-1]["counts"] == {"passed": 3, "skipped": 0, "raised": 1, "last_error": "ZeroDivisionError"}


def test_several_taps_of_a_stream_see_it_each_in_its_way(tapping: Tapping) -> None:
    tapping.open("split", stream="default", where="n == 1")
    tapping.open("split", stream="default", where="n == 2")
    tapping.feed(1, 2)
    tapping.taps.close(1)
    tapping.feed(1, 2)
    assert tapping.rows(1) == []
    assert tapping.rows(2) == [["default", ["w2", 2]], ["default", ["w2", 2]]]


def test_what_a_test_records_is_the_same_with_taps(tapping: Tapping) -> None:
    tapping.open("split", ratio=0.5)
    tapping.feed(1, 2)
    assert sorted(tapping.cluster.emitted("split")) == [("w1", 1), ("w2", 2)]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"component": "spilt"}, "component_unknown"),
        ({"component": "__dead_letters"}, "component_unknown"),
        ({"component": "split", "stream": "even"}, "stream_unknown"),
        ({"component": "last"}, "tap_nothing"),
        ({"component": "split", "where": "n >"}, "expression_invalid"),
        ({"component": "split", "where": "m > 1"}, "expression_field_unknown"),
        ({"component": "split", "where": "word == password"}, "expression_field_unknown"),
    ],
)
def test_what_does_not_exist_is_told_before_anything_starts(
    tapping: Tapping, request_: dict[str, Any], code: str
) -> None:
    answer = tapping.open(**request_)
    assert [defect["code"] for defect in answer["defects"]] == [code]
    tapping.feed(1)
    assert tapping.rows() == []


def test_there_are_only_so_many_taps(tapping: Tapping) -> None:
    answers = [tapping.open("s") for _ in range(MAX_TAPS + 1)]
    assert [answer.get("defects", [{}])[0].get("code") for answer in answers] == [None] * MAX_TAPS + ["tap_limit"]
    tapping.taps.close(1)
    assert "tap" in tapping.open("s")


def test_what_is_beyond_the_rate_or_not_taken_is_skipped_and_counted(tapping: Tapping) -> None:
    """In simulated time no time passes: one burst is shown."""
    tapping.open("s")
    tapping.takes = False
    tapping.feed(*range(1000))
    shown = len(tapping.rows())
    assert 0 < shown < 1000
    tapping.taps.end()
    assert tapping.sent[-1]["counts"]["skipped"] == 1000


def test_long_tuples_are_sent_in_several_lines(tapping: Tapping) -> None:
    tapping.open("texts")
    tapping.cluster.feed("texts", ["名" * 5000] * 40)
    tapping.cluster.run_until_idle()
    assert [len(row[1][0]) for row in tapping.rows()] == [1025] * 40
    assert len(tapping.sent) > 1
    assert max(len(json.dumps(line)) for line in tapping.sent) < 2 * MAX_LINE_CHARS


def test_a_gate_refuses_what_is_no_share() -> None:
    for ratio in (0, -1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="no share"):
            _core.TapGate(ratio=ratio)


# -- the parent's relay ----------------------------------------------------------------------------------------------


class Relay:
    """A control socket with one client."""

    def __init__(self, listener: socket.socket, selector: selectors.BaseSelector, client: socket.socket) -> None:
        self.selector, self.client = selector, client
        self.asked: list[dict[str, Any]] = []
        self.control = Control(listener, self.asked.append, self.asked.append, selector, Followers())

    def serve(self) -> None:
        for key, _ in self.selector.select(1):
            key.data()

    def tapped(self, rows: list[Any]) -> None:
        self.control.tapped({"tap": 1, "rows": rows, "counts": {}})

    def open(self) -> None:
        self.client.sendall(sockets.line({"cmd": "tap"}))
        while not self.asked:
            self.serve()
        self.control.answered({"id": 1, "tap": 1})


@pytest.fixture
def relay() -> Iterator[Relay]:
    with _listener() as (listener, client), selectors.DefaultSelector() as selector:
        yield Relay(listener, selector, client)


@contextmanager
def _listener(kind: type[socket.socket] = socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    with kind(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("")  # a name that the kernel chooses
        listener.listen()
        client.connect(listener.getsockname())
        client.settimeout(10)
        yield listener, client


def test_lines_of_a_tap_go_to_who_asked_and_the_end_is_told(relay: Relay) -> None:
    relay.open()
    relay.tapped([[1, 2, "default", ["a"]]])
    relay.control.end()
    with relay.client.makefile() as lines:
        told = [json.loads(line) for line in lines]
    assert told == [{"id": 1, "tap": 1}, {"rows": [[1, 2, "default", ["a"]]], "counts": {}}, {"ended": True}]


def test_who_looks_is_told_of_a_call_that_does_not_return(relay: Relay) -> None:
    relay.open()
    relay.control.tell_stuck(Stuck(1, "count", since_s=2.0, call=7, waits_for="a table"), 12.04)
    relay.control.end()
    with relay.client.makefile() as lines:
        told = {"component": "count", "running_s": 10.0, "waits_for": "a table"}
        assert json.loads(list(lines)[1]) == {"stuck": told}


def test_a_tap_ends_when_its_asker_goes_away(relay: Relay) -> None:
    relay.open()
    relay.client.close()
    relay.serve()
    assert relay.asked[1:] == [{"cmd": "untap", "tap": 1}]
    relay.tapped([])


def test_a_tap_whose_asker_went_away_before_the_answer_ends(relay: Relay) -> None:
    relay.client.sendall(sockets.line({"cmd": "tap"}))
    relay.client.close()
    while len(relay.asked) < 1:
        relay.serve()
    relay.serve()
    relay.control.answered({"id": 1, "tap": 1})
    assert relay.asked[1:] == [{"cmd": "untap", "tap": 1}]


def test_one_who_does_not_read_is_cut_off_and_holds_nobody_up(relay: Relay) -> None:
    relay.open()
    row = ["x" * 10_000]
    for _ in range(MAX_UNREAD_BYTES // 10_000 + 100):
        relay.tapped(row)
    assert relay.asked[1:] == [{"cmd": "untap", "tap": 1}]
    while relay.client.recv(1 << 20):
        pass


def test_an_asker_who_does_not_read_answers_is_cut_off_and_holds_nobody_up(relay: Relay) -> None:
    relay.client.sendall(sockets.line({"cmd": "stacks"}) * 20)
    while len(relay.asked) < 20:
        relay.serve()
    for number in range(1, 21):
        relay.control.answered({"id": number, "stacks": "x" * (1 << 20)})
    while relay.client.recv(1 << 20):
        pass


def test_an_asker_who_is_gone_when_it_is_told_that_the_worker_is_busy_ends_nothing(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.client.sendall(sockets.line({"cmd": "stacks"}) * 3)
    while len(relay.asked) < 3:
        relay.serve()
    relay.client.close()
    monkeypatch.setattr(control_module, "LATE_S", -1.0)
    relay.control.pass_time(list)


def test_a_command_that_is_nested_too_deeply_ends_nothing(relay: Relay) -> None:
    for depth in range(800, 1010, 3):  # from what can be read, passed on, to what can be neither
        relay.client.sendall(b'{"cmd":' + b"[" * depth + b"]" * depth + b"}\n")
        relay.serve()
    relay.client.sendall(sockets.line({"cmd": "stacks"}))
    while not relay.asked or relay.asked[-1]["cmd"] != "stacks":
        relay.serve()


class FullListener(socket.socket):
    """A listening socket of a process that has no descriptors left."""

    is_full = True

    def accept(self) -> tuple[socket.socket, Any]:
        if self.is_full:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_without_descriptors_who_comes_waits_quietly_until_there_is_one() -> None:
    with _listener(FullListener) as (listener, client), selectors.DefaultSelector() as selector:
        relay = Relay(listener, selector, client)
        client.sendall(sockets.line({"cmd": "stacks"}))
        relay.serve()
        assert not selector.get_map()
        assert isinstance(listener, FullListener)
        listener.is_full = False
        relay.control.pass_time(list)
        while not relay.asked:
            relay.serve()


def test_lines_that_wait_are_shown_when_there_is_room(relay: Relay) -> None:
    relay.open()
    sent = MAX_UNREAD_BYTES // 20_000
    for _ in range(sent):
        relay.tapped(["x" * 10_000])
    buffer = sockets.LineBuffer()
    seen = 0
    while seen < sent + 1:
        relay.control.pass_time(list)
        seen += len(buffer.feed(relay.client.recv(1 << 20)))
    assert relay.asked[1:] == []


def test_who_waits_for_a_busy_worker_is_told_with_what(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    relay.client.sendall(sockets.line({"cmd": "tap"}))
    while not relay.asked:
        relay.serve()
    relay.control.pass_time(lambda: ["count"])
    monkeypatch.setattr(control_module, "LATE_S", -1.0)
    relay.control.pass_time(lambda: ["count"])
    assert json.loads(relay.client.recv(1000)) == {"id": 1, "busy_with": ["count"]}
    relay.control.answered({"id": 1, "tap": 1})
    assert relay.asked[1:] == [{"cmd": "untap", "tap": 1}]
