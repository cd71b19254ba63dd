"""What holds of lines on a run's control socket: those that are commands are answered, be they ever so malformed.

However the lines are cut on their way, the same ones are taken. A logger is set for a time that a timer can wait.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from laws.script import Script, folder
from squall import Bolt, Spout, Topology
from squall.config.load import load
from squall.engines.embedded.sockets import LineBuffer, line
from squall.planner.validate import validate
from squall.runtime import levels
from squall.runtime.levels import Levels
from squall.runtime.positions import Positions
from squall.runtime.stages import Stages
from squall.runtime.taps import Taps
from squall.runtime.worker import WorkerProcess

LOG, ROOT = logging.getLogger("squall.worker"), logging.getLogger()
MAX_BYTES = 400


class Numbers(Spout):
    """What may be tapped."""

    outputs = ("number", "password")

    def next_tuple(self) -> None:
        """Nothing."""


class Words(Bolt):
    """What may be tapped, too."""

    outputs = ("word",)

    def process(self, number: int, password: str) -> None:
        """Nothing."""


TOPOLOGY = Topology("orders")
TOPOLOGY.bolt("words", Words()).shuffle(TOPOLOGY.spout("numbers", Numbers()))
GRAPH = validate(TOPOLOGY, load(folder=folder()))
COMMANDS = (
    *("log-level", "log-level-reset", "log-levels", "stage", "wave", "tap", "untap", "position-stored", "other"),
    *(None, 5, []),
)
STAGE = {"number": 1, "kind": "drain", "component": None}
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2.5, 1e300, 10**30, float("nan"), [], {}, ["a"], STAGE, "", "numbers", "words", "default"),
    *("squall", "root", "INFO", "debug", "NOSUCH", "number > 1", "password == 'a'", "f("),
)
KEYS = (
    *("logger", "level", "for_s", "stage", "wave", "component", "stream", "where", "ratio", "as_text", "tap", "task"),
    *("number", "done", "id"),
)


class _Timer:
    """One that does not wait, but would have to."""

    def __init__(self, after_s: float, act: object) -> None:
        assert after_s <= threading.TIMEOUT_MAX, "the timer's thread would die of it"

    def start(self) -> None:
        """Nothing."""

    cancel = start


TIMERS = patch.object(levels, "threading", SimpleNamespace(Timer=_Timer, Lock=threading.Lock))


@contextmanager
def _loggers_as_before() -> Iterator[None]:
    loggers, level = dict(logging.Logger.manager.loggerDict), ROOT.level
    LOG.disabled = True  # what fails is told there
    try:
        yield
    finally:
        LOG.disabled = False
        ROOT.setLevel(level)
        logging.Logger.manager.loggerDict.clear()
        logging.Logger.manager.loggerDict.update(loggers)


def check(data: bytes) -> None:
    """The bytes are lines, or say what commands there are."""
    script = Script(data)
    cuts = [1 + script.below(64) for _ in range(3)]
    stream = b"".join(_lines(script)) if script.byte() % 2 else script.rest()
    requests = _cut(stream, cuts)
    assert json.dumps(requests) == json.dumps(_whole(stream)), "the same lines, however they are cut"
    with TIMERS, _loggers_as_before():
        worker = _worker()
        try:
            for number, request in enumerate(requests):
                _ask(worker, number, request)
        finally:
            for number in range(len(requests)):
                worker.taps.close(number)


def _lines(script: Script) -> list[bytes]:
    lines: list[bytes] = []
    while script and len(lines) < 12:
        request = {"cmd": script.one_of(COMMANDS)}
        request |= {script.one_of(KEYS): script.one_of(VALUES) for _ in range(script.below(6))}
        lines.append(line(request) if script.byte() % 8 else script.bytes(20) + b"\n")
    return lines


def _cut(stream: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    buffer, requests, at = LineBuffer(MAX_BYTES), list[dict[str, Any]](), 0
    for length in cuts * (1 + len(stream) // sum(cuts)):
        requests += buffer.feed(stream[at : at + length])
        at += length
        assert len(buffer._rest) <= MAX_BYTES
    return requests


def _whole(stream: bytes) -> list[dict[str, Any]]:
    requests: list[dict[str, Any]] = []
    for one in stream.split(b"\n")[:-1]:
        try:
            request = json.loads(one)
        except (ValueError, RecursionError):
            continue
        if isinstance(request, dict) and len(one) < MAX_BYTES:
            requests.append(request)
    return requests


def _worker() -> WorkerProcess:
    """A worker as far as it answers commands; its core stands still."""
    standing: dict[str, Any] = dict.fromkeys(("activity", "moving", "in_call", "kept", "pending", "held"), 0)
    standing |= {"due": None, "exhausted": True, "only_polls": True, "sent": 0, "received": 0}
    core: Any = SimpleNamespace(request_stop=lambda: None, standing=lambda: standing, monotonic=lambda: 0.0)
    built: Any = SimpleNamespace(tasks=[])
    worker = object.__new__(WorkerProcess)
    worker.levels, worker.taps = Levels(), Taps(GRAPH, core, lambda _line: True)
    worker.stages = Stages(core, lambda _stage: None)
    worker.positions = Positions(built, [], lambda *_: None, lambda *_: None)
    worker.session = SimpleNamespace(send=json.loads)
    return worker


def _ask(worker: WorkerProcess, number: int, request: dict[str, Any]) -> None:
    answered = worker.answer(line(request | {"id": number}))
    if answered is None:
        assert request.get("cmd") in ("stage", "wave", "position-stored"), request
        return
    answer = json.loads(answered)
    assert answer["id"] == number, answer
    assert len(answer) > 1 or request.get("cmd") == "untap", answer
    assert isinstance(answer.get("error", ""), str)
    for defect in answer.get("defects", []):
        assert defect["code"] and defect["message"]
