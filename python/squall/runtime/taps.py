"""Live taps of a worker (semantics 28): who looks at which streams, and what they are shown.

A tap is switched on and off by the thread that answers commands, which needs the interpreter lock but not the loop; the
loop calls `_Tap.look` with each tuple that the tap's gate admits, and a thread that lives as long as there are taps
sends what was kept. Looking happens on the loop, as a value may be changed once it has moved on.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from squall import _core
from squall.errors import ClusterError, ConfigError, Defect, SquallError, did_you_mean
from squall.model.graph import ComponentSpec, Graph, StreamSpec
from squall.model.masking import Masker
from squall.runtime.build import Built
from squall.runtime.glimpse import row_glimpse
from squall.runtime.where import Where, compiled

MAX_TAPS = 8
SHOWN_PER_S = 1000.0
"""Tuples that leave the worker in a second, for each tap."""
TIME_RATIO = 0.1
"""Share of the time that a tap's looks may take."""
MAX_KEPT = 500
SEND_EVERY_S = 0.05
TELL_EVERY_S = 0.5
"""How often the counts are sent when there is nothing else."""
MAX_LINE_CHARS = 128 << 10
"""Characters of tuples that are sent in one line, but for the last of them."""


@dataclass(eq=False)
class _Tap:
    """One asker's wish, and what is kept for it until it is sent."""

    number: int
    component: str
    streams: Mapping[str, tuple[StreamSpec, Where | None]]
    gate: _core.TapGate
    masker: Masker
    as_text: bool
    rows: deque[str] = field(default_factory=deque[str])
    lost: int = 0
    raised: int = 0
    last_error: str = ""
    undo: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    told: tuple[int, ...] = ()
    told_s: float = -math.inf

    def look(self, task: int, stream: str, row: tuple[Any, ...]) -> bool:
        """Keeps a tuple if it fits. Whether it did. On the loop; never raises."""
        spec, where = self.streams[stream]
        try:
            if where is not None and not where(row):
                return False
        except Exception as error:
            self.raised += 1
            self.last_error = type(error).__name__
            return False
        if len(self.rows) >= MAX_KEPT:
            self.lost += 1
            return False
        values = row_glimpse(spec.fields, row, self.masker)
        shown = [repr(value) for value in values] if self.as_text else values
        self.rows.append(json.dumps([time.time(), task, stream, shown]))
        return True

    def counts(self) -> tuple[int, int, int]:
        """Tuples that came by, that were skipped, for which the expression raised."""
        passed, skipped = self.gate.seen()
        return passed, skipped + self.lost, self.raised

    def lines(self, *, now_s: float) -> Iterator[tuple[bytes, int]]:
        """What is to be told, each line with its number of tuples: what was kept, and the counts now and then."""
        if not self.rows and (now_s - self.told_s < TELL_EVERY_S or self.told == self.counts()):
            return
        self.told, self.told_s = self.counts(), now_s
        rows = self._taken()
        yield self._line(rows), len(rows)
        while rows := self._taken():
            yield self._line(rows), len(rows)

    def _taken(self) -> list[str]:
        """As many of the kept tuples as go into a line."""
        rows: list[str] = []
        chars = 0
        while self.rows and chars < MAX_LINE_CHARS:
            rows.append(self.rows.popleft())
            chars += len(rows[-1])
        return rows

    def _line(self, rows: list[str]) -> bytes:
        passed, skipped, raised = self.counts()
        counts = {"passed": passed, "skipped": skipped, "raised": raised, "last_error": self.last_error}
        head = json.dumps({"event": "tap", "tap": self.number, "counts": counts})
        return f'{head[:-1]}, "rows": [{", ".join(rows)}]}}'.encode()


