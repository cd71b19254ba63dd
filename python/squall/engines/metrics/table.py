"""Every metric of squall's own, in one table: name, kind, labels, where events have it, how it is read from them.

Names and units follow Prometheus: seconds, bytes and ratios, counters end with `_total`. All samples have the label
`topology`. `docs/reference/metrics.md` is written from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from squall.engines.metrics.families import Kind
from squall.engines.metrics.reading import OVER, PHASES, Reading

Values: TypeAlias = Iterator[tuple[tuple[str, ...], Any]]
"""Values of a metric's own labels, in their order, and a number; of a summary the latencies that events carry."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. `where`: the place of the figure in the events of `squall run --json`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    where: str
    help: str
    read: Callable[[Reading], Values]


def _one(read: Callable[[Reading], float | None]) -> Callable[[Reading], Values]:
    def values(reading: Reading) -> Values:
        if (value := read(reading)) is not None:
            yield (), value

    return values


def _phases(reading: Reading) -> Values:
    for phase in PHASES:
        yield (phase,), float(phase == ("ended" if reading.phase in OVER else reading.phase))


def _info(reading: Reading) -> Values:
    yield (reading.started.get("version", ""), reading.started.get("python", "")), 1.0


def _stuck(reading: Reading) -> Values:
    for component, running_s in reading.stuck.items():
        yield (component,), running_s


def _workers(key: str, reading: Reading) -> Values:
    for worker in reading.progress.get("workers", ()):
        if key in worker:
            yield (str(worker["id"]),), worker[key]


def _figure(key: str, reading: Reading, *, kind: str | None = None, scale: float = 1.0) -> Values:
    """One number of each component; `kind`: only of spouts, or of bolts."""
    for name, now in reading.components.items():
        if kind in (None, now["kind"]):
            yield (name, now["kind"]), _scaled(now.get(key, 0), scale)


def _figures(key: str, reading: Reading, *, scale: float = 1.0) -> Values:
    """Several numbers of each component, by a label of their own."""
    for name, now in reading.components.items():
        for label, value in now.get(key, {}).items():
            yield (name, now["kind"], label), _scaled(value, scale)


def _latencies(key: str, reading: Reading) -> Values:
    for name, now in reading.components.items():
        if now[key].get("count"):
            yield (name, now["kind"]), now[key]


def _source(key: str, reading: Reading) -> Values:
    for name, now in reading.components.items():
        if key in now.get("source", {}):
            yield (name,), now["source"][key]


def _link(key: str, reading: Reading) -> Values:
    """One number of each worker's link to each other one."""
    for worker, links in reading.progress.get("links", {}).items():
        for peer, figures in links["peers"].items():
            yield (worker, peer), int(figures[key])


def _refused(reading: Reading) -> Values:
    for worker, links in reading.progress.get("links", {}).items():
        for cause, count in links["refused"].items():
            yield (worker, cause), count


def _source_events(reading: Reading) -> Values:
    for name, now in reading.components.items():
        for event, count in now.get("source", {}).items():
            if event not in ("connections", "bytes", "records"):
                yield (name, event), count


def _scaled(value: float, scale: float) -> float:
    return value if scale == 1.0 else round(value * scale, 9)


_C, _G, _S = Kind.COUNTER, Kind.GAUGE, Kind.SUMMARY
_OF = ("component", "kind")
_EACH = "components.NAME."
_MS = 1e-3


def _counter(name: str, key: str, text: str, kind: str | None = None) -> Metric:
    read = partial(_figure, key, kind=kind)
    return Metric(f"squall_component_{name}", _C, _OF, _EACH + key, text, read)


def _gauge(name: str, key: str, text: str, kind: str | None = None) -> Metric:
    read = partial(_figure, key, kind=kind)
    return Metric(f"squall_component_{name}", _G, _OF, _EACH + key, text, read)


def _of_link(name: str, kind: Kind, key: str, text: str) -> Metric:
    where = f"links.WORKER.peers.PEER.{key}"
    return Metric(f"squall_link_{name}", kind, ("worker", "peer"), where, text, partial(_link, key))


