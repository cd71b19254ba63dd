"""`squall top` and `squall ps`: looking at topologies that other processes run."""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import typer

from squall.cli.background import BackgroundOutput
from squall.cli.commands import chosen, control_socket, no_answer
from squall.cli.following import Following, Question
from squall.cli.streams import STDOUT
from squall.cli.texts import Event, failed_text, links_down, links_text, refused, stuck_head, summary_lines
from squall.cli.view.words import harmless
from squall.engines.embedded.runs import pid_of, running, topology_of
from squall.errors import ClusterError

STDIN = 0
ONCE_HEIGHT = 1000
REPORT_WITHIN_S = 3.0
"""How long a run may take to say how it stands; one says so each second."""


def show(base: Path, name: str | None, *, once: bool, as_json: bool) -> int:
    """Follows a topology; the exit code.

    Raises:
        ClusterError: it does not run, or was lost.
    """
    topology = chosen(base, name, "name one: squall top NAME")
    following = Following(topology, path := control_socket(base, topology))
    try:
        if as_json:
            return _as_json(following, once=once)
        if once:
            return _once(topology, following, path)
        if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            return Top(topology, following, path).run()
        return _as_lines(following)
    except KeyboardInterrupt:
        return 0
    finally:
        following.close()


def _as_json(following: Following, *, once: bool) -> int:
    for event in following.events():
        print(json.dumps(event), flush=True)
        if once and event["event"] == "progress":
            break
    return 0


def _as_lines(following: Following) -> int:
    from squall.cli.plain import PlainView

    view = PlainView(STDOUT)
    for event in following.events():
        view(event)
    view.close()
    return 0


def _once(topology: str, following: Following, path: Path) -> int:
    from rich.console import Console

    from squall.cli.live import is_narrow
    from squall.cli.view.screen import screen
    from squall.cli.view.state import Known, told

    known, console = Known(topology, ""), Console(highlight=False)
    narrow = is_narrow(sys.stdout.encoding or "ascii")
    for event in following.events_within(REPORT_WITHIN_S):
        known = told(known, event)
        if event["event"] in ("progress", "summary"):
            break
    if known.started is None:
        raise no_answer(topology, path, "it has not reported yet")
    for line in screen(known, console.width, ONCE_HEIGHT, time.monotonic(), keys=False, narrow=narrow):
        console.print(line, no_wrap=True, crop=False, overflow="ignore")
    return 0


class Top:
    """The live view of another process's run, on a screen of its own."""

    def __init__(self, topology: str, following: Following, path: Path) -> None:
        from squall.cli.live import is_narrow
        from squall.cli.view.board import Board
        from squall.cli.view.keyboard import Keyboard, usable
        from squall.cli.view.painter import Painter
        from squall.cli.view.state import Known

        self._following, self._path = following, path
        self._selector = selectors.DefaultSelector()
        self._last_words: list[str] = []
        self._left = False
        encoding = sys.stdout.encoding or "ascii"
        self._out = BackgroundOutput(STDOUT)
        painter = Painter(self._out, encoding, own_screen=True)
        keyboard = Keyboard(STDIN) if usable(STDIN) else None
        self._board = Board(painter, keyboard, Known(topology, "Ctrl-C leaves"), narrow=is_narrow(encoding))

    def run(self) -> int:
        """Shows it until the run ends or somebody leaves; the exit code."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)
        try:
            self._board.steer(self)
            self.look_at(self._following.fd, self._events)
            while not self._left:
                for key, _ in self._selector.select():
                    key.data()
        finally:
            self._board.close()
            self._out.close()
            self._selector.close()
        if self._last_words:
            print("\n".join(self._last_words), flush=True)
        return 0

    def _events(self) -> None:
        for event in self._following.read():
            self._board.take(event)
            match event["event"]:
                case "stuck":
                    self._board.note(stuck_head(event))
                case "failed":
                    self._last_words.append(harmless(failed_text(event)))
                case "summary":
                    self._last_words += summary_lines(event)
                    self._left = True
                case _:
                    pass

    # -- what keys can do ----------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Leaves; the run goes on."""
        self._left = True

    def ask(self, request: Event, answered: Callable[[Event], None]) -> None:
        """Gives the worker a command."""
        try:
            question = Question(self._path, request, answered)
        except OSError as error:
            return answered({"error": str(error)})

        def ready() -> None:
            if question.ready():
                self.look_away(question.connection.fileno())
                question.connection.close()

        self.look_at(question.connection.fileno(), ready)

    def look_at(self, fd: int, ready: Callable[[], None]) -> None:
        """Has `ready` called when something can be read from `fd`."""
        self._selector.register(fd, selectors.EVENT_READ, ready)

    def look_away(self, fd: int) -> None:
        """Ends `look_at`."""
        self._selector.unregister(fd)


def _leave(number: int, _frame: object) -> None:
    """Ends the command as the signal would, with the terminal given back."""
    raise SystemExit(128 + number)


COLUMNS = ("TOPOLOGY", "PID", "UP", "PHASE", "IN", "OUT", "PENDING", "FAILED", "DEAD")
RATES, COUNTS = ("emitted_per_s", "out_per_s"), ("pending", "failed", "dead")
FIGURES = (*RATES, *COUNTS)


def show_running(base: Path, *, as_json: bool) -> None:
    """Prints a line for each topology that runs."""
    found: list[Event] = []
    for key, path in running(base).items():
        with suppress(ClusterError):  # it has ended since
            found.append(_status(key, path))
    if as_json:
        for record in found:
            print(json.dumps(record))
        return
    if not found:
        typer.echo(f"nothing is running here ({base})", err=True)
        return
    from rich.cells import cell_len

    rows = [(*COLUMNS, "LINKS"), *map(_cells, found)]
    if not any(row[-1] for row in rows[1:]):  # all is well with them, as mostly
        rows = [row[:-1] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        gaps = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join([row[0] + gaps[0], *(gap + cell for gap, cell in zip(gaps[1:], row[1:], strict=True))]))


def _status(key: str, path: Path) -> Event:
    """A run, and how it stands; figures are None where it has not said."""
    following = Following(topology_of(key), path)
    known: dict[str, Event] = {}
    try:
        for event in following.events_within(REPORT_WITHIN_S):
            known[event["event"]] = event
            if {"started", "progress"} <= known.keys():
                break
    finally:
        following.close()
    started, progress = known.get("started"), known.get("progress", {})
    up_s = round(max(0.0, time.time() - started["at_epoch_ms"] / 1000), 1) if started else None
    phase = progress.get("phase", "starting" if started else "no answer")
    figures = {name: progress.get(name, 0 if started else None) for name in FIGURES}
    links = {"links_down": links_down(progress), "links_refused": refused(progress)}
    return {"topology": topology_of(key), "pid": pid_of(key), "up_s": up_s, "phase": phase, **figures, **links}


def _cells(record: Event) -> tuple[str, ...]:
    from squall.cli.view.words import NOTHING, per_s, span

    def cell(key: str, shown: Callable[[float], str] = "{:,}".format) -> str:
        return NOTHING if record[key] is None else shown(record[key])

    rates = (cell(key, per_s) for key in RATES)
    links = links_text(record["links_down"], record["links_refused"])
    about = (record["topology"], str(record["pid"]), cell("up_s", span), record["phase"])
    return (*about, *rates, *map(cell, COUNTS), links)
