"""`squall run`: loads and checks the topology, runs it in the embedded engine, shows what happens."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Protocol

from squall.cli.checking import missing_workers
from squall.cli.texts import Event
from squall.config.load import load
from squall.engines.embedded.parent import EmbeddedRun, Order
from squall.errors import ConfigError, Defect
from squall.model.durations import parse_duration
from squall.planner.load import load_topology, split_target
from squall.planner.validate import validate


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


def run_topology(
    target: str,
    parameters: list[str],
    overrides: list[str],
    for_: str | None,
    drain: str | None,
    as_json: bool,
    summary: str | None,
) -> int:
    """Runs a topology; the exit code."""
    file, name = split_target(target)
    settings = load(overrides)
    for_s, drain_s = duration("--for", for_), duration("--drain", drain)
    graph = validate(load_topology(file, name, parameters), settings)
    for warning in missing_workers(graph):
        print(f"warning: {warning}", file=sys.stderr)
    prints = any(spec.prints for spec in graph.components.values())
    order = Order(
        file=file,
        name=name,
        parameters=parameters,
        settings=settings,
        for_s=for_s,
        drain_s=drain_s if drain_s is not None else graph.settings["topology.drain.secs"],
        stdout_fd=2 if as_json else 1,
    )
    view = _view(as_json, prints)

    def tell(event: Event) -> None:
        nonlocal view
        if summary is not None and event["event"] == "summary":
            Path(summary).write_text(json.dumps(event), encoding="utf-8")
        try:
            view(event)
        except BrokenPipeError:
            view = Silence()
            run.interrupt()

    run = EmbeddedRun(order, graph, tell)
    try:
        return run()
    finally:
        view.close()


def _view(as_json: bool, prints: bool) -> View:
    """What shows the run: nothing but its sinks' lines goes to a standard output that sinks write to."""
    if as_json:
        return JsonView()
    if sys.stdout.isatty() and not prints:
        from squall.cli.live import LiveView

        return LiveView()
    from squall.cli.plain import PlainView

    return PlainView(sys.stderr if prints else sys.stdout)


class Silence:
    """Shows nothing, since nobody is there any more; what Python still wants to flush at its end goes nowhere."""

    def __init__(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)

    def __call__(self, event: Event) -> None:
        """Shows nothing."""

    def close(self) -> None:
        """Nothing is open."""


class JsonView:
    """Events as JSON lines on standard output; user prints and logs on standard error."""

    def __call__(self, event: Event) -> None:
        """Prints one event."""
        if event["event"] in ("log", "failed"):
            print(event["text"], file=sys.stderr, flush=True)
        if event["event"] != "log":
            print(json.dumps(event), flush=True)

    def close(self) -> None:
        """Nothing is open."""
