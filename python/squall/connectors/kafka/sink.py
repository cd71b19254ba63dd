"""Kafka as a sink."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from squall._core import Tuple
from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery, Sink, Unavailable
from squall.connectors.kafka import client
from squall.connectors.kafka.client import Access, Contact, Option, access, made, text_of
from squall.connectors.kafka.records import Encoding, Mapper, Record, Records
from squall.connectors.kafka.records import Mapping as Parts
from squall.connectors.kafka.schemas import RegistryAway, Schema
from squall.connectors.kafka.transactions import Transactions, packed
from squall.connectors.named_fields import check_fields
from squall.errors import DeadLetter

LOOK_EVERY_S = 0.5
CONNECT_TRIES = 6
SILENT_AFTER_S = 5.0
"""For how long nothing is confirmed until people are told."""
OWN_OPTIONS = {
    "bootstrap.servers": "give servers=…",
    "enable.idempotence": "leave it out: it is on",
    "acks": "leave it out: all replicas confirm",
    "message.timeout.ms": "leave it out: an outage slows, and fails nothing",
    "delivery.timeout.ms": "leave it out: an outage slows, and fails nothing",
    "transactional.id": "leave it out: the task has one of its own where transactions are used",
    "delivery.report.only.error": "leave it out: it is on",
    "on_delivery": "leave it out",
    "error_cb": "leave it out: errors are told as the component's",
    "logger": "leave it out: the client logs as squall.connectors.kafka",
}


class KafkaSink(Sink):
    """Produces each input as a record: `KafkaSink("alerts", servers="localhost:9092")`.

    In: any stream.
    Delivery: at least once: an input is acked when all replicas have its record; the producer is idempotent, so its own
        repeats make no duplicates. While the brokers are away nothing fails: the topology slows down, and everything
        goes through when they are back. A record that they refuse (one that is too large) is a dead letter, alone.
    Order: that of the inputs of a task, by partition; a record whose input failed comes later.
    Metrics: counters `rows` and `batches`, gauge `waiting_s`: for how long no broker has been reached.
    Threading: on a thread of its own; a batch is produced as a whole, then its confirmation is waited for.
    Args:
        topic: where records go for which `topic_of` names none.
        servers: `HOST:PORT`, several with commas.
        topic_of: a field or a function of the tuple that gives the topic, or None.
        value: "text", "json", "raw", a function of the tuple, `Avro(…)`, `JsonSchema(…)` or `Protobuf(…)`. A single
            None is a tombstone by "text" and "raw". A schema gets the tuple's one value, or its values by name.
        key: a field or a function: bytes, text, a whole number, or None.
        partition: the same: a whole number, or None for the client's choice by the key.
        headers: the same: names with bytes or texts, as a dict or pairs.
        timestamp: the same: a datetime, or milliseconds since 1970.
        options: of librdkafka by their names; `env:NAME` is the environment's.
        marks: the topic in which transactions are marked (see `Transactional`).

    Raises:
        TopologyError: `kafka_option`, `encoder_unknown` or `extra_missing`; `sink_field_unknown`, when it is opened.
        ConfigError: `kafka_setting`, `kafka_refused`, `kafka_registry_refused` or `kafka_topic_unknown`, when it is
            opened.
    """

    delivery: ClassVar[Delivery] = Delivery(
        guarantee="at least once; exactly once by the three calls of checkpoints",
        order="by task and partition",
        restart="repeats what was not acked",
        tested="Apache Kafka 4.1; schemas of Apicurio Registry 2.6",
    )
    batch_max = 4096

    def __init__(
        self,
        topic: str | None = None,
        /,
        *,
        servers: str,
        topic_of: Mapper | None = None,
        value: Encoding = "text",
        key: Mapper | None = None,
        partition: Mapper | None = None,
        headers: Mapper | None = None,
        timestamp: Mapper | None = None,
        options: Mapping[str, Option] | None = None,
        marks: str = "squall-marks",
    ) -> None:
        self._parts = Parts(topic, topic_of, value, key, partition, headers, timestamp)
        self._parts.check()
        self._access: Access = access("KafkaSink", servers, options or {}, OWN_OPTIONS)
        self._marks = marks
        self._producer: Any = None
        self._transactions: Transactions | None = None
        self._registry_answers = True

    def __repr__(self) -> str:
        return f"KafkaSink({self._parts.topic!r}, servers={self._access.servers!r})"

    # -- the contract ----------------------------------------------------------------------------------------------

    def where(self) -> str:
        """The brokers as people know them, or the schema registry while that is what is waited for."""
        schema = self._parts.value
        return schema.where if isinstance(schema, Schema) and not self._registry_answers else self._brokers

    @property
    def _brokers(self) -> str:
        return f"Kafka at {self._access.servers}"

    def open(self, context: TopologyContext) -> None:
        """Connects; where that is not possible for now the run begins and waits with its first row."""
        check_fields(f'bolt "{context.component}"', self._parts.fields, context.inputs)
        self._staged: list[Record] = []
        self._records = Records(self._parts)
        self._registry_answers = False  # as far as is known
        super().open(context)

    def connect(self) -> None:
        """Makes the producer, and looks whether the schema registry and the topic are there.

        Raises:
            Unavailable: the schema registry or no broker answers.
            ConfigError: `kafka_registry_refused`, `kafka_setting`, `kafka_refused` or `kafka_topic_unknown`.
        """
        from confluent_kafka import Producer

        schema = self._parts.value
        if isinstance(schema, Schema) and not self._registry_answers:
            schema.look(self._parts.topic if self._parts.topic_of is None else None, is_key=False)
        self._registry_answers = True
        self._contact = Contact()
        self._failed: list[tuple[Any, Any]] = []
        own = {
            "enable.idempotence": True,
            "acks": "all",
            "message.timeout.ms": 0,  # for ever: an outage slows and does not fail (semantics 16)
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "delivery.report.only.error": True,
            "on_delivery": self._delivered,
        }
        settings = self._access.settings(own, self._contact)
        self._producer = made(lambda: Producer(settings), self._access)
        self._find_topic()

    def _find_topic(self) -> None:
        from confluent_kafka import KafkaError, KafkaException

        topic, because = self._parts.topic, "no answer"
        for _ in range(CONNECT_TRIES):
            try:
                found = self._producer.list_topics(*([topic] if topic else []), timeout=1.0)
            except KafkaException as error:
                self._producer.poll(0)
                because = self._contact.away or text_of(error)
                if self._contact.refused:
                    raise client.refused(self._brokers, self._contact.refused) from error
                continue
            error = found.topics[topic].error if topic in found.topics else None
            if error is None:
                return
            because = text_of(error)
            if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):  # pyright: ignore[reportPrivateUsage]
                there = sorted(self._producer.list_topics(timeout=1.0).topics)
                if topic not in there:
                    raise client.topics_unknown(self._brokers, [str(topic)], there)
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise client.refused(f"{self._brokers}, topic {topic}", because)
            self._producer.poll(0.2)  # a topic that the broker makes just now has no leader yet
        raise Unavailable(because)

    def write(self, rows: Sequence[Tuple]) -> list[Exception | None] | None:
        """Produces a batch, and waits until the brokers have it."""
        failures: dict[int, Exception] = {}
        plain = self._records.plain(rows)
        if plain is None:
            try:
                records = self._records.made(rows, failures)
            except RegistryAway:
                self._registry_answers = False
                raise
            for _, record in records:
                self._produce(record)
        else:
            records = None
            self._produce_plain(*plain)
        self._flush(len(rows))
        if self._failed:
            places = records if records is not None else self._records.made(rows, failures)
            self._find_failed(places, failures)
        if not failures:
            return None
        return [failures.get(at) for at in range(len(rows))]

    def disconnect(self) -> None:
        """Ends the producer."""
        if self._transactions is not None:
            self._transactions.close()
            self._transactions = None
        if self._producer is not None:
            self._producer.purge()
            self._producer.poll(0)
            self._producer = None

    # -- producing -------------------------------------------------------------------------------------------------

    def _produce_plain(self, values: list[Any], keys: list[Any]) -> None:
        topic, produce = str(self._parts.topic), self._producer.produce
        if not keys:
            for value in values:
                try:
                    produce(topic, value)
                except Exception:
                    self._produce(Record(topic, value, None, -1, 0, None))
        for value, key in zip(values, keys, strict=False):
            try:
                produce(topic, value, key)
            except Exception:
                self._produce(Record(topic, value, key, -1, 0, None))

    def _produce(self, record: Record) -> None:
        """Hands one record to the client, and waits while that is full."""
        topic, value, key, partition, timestamp_ms, headers = record
        while True:
            try:
                return self._producer.produce(topic, value, key, partition, timestamp=timestamp_ms, headers=headers)
            except BufferError:
                self._producer.poll(LOOK_EVERY_S)
            except Exception as error:
                return self._refused_at_once(error, record)

    def _refused_at_once(self, error: Exception, record: Record) -> None:
        """The client itself takes no such record."""
        from confluent_kafka import KafkaException

        if isinstance(error, KafkaException) and error.args[0].fatal():
            raise Unavailable(f"the producer cannot go on: {text_of(error)}") from error
        self._failed.append((error, record))

    def _delivered(self, error: Any, message: Any) -> None:
        """A record was not taken; those that were are not told, which would cost more than to produce them."""
        value, key = message.value(), message.key()
        self._failed.append((error, Record(message.topic(), value, key, message.partition(), 0, None)))

    def _flush(self, waiting: int) -> None:
        """Waits for all confirmations; while there is no broker people are told, and nothing is given up.

        Raises:
            Unavailable: the producer cannot go on, and all of the batch is written again by another.
        """
        left, since_s = 0, time.monotonic()
        while still_left := self._producer.flush(LOOK_EVERY_S):
            if self._contact.fatal:
                raise Unavailable(f"the producer cannot go on: {self._contact.fatal}")
            if still_left != left:
                left, since_s = still_left, time.monotonic()
            because = self._contact.refused or self._contact.away
            if because is None and (silent_s := time.monotonic() - since_s) > SILENT_AFTER_S:
                because = f"no record has been confirmed for {silent_s:.0f} s"  # connections stand, as far as is known
            if because:
                self.tell_away(Unavailable(because), waiting)
        self._contact.is_well()

    def _find_failed(self, records: list[tuple[int, Record]], failures: dict[int, Exception]) -> None:
        """Says which rows were not taken. Records that are the same stand for each other."""
        failed, self._failed = self._failed, []
        places: defaultdict[tuple[Any, ...], list[tuple[int, Record]]] = defaultdict(list)
        for at, record in reversed(records):
            places[_identity(record)].append((at, record))
        again: list[tuple[int, Record, Any]] = []
        for error, record in failed:
            found = places[_identity(record)]
            if found:
                again.append((*found.pop(), error))
        for at, record, error in sorted(again, key=lambda one: one[0]):
            failure = self._tried_alone(record, error) if len(records) > 1 else _judged(error)
            if failure is not None:
                failures[at] = failure

    def _tried_alone(self, record: Record, error: Any) -> Exception | None:
        """What a broker refused as part of a batch, by itself; None: it was taken."""
        if not _is_size(error):
            return _judged(error)
        self._produce(record)
        self._flush(1)
        failed, self._failed = self._failed, []
        return _judged(failed[0][0]) if failed else None

    # -- exactly once: the three calls of semantics 34 -----------------------------------------------------------------

    def stage(self, rows: Sequence[Tuple], /) -> None:
        """Takes rows into the epoch that is open.

        Raises:
            DeadLetter: a row cannot be a record; none of them is staged.
        """
        failures: dict[int, Exception] = {}
        records = self._records.made(rows, failures)
        if failures:
            raise failures[min(failures)]
        self._staged += [record for _, record in records]

    def prepare(self, epoch: int, /) -> bytes:
        """Closes the open epoch: its records as bytes."""
        del epoch
        staged, self._staged = self._staged, []
        return packed(staged)

    def commit(self, epoch: int, staged: bytes, /) -> None:
        """Publishes the records and the mark in one transaction, unless that epoch is marked already.

        Raises:
            Unavailable: not now.
            StateError: `kafka_fenced`: another process has this task now.
        """
        self._in_transactions().commit(epoch, staged)

    def committed(self) -> int:
        """The newest epoch of this task that is marked; 0: none."""
        return self._in_transactions().committed()

    def _in_transactions(self) -> Transactions:
        if self._transactions is None:
            context = self.context
            task = f"{context.topology}/{context.component}/{context.task_index}"
            self._transactions = Transactions(self._access, self._marks, task)
        return self._transactions


def _identity(record: Record) -> tuple[Any, ...]:
    return record.topic, _as_bytes(record.value), _as_bytes(record.key)


def _as_bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value or None


def _is_size(error: Any) -> bool:
    from confluent_kafka import KafkaError

    code = error.code() if hasattr(error, "code") else None
    return code in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD)


def _judged(error: Any) -> Exception:
    """What an error of the client or a broker means for its row."""
    from confluent_kafka import KafkaError, KafkaException

    said = error.args[0] if isinstance(error, KafkaException) else error
    refusals = (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
    )
    if isinstance(said, KafkaError) and said.code() not in refusals:
        return KafkaException(said)
    return DeadLetter(f"Kafka does not take the record: {text_of(error)}")
