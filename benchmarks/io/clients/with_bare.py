"""confluent-kafka in a loop: what anybody pays who reads and writes at least once."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, Producer
from timing import COMMIT_EVERY_S, FETCH_BACKOFF_MS, LINGER_MS, QUEUED_MAX, Order, Timed, Words


def main() -> None:
    order, timed, failed = Order.given(), Timed(), []
    consumer = Consumer(
        {
            "bootstrap.servers": order.broker,
            "group.id": order.target,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": FETCH_BACKOFF_MS,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": order.broker,
            "linger.ms": LINGER_MS,
            "queue.buffering.max.messages": QUEUED_MAX,
            "enable.idempotence": True,
        }
    )

    def delivered(error, _message) -> None:
        if error:
            failed.append(error)

    consumer.subscribe([order.source])
    count, done, target = Words().count, 0, order.target
    while not (batch := consumer.consume(500, 1)):
        pass
    timed.begin()
    committed_s = time.perf_counter()
    while True:
        for message in batch:
            producer.produce(target, b"%d" % count(message.value().decode()), on_delivery=delivered)
        done += len(batch)
        producer.poll(0)
        if time.perf_counter() - committed_s > COMMIT_EVERY_S or done >= order.count:
            producer.flush(30)
            assert not failed, failed[0]
            consumer.commit(offsets=consumer.position(consumer.assignment()), asynchronous=False)
            committed_s = time.perf_counter()
        if done >= order.count:
            break
        batch = consumer.consume(500, 0.2)
    timed.tell(done)
    consumer.close()


main()