def _latency(name: str, key: str, text: str) -> Metric:
    return Metric(f"squall_component_{name}_seconds", _S, _OF, f"{_EACH}{key}", text, partial(_latencies, key))


METRICS = (
    # -- the run
    Metric("squall_info", _G, ("version", "python"), "started: version, python", "1; what runs, by its labels.", _info),
    Metric(
        "squall_up",
        _G,
        (),
        "",
        "1 until the run has ended.",
        _one(lambda reading: float(reading.phase not in OVER)),
    ),
    Metric("squall_phase", _G, ("phase",), "phase", "1 for the phase that the run is in, 0 for the others.", _phases),
    Metric(
        "squall_report_age_seconds",
        _G,
        (),
        "at_epoch_ms, workers[].report_age_s",
        "How old the figures of the worker are that reported longest ago; each does each second, unless it hangs.",
        _one(lambda reading: reading.age_s),
    ),
    Metric(
        "squall_uptime_seconds",
        _G,
        (),
        "uptime_s",
        "For how long the worker had run at its last report.",
        _one(lambda reading: reading.progress.get("uptime_s")),
    ),
    Metric(
        "squall_dead_letters_open",
        _G,
        (),
        "dead_letters.open",
        "Dead letters that are neither replayed nor dropped, of earlier runs too.",
        _one(lambda reading: reading.progress.get("dead_letters", {}).get("open")),
    ),
    Metric(
        "squall_stuck_seconds",
        _G,
        ("component",),
        "stuck: running_s",
        "For how long a call has not returned, or waits for another system, once that is reported; else absent.",
        _stuck,
    ),
    # -- its worker
    Metric(
        "squall_worker_cpu_seconds",
        _C,
        (),
        "cpu_s",
        "CPU time of the worker.",
        _one(lambda reading: reading.progress.get("cpu_s")),
    ),
    Metric(
        "squall_worker_cpu_ratio",
        _G,
        ("worker",),
        "workers[].cpu_ratio",
        "Cores that the worker used between its last two reports.",
        partial(_workers, "cpu_ratio"),
    ),
    Metric(
        "squall_worker_resident_memory_bytes",
        _G,
        ("worker",),
        "workers[].rss_bytes",
        "Memory of the worker that is resident.",
        partial(_workers, "rss_bytes"),
    ),
    Metric(
        "squall_worker_uptime_seconds",
        _G,
        ("worker",),
        "workers[].uptime_s",
        "Age of the worker's process.",
        partial(_workers, "uptime_s"),
    ),
    # -- links between workers
    _of_link("up", _G, "is_up", "1 while the worker's link to the other one is open; absent with one worker."),
    _of_link("sent_frames", _C, "frames_sent", "Frames with tuples, acks or failures that it has sent."),
    _of_link("received_frames", _C, "frames_received", "Such frames that have come from the other worker."),
    _of_link("unreceipted_frames", _G, "unreceipted_frames", "Frames that come again if the link breaks now."),
    _of_link("unreceipted_bytes", _G, "unreceipted_bytes", "Memory that those take."),
    _of_link("waiting", _G, "waiting", "Tuples that wait until tasks of the other worker take more (credit)."),
    _of_link("under_way", _G, "under_way", "Tuples that were sent, and that its tasks have not taken up yet."),
    Metric(
        "squall_link_refused",
        _C,
        ("worker", "cause"),
        "links.WORKER.refused.CAUSE",
        "Calls and frames that the worker has turned away, by cause; some are usual while workers start.",
        _refused,
    ),
    # -- what components counted
    Metric(
        "squall_component_executed",
        _C,
        (*_OF, "input"),
        _EACH + "inputs.INPUT",
        "Tuples that were processed, by input (`COMPONENT/STREAM`).",
        partial(_figures, "inputs"),
    ),
    Metric(
        "squall_component_emitted",
        _C,
        (*_OF, "stream"),
        _EACH + "streams.STREAM",
        "Tuples that were emitted, by stream; of a spout each try of a root.",
        partial(_figures, "streams"),
    ),
    _counter("transferred", "transferred", "Tuples that were put into a mailbox: one for each receiver."),
    _counter("acked", "acked", "Tuples that were acked; of a spout roots."),
    _counter("failed", "failed", "Tuples that failed; of a spout tries of roots."),
    _counter("dropped", "dropped", "Tuples that were dropped (`DropTuple`)."),
    _counter("dead", "dead", "Roots that became dead letters.", "spout"),
    _counter("errors", "errors", "Errors of user code."),
    # -- how it stands
    _gauge("tasks", "tasks", "Tasks."),
    _gauge("queue", "queue", "Tuples that wait in mailboxes: the lag inside the topology.", "bolt"),
    _gauge("held", "held", "Tuples in the hands of user code.", "bolt"),
    _gauge("in_flight", "in_flight", "Calls that run away from the loop (async, blocking).", "bolt"),
    _gauge("in_flight_max", "in_flight_max", "Most calls that may.", "bolt"),
    _gauge("pending", "pending", "Roots that have not ended.", "spout"),
    _gauge("pending_max", "pending_max", "Most roots that may be pending; it adapts.", "spout"),
    _gauge("retrying", "retrying", "Roots that wait for their next try.", "spout"),
    _gauge("capacity_ratio", "capacity", "Share of the last 10 minutes that the busiest task executed.", "bolt"),
    _gauge("busy_ratio", "busy_ratio", "Share of the last seconds that the code of all its tasks ran."),
    Metric(
        "squall_component_blocked_ratio",
        _G,
        (*_OF, "culprit"),
        _EACH + "blocked_ratio.CULPRIT",
        "Share of the last seconds that its tasks were held up, by who or what held them up; absent if nothing did.",
        partial(_figures, "blocked_ratio"),
    ),
    Metric(
        "squall_component_busy_seconds",
        _C,
        _OF,
        _EACH + "busy_ms",
        "Time that its code ran, from sampled calls.",
        partial(_figure, "busy_ms", scale=_MS),
    ),
    Metric(
        "squall_component_blocked_seconds",
        _C,
        (*_OF, "culprit"),
        _EACH + "blocked_ms.CULPRIT",
        "Time that its tasks were held up, without waits for others on the loop.",
        partial(_figures, "blocked_ms", scale=_MS),
    ),
    Metric(
        "squall_component_waited_seconds",
        _C,
        _OF,
        _EACH + "waited_ms",
        "Time that a spout with something to give waited for others on the loop.",
        partial(_figure, "waited_ms", kind="spout", scale=_MS),
    ),
    _latency("execute", "execute_ms", "How long calls took; a tuple of a batch has its share of the call."),
    _latency("process", "process_ms", "From a tuple's arrival at a bolt to its ack."),
    _latency("complete", "complete_ms", "From the emission of a root to the end of its tree."),
    # -- native sources
    Metric(
        "squall_source_connections",
        _G,
        ("component",),
        _EACH + "source.connections",
        "Connections that are open.",
        partial(_source, "connections"),
    ),
    Metric(
        "squall_source_read_bytes",
        _C,
        ("component",),
        _EACH + "source.bytes",
        "Bytes that were read.",
        partial(_source, "bytes"),
    ),
    Metric(
        "squall_source_records",
        _C,
        ("component",),
        _EACH + "source.records",
        "Records that were found in them.",
        partial(_source, "records"),
    ),
    Metric(
        "squall_source_events",
        _C,
        ("component", "event"),
        _EACH + "source.EVENT",
        "What else a source counts: connections `accepted` and `refused`, records `oversize` and `half`, and so on.",
        _source_events,
    ),
)
"""Every metric, in the order in which they are shown."""

QUANTILES: Mapping[str, str] = {"0.5": "p50", "0.99": "p99", "0.999": "p999", "1": "max"}
"""Quantiles of a summary, by what events call them."""
