"""The one table of settings: key, default, unit, bounds, scope, meaning. Nothing else in the project writes a default.

Keys and defaults are Storm's where Storm has one that means something here.
Source: Storm 1.2.1 `conf/defaults.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Scope(Enum):
    """Where a setting may be given."""

    LOCAL = "local"
    """This machine: file, environment, command line."""
    TOPOLOGY = "topology"
    """Also `Topology(settings=…)`."""
    COMPONENT = "component"
    """Also a component's `settings=…`."""

    def takes(self, given: Scope) -> bool:
        """Whether a setting of this scope may be given there."""
        scopes = list(Scope)
        return scopes.index(given) <= scopes.index(self)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `kind` is the type of the value; None is always allowed where it is the default."""

    key: str
    default: Any
    kind: type
    scope: Scope
    doc: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()

    def allows(self, value: Any) -> bool:
        """Whether a value of the right type is in bounds."""
        return (
            (not self.choices or value in self.choices)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
        )

    @property
    def bounds(self) -> str:
        """The bounds in words, empty if there are none."""
        if self.choices:
            return ", ".join(self.choices)
        if self.at_least is None:
            return ""
        return f"{self.at_least:,}–{self.at_most:,}" if self.at_most is not None else f"≥ {self.at_least:,}"

    @property
    def wanted(self) -> str:
        """What a value is, in words."""
        if self.choices:
            return f"one of {self.bounds}"
        kind = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[self.kind]
        return kind + (f", {self.bounds}" if self.bounds else "") + (f" ({self.unit})" if self.unit else "")


def _seconds(
    key: str, default: float | None, scope: Scope, doc: str, at_least: float = 0, at_most: float = 86_400 * 365
) -> Setting:
    return Setting(key, default, float, scope, doc, "s", at_least, at_most)


def _count(
    key: str, default: int | None, scope: Scope, doc: str, at_least: int = 0, at_most: int = 2**31 - 1, unit: str = ""
) -> Setting:
    return Setting(key, default, int, scope, doc, unit, at_least, at_most)


def _ratio(key: str, default: float, scope: Scope, doc: str) -> Setting:
    return Setting(key, default, float, scope, doc, "", 0, 1)


def _flag(key: str, default: bool, scope: Scope, doc: str) -> Setting:
    return Setting(key, default, bool, scope, doc)


def _text(key: str, default: str | None, scope: Scope, doc: str, choices: tuple[str, ...] = ()) -> Setting:
    return Setting(key, default, str, scope, doc, choices=choices)


_L, _T, _C = Scope.LOCAL, Scope.TOPOLOGY, Scope.COMPONENT

SETTINGS: Mapping[str, Setting] = {
    row.key: row
    for row in (
        _count(
            "topology.workers",
            1,
            _T,
            "Worker processes that the tasks are spread over.",
            at_least=1,
            at_most=1024,
        ),
        _count(
            "topology.worker.start.deaths.max",
            10,
            _T,
            "Deaths of one worker, running, before it is ready, at which a run ends.",
            at_least=1,
            unit="deaths",
        ),
        _count(
            "topology.worker.deaths.max",
            None,
            _T,
            "Deaths of one worker after it was ready at which a run ends; unset: it is replaced each time.",
            at_least=1,
            unit="deaths",
        ),
        _count(
            "topology.tasks",
            None,
            _C,
            "Tasks of a component; unset: as many as its parallelism.",
            at_least=1,
            at_most=1024,
        ),
        _count(
            "topology.max.task.parallelism",
            None,
            _C,
            "Most tasks of any component; for tests on small machines.",
            at_least=1,
        ),
        _count(
            "topology.acker.executors",
            None,
            _T,
            "0 turns acking off: at most once. Any other value leaves it on; each worker tracks its own spouts.",
        ),
        _seconds(
            "topology.message.timeout.secs",
            30,
            _T,
            "A tuple that user code holds (manual ack, async, blocking, a stuck call) for this long fails. "
            "Waiting in queues does not age it.",
            at_least=0.001,
            at_most=86_400,
        ),
        _flag("topology.enable.message.timeouts", True, _T, "Whether held tuples time out at all."),
        _seconds(
            "topology.tree.max.age.secs",
            None,
            _T,
            "Fails a root that is older than this wherever its tuples are; unset: never.",
            at_least=0.001,
        ),
        _count(
            "topology.max.spout.pending",
            None,
            _C,
            "Most roots that a spout's task may have open; unset: adapts to the queues.",
            at_least=1,
            at_most=524_288,
        ),
        _count(
            "topology.max.pending.bytes",
            256 << 20,
            _T,
            "Estimated size of all open roots of a spout's task at which it pauses.",
            at_least=1 << 16,
            at_most=2**62,
            unit="bytes",
        ),
        _count(
            "topology.retries",
            3,
            _C,
            "Tries of a root after the first failed one, before it becomes a dead letter.",
            at_most=1_000_000,
        ),
        _count(
            "topology.loop.max.queued",
            100_000,
            _T,
            "Most tuples queued on an edge that closes a loop; beyond it the root fails.",
            at_least=1,
            unit="tuples",
        ),
        _flag(
            "topology.fall.back.on.pickle",
            False,
            _T,
            "Whether values without a form of their own are pickled on their way to other workers, instead of refused.",
        ),
        _ratio(
            "topology.stats.sample.rate", 0.05, _T, "Share of tuples whose latencies are measured. Counters are exact."
        ),
        _seconds(
            "topology.tick.tuple.freq.secs",
            None,
            _C,
            "Period of `tick` for bolts that define it and set no `tick_every`.",
            at_least=0.001,
        ),
        _count(
            "topology.sleep.spout.wait.strategy.time.ms",
            1,
            _C,
            "Pause of a spout that had nothing to emit and sets no `idle_wait`.",
            unit="ms",
            at_most=60_000,
        ),
        _seconds(
            "topology.error.throttle.interval.secs",
            10,
            _T,
            "Interval in which at most `topology.max.error.report.per.interval` errors of a task are kept.",
            at_least=0.001,
        ),
        _count(
            "topology.max.error.report.per.interval",
            5,
            _T,
            "Errors of a task that are kept in each throttle interval.",
            at_least=1,
        ),
        _count(
            "topology.executor.receive.buffer.size",
            1024,
            _T,
            "Capacity of a task's inbox, to which the high-water marks refer.",
            at_least=1,
            at_most=2**20,
            unit="tuples",
        ),
        _ratio(
            "backpressure.disruptor.high.watermark",
            0.9,
            _T,
            "Share of an inbox's capacity from which it counts as full: spouts that can reach it pause.",
        ),
        _ratio(
            "backpressure.disruptor.low.watermark",
            0.4,
            _T,
            "Share of an inbox's capacity to which a full one must sink before spouts go on.",
        ),
        _flag("topology.disable.loadaware.messaging", False, _T, "Makes shuffles ignore the loads of their targets."),
        _seconds(
            "topology.stuck.secs",
            10,
            _T,
            "A call of user code that runs for this long is reported with its stack.",
            at_least=0.1,
        ),
        _flag(
            "topology.stuck.restart",
            False,
            _T,
            "Whether a worker is ended when a call has run for twice the message time-out, unless it is one that says "
            "it waits for another system, as sinks and lookups of databases, queues and stores do.",
        ),
        _seconds("topology.drain.secs", 30, _T, "How long a run may drain before it ends with what is pending."),
        _text(
            "topology.mask.fields",
            None,
            _T,
            "Names, with commas between, whose values are hidden where people look at tuples, beside `password`, "
            "`token` and their like; `-token` shows what has that name.",
        ),
        _text(
            "topology.trace.dir",
            None,
            _T,
            "Folder in which each life of each worker notes what it does with trees and tuples, for "
            "`python -m squall.trace`; it makes a run slower. Unset: nowhere.",
        ),
        _count(
            "topology.trace.max.bytes",
            1 << 30,
            _T,
            "Most bytes that the trace of one life takes; what would not fit is not noted.",
            at_least=1 << 12,
            at_most=2**50,
            unit="bytes",
        ),
        _text(
            "worker.log.level",
            "INFO",
            _T,
            "Lowest level of log records that are kept.",
            ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        ),
        _text(
            "worker.log.format",
            "text",
            _T,
            "How log records are written, one a line: `text` for people, `json` for programs.",
            ("text", "json"),
        ),
        _count(
            "worker.log.max.bytes",
            256 << 20,
            _T,
            "Most bytes that the log files of a run take, about; there are four, and the oldest goes first.",
            at_least=1 << 16,
            at_most=2**50,
            unit="bytes",
        ),
        _text(
            "metrics.prometheus.address",
            None,
            _L,
            "Where a run serves its figures as Prometheus text: `PORT` on 127.0.0.1, or `HOST:PORT`; port 0 is any "
            "that is free; unset: nowhere.",
        ),
        _flag(
            "metrics.otel",
            False,
            _L,
            "Whether a run pushes its figures by OTLP over HTTP, as the `OTEL_…` variables of the environment say.",
        ),
        _text(
            "storm.local.dir",
            None,
            _L,
            "Folder of runs, logs, dead letters, positions; unset: `$XDG_STATE_HOME/squall`, `~/.local/state/squall`.",
        ),
    )
}
"""Every setting, by key."""

DEFAULTS: Mapping[str, Any] = {key: row.default for key, row in SETTINGS.items()}
