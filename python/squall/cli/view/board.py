"""The live view at work: events and keys come in, the screen is painted, the topology is asked."""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from squall.cli.view.keyboard import Keyboard
from squall.cli.view.painter import Painter
from squall.cli.view.screen import screen
from squall.cli.view.state import RAISED_FOR_S, Act, Event, Known, Pane, Raised, pressed, told

if TYPE_CHECKING:
    from squall.cli.view.live_tap import LiveTap

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
    """One view on one terminal, which is as it was again at the end, however that comes.

    Args:
        share: most of the terminal's height that is used.

    Threading: the main thread only, since sizes, stops and ends come as signals.
    """

    def __init__(self, painter: Painter, keyboard: Keyboard | None, known: Known, *, narrow: bool, share: float = 1.0):
        self._painter, self._keyboard, self._known = painter, keyboard, known
        self._narrow, self._share = narrow, share
        self._steering: Steering | None = None
        self._tap: LiveTap | None = None
        self._looks: set[int] = set()
        self._woken, self._wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = {signal.SIGWINCH: self._wake, signal.SIGCONT: self._wake, signal.SIGTSTP: self._stop}
        handlers |= {signal.SIGQUIT: self._stop}
        self._signals: dict[int, Any] = {number: signal.signal(number, one) for number, one in handlers.items()}
        atexit.register(self.close)
        if keyboard is not None:
            keyboard.take()
        self.paint()

    def steer(self, steering: Steering) -> None:
        """Takes what keys can act on; its loop calls this view from now on."""
        self._steering = steering
        self._look_at(self._woken, self._after_signal)
        self._look_at_keys()

    def take(self, event: Event) -> None:
        """Takes an event in; a new report is painted, unless the view is paused."""
        self._known = told(self._known, event)
        if event["event"] in ("started", "progress", "draining"):
            self.paint()

    def note(self, text: str) -> None:
        """Shows a line at the foot until the next key."""
        self._known = replace(self._known, note=text)
        self.paint()

    def paint(self) -> None:
        """Paints what is known."""
        width, height = self._painter.size
        height = max(1, int(height * self._share))
        if self._tap is not None and not self._known.paused:
            self._known = replace(self._known, tuples=self._tap.lines())
        keys = self._keyboard is not None and self._keyboard.is_taken
        self._painter.show(screen(self._known, width, height, time.monotonic(), keys=keys, narrow=self._narrow))

    def close(self) -> None:
        """Takes the view down and gives the terminal back. May be called again."""
        if not self._signals:
            return
        for number, handler in self._signals.items():
            signal.signal(number, handler)
        self._signals = {}
        atexit.unregister(self.close)
        self._end_tap()
        for fd in [*self._looks]:
            self._look_away(fd)
        os.close(self._woken)
        os.close(self._wakes)
        self._give_back()

    def _give_back(self) -> None:
        if self._keyboard is not None:
            self._keyboard.give_back()
        self._painter.rest()

    def _look_at(self, fd: int, ready: Callable[[], None]) -> None:
        if self._steering is not None and fd not in self._looks:
            self._looks.add(fd)
            self._steering.look_at(fd, ready)

    def _look_away(self, fd: int) -> None:
        if self._steering is not None and fd in self._looks:
            self._looks.remove(fd)
            self._steering.look_away(fd)

    # -- signals -------------------------------------------------------------------------------------------------

    def _wake(self, _signal: int = 0, _frame: object = None) -> None:
        """Another size, new tuples, or this process goes on: looked at by the loop, not between two other steps."""
        with suppress(OSError):  # the pipe is full: it will look
            os.write(self._wakes, b".")

    def _after_signal(self) -> None:
        os.read(self._woken, 1024)
        if self._keyboard is not None:
            self._keyboard.take()
        self._look_at_keys()
        self._painter.begin()
        self.paint()

    def _stop(self, number: int, _frame: object) -> None:
        """Ctrl-Z or Ctrl-\\ does what it always does, with the terminal given back."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._stop)

    # -- keys ----------------------------------------------------------------------------------------------------

    def _look_at_keys(self) -> None:
        if self._keyboard is not None and self._keyboard.is_taken:
            self._look_at(self._keyboard.fd, self._on_keys)

    def _on_keys(self) -> None:
        assert self._keyboard is not None
        for key in self._keyboard.read():
            self._known, act = pressed(self._known, key, time.monotonic())
            if act is not None:
                self._do(act)
        if self._known.pane is not Pane.TAP:
            self._end_tap()
        if not self._keyboard.is_taken:
            self._look_away(self._keyboard.fd)
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
            case Act.TAP:
                self._begin_tap()
            case _:
                pass

    def _begin_tap(self) -> None:
        from squall.cli.view.live_tap import LiveTap

        self._end_tap()
        started, component = self._known.started, self._known.tapped
        if started is not None and component is not None:
            self._tap = LiveTap(Path(started["control"]), started["topology"], component, self._wake)

    def _end_tap(self) -> None:
        if self._tap is not None:
            self._tap.close()
            self._tap = None

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
        elif (busy_with := answer.get("busy_with")) is not None:
            self._known = replace(self._known, note=f"no answer: it is busy in {', '.join(busy_with) or 'its loop'}")
        self.paint()
