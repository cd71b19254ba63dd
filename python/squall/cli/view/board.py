"""The live view at work: events and keys come in, the screen is painted, the topology is asked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from squall.cli.view.keyboard import Keyboard
from squall.cli.view.painter import Painter
from squall.cli.view.screen import screen
from squall.cli.view.state import RAISED_FOR_S, Act, Event, Known, Pane, Raised, pressed, told

Answered = Callable[[Event], None]


class Steering(Protocol):
    """What the view can do with a run."""

    def quit(self) -> None:
        """Somebody wants to leave."""
        ...

    def ask(self, request: Event, answered: Answered, /) -> None:
        """Gives the worker a command."""
        ...

    def look_at(self, fd: int, ready: Callable[[], None], /) -> None:
        """Has `ready` called when something can be read from `fd`."""
        ...

    def look_away(self, fd: int, /) -> None:
        """Ends `look_at`."""
        ...


class Board:
    """One view on one terminal.

    Args:
        share: most of the terminal's height that is used.
    """

    def __init__(self, painter: Painter, keyboard: Keyboard | None, known: Known, *, narrow: bool, share: float = 1.0):
        self._painter, self._keyboard, self._known = painter, keyboard, known
        self._narrow, self._share = narrow, share
        self._steering: Steering | None = None
        self._resized, self._resizes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: Any = signal.signal(signal.SIGWINCH, self._on_resize)
        self.paint()

    def steer(self, steering: Steering) -> None:
        """Takes what keys can act on; its loop calls this view from now on."""
        self._steering = steering
        steering.look_at(self._resized, self._after_resize)
        if self._keyboard is not None:
            steering.look_at(self._keyboard.fd, self._on_keys)

    def take(self, event: Event) -> None:
        """Takes an event in; a new report is painted, unless the view is paused."""
        self._known = told(self._known, event)
        if event["event"] in ("started", "progress", "draining"):
            self.paint()

    def paint(self) -> None:
        """Paints what is known."""
        width, height = self._painter.size
        height = max(1, int(height * self._share))
        keys = self._keyboard is not None and self._keyboard.is_open
        self._painter.show(screen(self._known, width, height, time.monotonic(), keys=keys, narrow=self._narrow))

    def close(self) -> None:
        """Takes the view down and gives the terminal back. May be called again."""
        if self._keyboard is not None:
            self._keyboard.close()
        if self._before is not None:
            signal.signal(signal.SIGWINCH, self._before)
            self._before = None
            os.close(self._resized)
            os.close(self._resizes)
        self._painter.close()

    # -- keys ----------------------------------------------------------------------------------------------------

    def _on_keys(self) -> None:
        assert self._keyboard is not None
        for key in self._keyboard.read():
            self._known, act = pressed(self._known, key, time.monotonic())
            if act is not None:
                self._do(act)
        if not self._keyboard.is_open and self._steering is not None:
            self._steering.look_away(self._keyboard.fd)
        self.paint()

    def _do(self, act: Act) -> None:
        assert self._steering is not None
        match act:
            case Act.QUIT:
                self._steering.quit()
            case Act.RAISE_LEVEL:
                request = {"cmd": "log-level", "logger": "root", "level": "DEBUG", "for_s": RAISED_FOR_S}
                self._steering.ask(request, self._raised)
            case Act.RESTORE_LEVEL if self._known.raised is not None:
                request = {"cmd": "log-level", "logger": "root", "level": self._known.raised.before, "for_s": None}
                self._steering.ask(request, self._restored)
            case Act.STACKS:
                self._known = replace(self._known, stacks=())
                self._steering.ask({"cmd": "stacks"}, self._stacks)
            case _:
                pass

    def _raised(self, answer: Event) -> None:
        if "before" in answer:
            raised = Raised(answer["before"], time.monotonic() + RAISED_FOR_S)
            self._known = replace(self._known, raised=raised)
        self._paint_noted(answer)

    def _restored(self, answer: Event) -> None:
        self._known = replace(self._known, raised=None, note=f"log level {answer.get('level')} again")
        self._paint_noted(answer)

    def _stacks(self, answer: Event) -> None:
        stacks = answer.get("stacks", "")
        self._known = replace(self._known, pane=Pane.STACKS, stacks=(self._kept(stacks), *stacks.splitlines()))
        self._paint_noted(answer)

    def _kept(self, stacks: str) -> str:
        """Writes stacks beside the run's log, where old logs are cleared away; says where."""
        log = self._known.started["log"] if self._known.started else ""
        path = Path(f"{log}.stacks-{datetime.now():%H%M%S}")
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(stacks)
        except OSError as error:
            return f"not written to {path}: {error.strerror}"
        return f"written to {path}"

    def _paint_noted(self, answer: Event) -> None:
        if because := answer.get("error"):
            self._known = replace(self._known, note=f"refused: {because}")
        self.paint()

    # -- size ----------------------------------------------------------------------------------------------------

    def _on_resize(self, _signal: int, _frame: object) -> None:
        with suppress(OSError):  # a look at the new size waits already
            os.write(self._resizes, b".")

    def _after_resize(self) -> None:
        os.read(self._resized, 1024)
        self.paint()