class Taps:
    """The taps of this worker.

    Args:
        send: sends a line that may be lost; says whether it was taken.

    Bound: eight taps; each is sent 1,000 tuples a second and may take a tenth of the loop's time, keeps 500 tuples
        that are not sent yet. What is beyond is skipped and counted.
    """

    def __init__(self, graph: Graph, worker: _core.Worker, send: Callable[[bytes], bool]) -> None:
        self._graph, self._worker, self._send = graph, worker, send
        self._masker = Masker.of(graph.settings["topology.mask.fields"])
        self._built: Built | None = None
        self._taps: dict[int, _Tap] = {}
        self._is_served = False
        self._switching, self._sending = threading.Lock(), threading.Lock()

    def attach(self, built: Built) -> None:
        """The tasks are there now; taps that were asked for before see their first tuples."""
        with self._switching:
            self._built = built
            for tap in self._taps.values():
                self._switch_on(tap, built)

    def open(self, number: int, request: Mapping[str, Any]) -> dict[str, Any]:
        """Switches a tap on. The answer to who asked: its streams with their fields, or what is wrong."""
        try:
            tap = self._wanted(number, request)
        except SquallError as error:
            return {"defects": [asdict(one) for one in error.defects]}
        with self._switching:
            self._taps[number] = tap
            if self._built is not None:
                self._switch_on(tap, self._built)
            if not self._is_served:
                self._is_served = True
                threading.Thread(target=self._serve, name="squall-taps", daemon=True).start()
        return {"tap": number, "streams": {name: spec.fields for name, (spec, _) in tap.streams.items()}}

    def close(self, number: int) -> dict[str, Any]:
        """Switches a tap off."""
        with self._switching:
            if tap := self._taps.pop(number, None):
                for undo in tap.undo:
                    undo()
        return {}

    def end(self) -> None:
        """The run ends: what is kept is sent."""
        for tap in list(self._taps.values()):
            tap.told_s = -math.inf
        self._flush()

    def _switch_on(self, tap: _Tap, built: Built) -> None:
        for task in built.of(tap.component):
            for place, name in enumerate(task.spec.streams):
                if name in tap.streams:
                    look = partial(tap.look, task.task.task_id, name)
                    self._worker.tap(task.index, place, look, tap.gate)
                    tap.undo.append(partial(self._worker.untap, task.index, place, look))

    def _wanted(self, number: int, request: Mapping[str, Any]) -> _Tap:
        """The tap that is asked for.

        Raises:
            ConfigError: there is no such component or stream, or the expression does not fit.
            ClusterError: there are too many already.
        """
        if len(self._taps) >= MAX_TAPS:
            message = f"{MAX_TAPS} taps are open on this topology already"
            raise ClusterError(Defect("tap_limit", message, (), "end one of them, with Ctrl-C"))
        spec = self._component(request["component"])
        return _Tap(
            number=number,
            component=spec.name,
            streams=_fitting(_streams(spec, request.get("stream")), request.get("where"), self._masker),
            gate=_core.TapGate(
                ratio=request.get("ratio", 1.0),
                shown_per_s=SHOWN_PER_S,
                time_ratio=TIME_RATIO,
                seed=secrets.randbits(64),
            ),
            masker=self._masker,
            as_text=request.get("as_text", False),
        )

    def _component(self, name: str) -> ComponentSpec:
        # Those of the system are not shown: a dead letter names the fields of its values beside them.
        known = [known for known in self._graph.components if not known.startswith("__")]
        if name in known:
            return self._graph.components[name]
        near = did_you_mean(name, known)
        fix = f'did you mean "{near}"?' if near else "use the name of a component"
        facts = (("components", ", ".join(known)),)
        message = f'"{self._graph.name}" has no component "{name}"'
        raise ConfigError(Defect("component_unknown", message, facts, fix))

    def _serve(self) -> None:
        while self._is_wanted():
            time.sleep(SEND_EVERY_S)
            self._flush()

    def _is_wanted(self) -> bool:
        """Whether there are taps to serve; decided once, so that a tap that comes now has a thread, and only one."""
        with self._switching:
            self._is_served = bool(self._taps)
            return self._is_served

    def _flush(self) -> None:
        with self._sending:
            now_s = time.monotonic()
            for tap in list(self._taps.values()):
                for line, rows in tap.lines(now_s=now_s):
                    if not self._send(line):
                        tap.lost += rows


def _streams(spec: ComponentSpec, wanted: str | None) -> dict[str, StreamSpec]:
    """The streams of a component that are asked for; all if none is named."""
    if not spec.streams:
        inputs = ", ".join(f"{one.source.component}:{one.source.stream}" for one in spec.inputs)
        facts = (("takes", inputs),)
        message = f'"{spec.name}" emits nothing that could be tapped'
        raise ConfigError(Defect("tap_nothing", message, facts, "tap what it takes"))
    if wanted is None:
        return dict(spec.streams)
    if wanted in spec.streams:
        return {wanted: spec.streams[wanted]}
    near = did_you_mean(wanted, spec.streams)
    fix = f'did you mean "{near}"?' if near else "use one of these, or leave it out for all"
    facts = (("streams", ", ".join(spec.streams)),)
    raise ConfigError(Defect("stream_unknown", f'"{spec.name}" has no stream "{wanted}"', facts, fix))


def _fitting(
    streams: Mapping[str, StreamSpec], expression: str | None, masker: Masker
) -> dict[str, tuple[StreamSpec, Where | None]]:
    """The streams that have all fields of the expression, with the expression for each.

    Raises:
        ConfigError: none has; or the expression is not understood.
    """
    if expression is None:
        return {name: (spec, None) for name, spec in streams.items()}
    every = tuple(dict.fromkeys(name for spec in streams.values() for name in spec.fields))
    compiled(expression, every, masker)
    fitting: dict[str, tuple[StreamSpec, Where | None]] = {}
    why_not: ConfigError | None = None
    for name, spec in streams.items():
        try:
            fitting[name] = spec, compiled(expression, spec.fields, masker)
        except ConfigError as error:
            why_not = error
    if not fitting and why_not is not None:
        raise why_not
    return fitting
