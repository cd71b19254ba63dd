"""Bytewax, with its Kafka source and sink. Recovery is off, as it is by default: it promises nothing over a crash."""

from __future__ import annotations

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from timing import FETCH_BACKOFF_MS, LINGER_MS, QUEUED_MAX, Order, Timed, Words


def main() -> None:
    order, timed, count, done = Order.given(), Timed(), Words().count, 0

    def counted(message):
        nonlocal done
        timed.begin()
        done += 1
        return KafkaSinkMessage(None, b"%d" % count(message.value.decode()))

    source = KafkaSource(
        [order.broker],
        [order.source],
        tail=False,
        batch_size=500,
        add_config={"fetch.queue.backoff.ms": str(FETCH_BACKOFF_MS)},
    )
    produced = {"linger.ms": str(LINGER_MS), "queue.buffering.max.messages": str(QUEUED_MAX)}
    flow = Dataflow("words")
    messages = op.input("in", flow, source)
    op.output("out", op.map("count", messages, counted), KafkaSink([order.broker], order.target, add_config=produced))
    run_main(flow)
    timed.tell(done)


main()
