"""Rows published once, by transactions that carry a mark of their own.

A transaction of Kafka ends with the process that began it, so what is staged are the encoded records; they are produced
when they are committed, together with a record (task, epoch) in a compacted topic. Whoever commits has first fenced all
who had the task before, so what the mark says then is final.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from squall.connectors.contract import Unavailable
from squall.connectors.kafka.client import Access, Contact, made, refused, text_of
from squall.connectors.kafka.records import Record
from squall.errors import Defect, StateError

CALL_S = 10.0
_T = TypeVar("_T")


def packed(records: Sequence[Record]) -> bytes:
    """Records as bytes."""
    return msgspec.msgpack.encode([[*record] for record in records])


def unpacked(staged: bytes) -> list[Record]:
    """What `packed` gave."""
    rows = msgspec.msgpack.decode(staged)
    pairs: Callable[[Any], Any] = lambda headers: headers and [(name, value) for name, value in headers]  # noqa: E731
    return [Record._make([*row[:5], pairs(row[5])]) for row in rows]


class Transactions:
    """The transactions of one task.

    Args:
        marks: the topic of the marks, made if it is not there.
        task: what the task is known by, over all lives.
    """

    def __init__(self, access: Access, marks: str, task: str) -> None:
        self._access, self._marks, self._task = access, marks, task
        self._contact = Contact()
        self._producer: Any = None
        self._epoch: int | None = None

    @property
    def where(self) -> str:
        """The brokers as people know them."""
        return f"Kafka at {self._access.servers}"

    def committed(self) -> int:
        """The newest epoch that is marked."""
        self._begin()
        assert self._epoch is not None
        return self._epoch

    def commit(self, epoch: int, staged: bytes) -> None:
        """Publishes records, unless the epoch is marked already."""
        if epoch <= self.committed():
            return
        producer = self._producer
        try:
            producer.begin_transaction()
            for topic, value, key, partition, timestamp_ms, headers in unpacked(staged):
                self._produce(topic, value, key, partition, timestamp_ms, headers)
            self._produce(self._marks, json.dumps({"epoch": epoch}).encode(), self._task.encode(), 0, 0, None)
            # It waits for all records, and fails if one was not taken.
            self._called(lambda: producer.commit_transaction(CALL_S))
        except BaseException:
            self.close()  # whether it was committed, the marks say to whoever comes next
            raise
        self._epoch = epoch

    def _produce(self, topic: str, value: Any, key: Any, partition: int, timestamp_ms: int, headers: Any) -> None:
        producer = self._producer
        while True:
            try:
                return self._called(
                    lambda: producer.produce(topic, value, key, partition, timestamp=timestamp_ms, headers=headers)
                )
            except BufferError:
                producer.poll(0.1)

    def close(self) -> None:
        """Gives the producer up; a transaction that is open is aborted by the next one of the task."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None
        self._epoch = None

    def _begin(self) -> None:
        """Fences all who had the task, then reads its mark."""
        from confluent_kafka import Producer

        if self._producer is not None:
            return
        own = {"transactional.id": f"squall/{self._task}", "enable.idempotence": True, "acks": "all", "linger.ms": 5}
        settings = self._access.settings(own, self._contact)
        producer = made(lambda: Producer(settings), self._access)
        self._called(lambda: producer.init_transactions(CALL_S))
        self._epoch, self._producer = self._read_mark(self._marks_end()), producer

    def _marks_end(self) -> int:
        """Where the topic of the marks ends, which is made if it is not there; of open transactions too."""
        from confluent_kafka import KafkaError, KafkaException, TopicPartition
        from confluent_kafka.admin import AdminClient, OffsetSpec  # pyright: ignore[reportPrivateImportUsage]
        from confluent_kafka.cimpl import NewTopic

        settings = self._access.settings({}, self._contact)
        admin = made(lambda: AdminClient(settings), self._access)
        topic = NewTopic(self._marks, 1, config={"cleanup.policy": "compact"})
        try:
            admin.create_topics([topic], request_timeout=CALL_S)[self._marks].result(CALL_S)
        except (KafkaException, TimeoutError) as error:
            if isinstance(error, TimeoutError) or error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise self._judged(error) from error
        partition, deadline = TopicPartition(self._marks, 0), time.monotonic() + CALL_S
        while True:
            try:
                asked = admin.list_offsets({partition: OffsetSpec.latest()}, request_timeout=CALL_S)
                return asked[partition].result(CALL_S).offset
            except (KafkaException, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise self._judged(error) from error
                time.sleep(0.05)  # a topic that was made just now has no leader yet

    def _read_mark(self, end: int) -> int:
        """The newest epoch in the marks.

        They are read up to where they end now: a transaction of another task that is still open would hide what is
        behind it, and so a mark of this one.
        """
        from confluent_kafka import Consumer, KafkaError, TopicPartition

        own = {"group.id": "squall", "enable.auto.commit": False, "isolation.level": "read_committed"}
        own |= {"enable.partition.eof": True, "fetch.wait.max.ms": 10}
        settings = self._access.settings(own, self._contact)
        consumer = made(lambda: Consumer(settings), self._access)
        epoch, key, deadline = 0, self._task.encode(), time.monotonic() + CALL_S
        try:
            consumer.assign([TopicPartition(self._marks, 0, 0)])
            while time.monotonic() < deadline:
                for message in consumer.consume(500, 0.05):
                    error = message.error()
                    if error is None and message.key() == key:
                        epoch = json.loads(message.value())["epoch"]
                    elif error is not None and error.code() == KafkaError._PARTITION_EOF and message.offset() >= end:  # pyright: ignore[reportPrivateUsage]
                        return epoch
        finally:
            consumer.close()
        raise Unavailable(f"{self.where}: the marks in {self._marks} cannot be read to their end")

    def _called(self, call: Callable[[], _T]) -> _T:
        from confluent_kafka import KafkaException

        try:
            return call()
        except KafkaException as error:
            raise self._judged(error) from error

    def _judged(self, error: Any) -> Exception:
        """What an error of a transaction means."""
        from confluent_kafka import KafkaError

        first = error.args[0] if isinstance(error, Exception) and error.args else error
        if isinstance(first, KafkaError) and first.code() in (
            KafkaError._FENCED,
            KafkaError.PRODUCER_FENCED,
            KafkaError.INVALID_PRODUCER_EPOCH,
        ):  # pyright: ignore[reportPrivateUsage]
            message = f'a transaction of "{self._task}" was fenced: another process has this task now'
            fix = "end this one; or, if it is the right one, end the other and begin anew"
            return StateError(Defect("kafka_fenced", message, (("because", text_of(error)),), fix))
        if self._contact.refused:
            return refused(self.where, self._contact.refused)
        return Unavailable(f"{self.where}: {text_of(error)}")
