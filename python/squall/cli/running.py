"""`squall run`: loads and checks the topology, runs it in the embedded engine, shows what happens."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from squall.cli.checking import missing_workers
from squall.cli.exits import exits_told
from squall.cli.failures import output_unwritable
from squall.cli.streams import STDERR, STDOUT, lead_output_nowhere, prints_kept_back
from squall.cli.texts import Event
from squall.config.load import Given, load
from squall.engines.embedded.parent import EmbeddedRun, Order
from squall.errors import ClusterError, ConfigError, Defect, SquallError
from squall.model.durations import parse_duration
from squall.model.graph import Graph
from squall.planner.load import load_topology, split_target
from squall.planner.validate import validate
from squall.runtime.output import StandardOutput


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line of `squall run` says."""

    target: str
    parameters: list[str]
    settings: list[str]
    for_: str | None
    drain: str | None
    as_json: bool
    summary: str | None
    log_level: str | None
    from_start: bool = False


class View(Protocol):
    """Shows a run to someone."""

    def __call__(self, event: Event, /) -> None:
        """Shows one event."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...


def duration(option: str, text: str | None) -> float | None:
    """Seconds of an option's value.

    Raises:
        ConfigError: `duration_invalid`.
    """
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError:
        fix = "write 20s, 5m or 250ms"
        raise ConfigError(Defect("duration_invalid", f'"{option} {text}" is no duration', (), fix)) from None


def run_topology(asked: Asked) -> int:
    """Runs a topology; the exit code.

    Raises:
        SquallError: what is wrong with the command or the topology, before anything runs; an output that did not take
            what a run told, after it.
    """
    file, name = split_target(asked.target)
    settings = _settings(asked)
    for_s, drain_s = duration("--for", asked.for_), duration("--drain", asked.drain)
    json_view = JsonView() if asked.as_json else None  # before user code runs, which may print
    with prints_kept_back(), exits_told():
        graph = validate(load_topology(file, name, asked.parameters), settings)
    for warning in missing_workers(graph):
        print(f"warning: {warning}", file=sys.stderr)
    order = Order(
        file=file,
        name=name,
        parameters=asked.parameters,
        settings=settings,
        for_s=for_s,
        drain_s=drain_s if drain_s is not None else graph.settings["topology.drain.secs"],
        stdout_fd=STDERR if asked.as_json else STDOUT,
        from_start=asked.from_start,
    )
    summary = SummaryFile(asked.summary) if asked.summary is not None else None
    audience = Audience(json_view or _view(graph), summary)
    run = EmbeddedRun(order, graph, audience)
    audience.on_loss = run.interrupt
    try:
        code = run()
    finally:
        audience.close()
    if audience.error is not None:
        raise audience.error
    return code


def _settings(asked: Asked) -> dict[str, Any]:
    level = asked.log_level
    options = [] if level is None else [Given("worker.log.level", level, f"--log-level {level}")]
    return load(asked.settings, options=options)


def _view(graph: Graph) -> View:
    """What shows the run: nothing but its sinks' lines goes to a standard output that sinks write to."""
    prints = any(spec.prints for spec in graph.components.values())
    if sys.stdout.isatty() and not prints:
        from squall.cli.live import LiveView

        return LiveView()
    from squall.cli.plain import PlainView

    return PlainView(sys.stderr if prints else sys.stdout)


class Audience:
    """All who are told of a run: a view, and the file of `--summary`.

    When one takes no more, the run is ended by a drain and that one is told nothing more. `error` is why, unless it was
    a reader who went away: then the run has nobody left to run for, and nothing is wrong.
    """

    def __init__(self, view: View, summary: SummaryFile | None) -> None:
        self._view, self._summary = view, summary
        self.on_loss: Callable[[], None] = lambda: None
        self.error: SquallError | None = None

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
        self._view = Silence()
        self.on_loss()

    def close(self) -> None:
        """The run is over."""
        with suppress(OSError):
            self._view.close()


class SummaryFile:
    """The file of `--summary`, opened before the run: a path of no use is told before anything has run.

    Raises:
        ConfigError: `summary_unwritable`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (it is written at the end of the run)
        except (OSError, ValueError) as error:
            raise ConfigError(self._unwritable(error)) from None

    def write(self, event: Event) -> None:
        """Writes the summary.

        Raises:
            ClusterError: `summary_unwritable`.
        """
        try:
            with self._file as file:
                json.dump(event, file)
        except OSError as error:
            raise ClusterError(self._unwritable(error)) from None

    def _unwritable(self, error: OSError | ValueError) -> Defect:
        because = error.strerror if isinstance(error, OSError) else None
        facts = (("because", because or str(error)),)
        fix = "name a file in a folder that is there and has room"
        return Defect("summary_unwritable", f'the summary cannot be written to "{self._path}"', facts, fix)


class Silence:
    """Shows nothing, since nobody takes it any more."""

    def __init__(self) -> None:
        lead_output_nowhere()

    def __call__(self, event: Event) -> None:
        """Shows nothing."""

    def close(self) -> None:
        """Nothing is open."""


class JsonView:
    """Events as JSON lines on what standard output was; all that is printed goes to standard error from now on."""

    def __init__(self) -> None:
        self._out = StandardOutput(os.dup(STDOUT))
        os.dup2(STDERR, STDOUT)

    def __call__(self, event: Event) -> None:
        """Prints one event."""
        if event["event"] in ("log", "failed"):
            print(event["text"], file=sys.stderr, flush=True)
        if event["event"] != "log":
            self._out.write(f"{json.dumps(event)}\n".encode())

    def close(self) -> None:
        """Nothing is open."""
