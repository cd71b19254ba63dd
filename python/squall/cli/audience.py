"""Who is told of a run: a view, and the file of `--summary`; what a view can do with the run."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, Protocol

from squall.cli.failures import output_unwritable
from squall.cli.streams import STDOUT, lead_output_nowhere
from squall.cli.texts import Event
from squall.engines.embedded.parent import EmbeddedRun
from squall.errors import ClusterError, ConfigError, Defect, SquallError

P = ParamSpec("P")


class View(Protocol):
    """Shows a run to someone."""

    @property
    def stdout_fd(self) -> int:
        """Where sinks write that write to standard output."""
        ...

    def attach(self, helm: Helm, /) -> None:
        """Takes what can be done with the run that is shown, before it begins."""
        ...

    def __call__(self, event: Event, /) -> None:
        """Shows one event."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...


class Audience:
    """All who are told of a run: a view, and the file of `--summary`.

    When one takes no more, the run is ended by a drain and that one is told nothing more. `error` is why, unless it was
    a reader who went away: then the run has nobody left to run for, and nothing is wrong.
    """

    def __init__(self, view: View, summary: SummaryFile | None) -> None:
        self._view, self._summary = view, summary
        self._run: EmbeddedRun | None = None
        self.error: SquallError | None = None

    def attach(self, run: EmbeddedRun) -> None:
        """Takes the run that they are told of, before it begins."""
        self._run = run
        self._view.attach(Helm(run, self._lost))

    def __call__(self, event: Event) -> None:
        """Tells everyone of one event."""
        if self._summary is not None and event["event"] == "summary":
            try:
                self._summary.write(event)
            except ClusterError as error:
                self.error = error
        try:
            self._view(event)
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.error = self.error or output_unwritable(error)
        lost, self._view = self._view, Silence()
        with suppress(OSError):
            lost.close()
        if self._run is not None:
            self._run.interrupt()

    def close(self) -> None:
        """The run is over."""
        try:
            self._view.close()
        except OSError as error:
            self._lost(error)
        if self._summary is not None:
            self._summary.close()


class Helm:
    """What a view can do with the run that it shows.

    Args:
        lost: told when the view's terminal takes no more.
    """

    def __init__(self, run: EmbeddedRun, lost: Callable[[OSError], None]) -> None:
        self._run, self._lost = run, lost

    def quit(self) -> None:
        """Ends the run as Ctrl-C does."""
        self._run.interrupt()

    def ask(self, request: Event, answered: Callable[[Event], None]) -> None:
        """Gives the worker a command."""
        self._run.ask(request, self._guarded(answered))

    def look_at(self, fd: int, ready: Callable[[], None]) -> None:
        """Has `ready` called when something can be read from `fd`."""
        self._run.look_at(fd, self._guarded(ready))

    def look_away(self, fd: int) -> None:
        """Ends `look_at`."""
        self._run.look_away(fd)

    def _guarded(self, shows: Callable[P, None]) -> Callable[P, None]:
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                shows(*args, **kwargs)
            except OSError as error:
                self._lost(error)

        return guarded


class SummaryFile:
    """The file of `--summary`, opened before the run: a path of no use is told before anything has run.

    What is there stays until there is a summary; of a run that did not begin, no new file is left.

    Raises:
        ConfigError: `summary_unwritable`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._is_new = not os.path.lexists(path)
            # A pipe that nobody reads is told, where it would be waited for without O_NONBLOCK.
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except (OSError, ValueError) as error:
            raise ConfigError(self._unwritable(error)) from None

    def write(self, event: Event) -> None:
        """Writes the summary.

        Raises:
            ClusterError: `summary_unwritable`.
        """
        self._is_new = False
        try:
            os.set_blocking(self._fd, True)
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.ftruncate(self._fd, 0)
            with os.fdopen(self._fd, "w", encoding="utf-8", closefd=False) as file:
                json.dump(event, file)
        except OSError as error:
            raise ClusterError(self._unwritable(error)) from None

    def close(self) -> None:
        """The run is over, or did not begin."""
        os.close(self._fd)
        if self._is_new:
            with suppress(OSError):
                os.unlink(self._path)

    def _unwritable(self, error: OSError | ValueError) -> Defect:
        because = error.strerror if isinstance(error, OSError) else None
        facts = (("because", because or str(error)),)
        fix = "name a file in a folder that is there and has room"
        return Defect("summary_unwritable", f'the summary cannot be written to "{self._path}"', facts, fix)


class Silence:
    """Shows nothing, since nobody takes it any more."""

    stdout_fd = STDOUT

    def __init__(self) -> None:
        lead_output_nowhere()

    def attach(self, _helm: Helm) -> None:
        """Nobody is there to act."""

    def __call__(self, event: Event) -> None:
        """Shows nothing."""

    def close(self) -> None:
        """Nothing is open."""
