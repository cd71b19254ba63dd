"""`squall run`: loads and checks the topology, runs it in the embedded engine, shows what happens."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Protocol

from squall.config.durations import parse_duration
from squall.config.load import load
from squall.engines.embedded.parent import EmbeddedRun, Order
from squall.errors import ConfigError, Defect
from squall.planner.load import load_topology, split_target
from squall.planner.plan import plan
from squall.planner.validate import validate

Event = dict[str, Any]


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
    order = Order(
        file=file,
        name=name,
        parameters=parameters,
        settings=settings,
        for_s=for_s,
        drain_s=drain_s if drain_s is not None else graph.settings["topology.drain.secs"],
    )
    view: View
    if as_json:
        view = JsonView()
    elif sys.stdout.isatty():
        from squall.cli.live import LiveView

        view = LiveView(graph)
    else:
        from squall.cli.plain import PlainView

        view = PlainView()

    def tell(event: Event) -> None:
        view(event)
        if summary is not None and event["event"] == "summary":
            Path(summary).write_text(json.dumps(event), encoding="utf-8")

    try:
        return EmbeddedRun(order, graph, plan(graph), tell)()
    finally:
        view.close()


class JsonView:
    """Events as JSON lines on standard output; user prints and logs on standard error."""

    def __init__(self) -> None:
        self._gone = False

    def __call__(self, event: Event) -> None:
        """Prints one event."""
        if event["event"] == "log":
            print(event["text"], file=sys.stderr)
            return
        if event["event"] == "failed":
            print(event["text"], file=sys.stderr)
        if not self._gone:
            try:
                print(json.dumps(event), flush=True)
            except BrokenPipeError:
                self._gone = True
                sys.stdout = sys.__stderr__  # nobody reads; the run goes on

    def close(self) -> None:
        """Nothing is open."""
