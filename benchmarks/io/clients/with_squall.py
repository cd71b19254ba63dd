"""squall: `KafkaSpout`, a bolt and `KafkaSink`, at least once, each record acked; built and run as a worker does."""

from __future__ import annotations

import tempfile
from pathlib import Path

from squall import Bolt, Topology, _core
from squall.connectors.kafka import KafkaSink, KafkaSpout
from squall.planner.plan import plan
from squall.planner.validate import validate
from squall.runtime import life
from squall.runtime.build import build, core_settings
from squall.runtime.context import WorkerServices
from squall.runtime.offload import Offloaders
from timing import COMMIT_EVERY_S, FETCH_BACKOFF_MS, LINGER_MS, QUEUED_MAX, Order, Timed, Words

from benchmarks.files import settle
from benchmarks.harness import Hooks

timed = Timed()
INBOX = 8192
"""Room for two batches of the sink, so that one is there when the other is confirmed."""


class Count(Bolt):
    """Counts the words of a sentence."""

    outputs = ("seen",)

    def __init__(self):
        self.count = Words().count

    def process(self, value):
        return self.count(value)


class Source(KafkaSpout):
    """Notes when the first records came."""

    def next_batch(self, limit):
        rows = super().next_batch(limit)
        if rows:
            timed.begin()
        return rows


class Target(KafkaSink):
    """Counts what the brokers have confirmed."""

    confirmed = 0

    def write(self, rows):
        failed = super().write(rows)
        assert failed is None, failed
        Target.confirmed += len(rows)
        return failed


def topology(order: Order) -> Topology:
    made = Topology("words", settings={"topology.executor.receive.buffer.size": INBOX})
    sentences = made.spout(
        "sentences",
        Source(
            order.source,
            servers=order.broker,
            group=order.target,
            value="text",
            fields=("value",),
            commit_every=COMMIT_EVERY_S,
            options={"fetch.queue.backoff.ms": FETCH_BACKOFF_MS},
        ),
    )
    counts = made.bolt("count", Count).shuffle(sentences)
    options = {"linger.ms": LINGER_MS, "queue.buffering.max.messages": QUEUED_MAX}
    made.bolt("out", Target(order.target, servers=order.broker, options=options)).shuffle(counts)
    return made


def main() -> None:
    order = Order.given()
    graph = validate(topology(order))
    worker = _core.Worker(incarnation=1, seed=1, hooks=Hooks(), virtual=False, settings=core_settings(graph.settings))
    offloaders = Offloaders()
    with tempfile.TemporaryDirectory() as folder:
        built = build(WorkerServices(worker, plan(graph), "bench-1", 1, Path(folder), 1), offloader=offloaders)
        life.open_all(worker, built)
        end_s = worker.monotonic() + order.within_s
        while Target.confirmed < order.count:
            worker.run(deadline=worker.monotonic() + 0.01)
            assert worker.monotonic() < end_s, f"{Target.confirmed} of {order.count} records are confirmed"
        settle(worker)  # what was confirmed is acked
        timed.tell(Target.confirmed)
        drain = life.Drain(worker, built)
        drain.stop_sources()
        settle(worker)
        failures = [*drain.failures, *life.close_all(built)]
        assert not failures, failures
    offloaders.close()
    worker.close()


main()
