"""`squall run`: loads and checks the topology, runs it in the embedded engine, shows what happens."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from squall.cli.audience import Audience, Helm, SummaryFile, View
from squall.cli.background import BackgroundOutput
from squall.cli.exits import exits_told
from squall.cli.placing import with_workers, workers_asked
from squall.cli.streams import STDERR, STDOUT, prints_kept_back
from squall.cli.texts import Event
from squall.cluster.placement import place
from squall.config.load import Given, load
from squall.engines.embedded.parent import EmbeddedRun, Order
from squall.errors import ConfigError, Defect
from squall.model.durations import parse_duration
from squall.model.graph import Graph
from squall.planner.load import load_topology, split_target
from squall.planner.validate import validate


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
    log_format: str | None = None
    metrics: str | None = None
    otel: bool = False
    workers: str | None = None


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
    settings, asked_workers = _settings(asked), workers_asked(asked.workers)
    for_s, drain_s = duration("--for", asked.for_), duration("--drain", asked.drain)
    json_view = JsonView() if asked.as_json else None  # before user code runs, which may print
    with prints_kept_back(), exits_told():
        graph = validate(load_topology(file, name, asked.parameters), settings)
    graph_for, _ = with_workers(graph, asked_workers)
    if note := place(graph, graph_for.workers).note:
        print(f"warning: {note}", file=sys.stderr)
    summary = SummaryFile(asked.summary) if asked.summary is not None else None
    view = json_view or _view(graph)
    order = Order(
        file=file,
        name=name,
        parameters=asked.parameters,
        settings=settings,
        for_s=for_s,
        drain_s=drain_s if drain_s is not None else graph.settings["topology.drain.secs"],
        stdout_fd=view.stdout_fd,
        from_start=asked.from_start,
        workers=graph_for.workers,
    )
    audience = Audience(view, summary)
    try:
        run = EmbeddedRun(order, graph, audience)
        audience.attach(run)
        code = run()
    finally:
        audience.close()
    if audience.error is not None:
        raise audience.error
    return code


def _settings(asked: Asked) -> dict[str, Any]:
    said = (
        ("worker.log.level", "--log-level", asked.log_level),
        ("worker.log.format", "--log-format", asked.log_format),
        ("metrics.prometheus.address", "--metrics", asked.metrics),
    )
    options = [Given(key, value, f"{option} {value}") for key, option, value in said if value is not None]
    if asked.otel:
        options.append(Given("metrics.otel", True, "--otel"))
    return load(asked.settings, options=options)


def _view(graph: Graph) -> View:
    """What shows the run: nothing but its sinks' lines goes to a pipe or file that sinks write to."""
    prints = any(spec.prints for spec in graph.components.values())
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from squall.cli.live import LiveView

        reads = any(spec.reads_stdin for spec in graph.spouts)
        return LiveView(graph.name, prints=prints, reads=reads)
    from squall.cli.plain import PlainView

    return PlainView(STDERR if prints else STDOUT)


class JsonView:
    """Events as JSON lines on what standard output was; all that is printed goes to standard error from now on."""

    stdout_fd = STDERR

    def __init__(self) -> None:
        self._fd = os.dup(STDOUT)
        self._out = BackgroundOutput(self._fd)
        os.dup2(STDERR, STDOUT)

    def attach(self, _helm: Helm) -> None:
        """Events are all that it shows."""

    def __call__(self, event: Event) -> None:
        """Prints one event; a report that comes while others wait is left out, as the next one tells it too."""
        match event["event"]:
            case "log":
                return self._out.offer(f"{event['text']}\n".encode(errors="replace"), STDERR)
            case "failed":
                self._out.write(f"{event['text']}\n".encode(errors="replace"), STDERR)
            case "progress" if self._out.is_behind:
                return
            case _:
                pass
        self._out.write(f"{json.dumps(event)}\n".encode())

    def close(self) -> None:
        """Waits until all is printed."""
        try:
            self._out.close()
        finally:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
