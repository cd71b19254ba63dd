"""Quix Streams, at least once, committing as often as the others."""

from __future__ import annotations

import tempfile

from quixstreams import Application
from timing import COMMIT_EVERY_S, FETCH_BACKOFF_MS, LINGER_MS, QUEUED_MAX, Order, Timed, Words


def main() -> None:
    order, timed, count = Order.given(), Timed(), Words().count

    def counted(sentence):
        timed.begin()
        return str(count(sentence))

    with tempfile.TemporaryDirectory() as state:
        app = Application(
            broker_address=order.broker,
            consumer_group=order.target,
            auto_offset_reset="earliest",
            processing_guarantee="at-least-once",
            state_dir=state,
            loglevel="ERROR",
            commit_interval=COMMIT_EVERY_S,
            consumer_extra_config={"fetch.queue.backoff.ms": FETCH_BACKOFF_MS},
            producer_extra_config={"linger.ms": LINGER_MS, "queue.buffering.max.messages": QUEUED_MAX},
        )
        sentences = app.topic(order.source, value_deserializer="str")
        counts = app.topic(order.target, value_serializer="str")
        app.dataframe(sentences).apply(counted).to_topic(counts)
        app.run(count=order.count, timeout=order.within_s)
        timed.tell(order.count)


main()
