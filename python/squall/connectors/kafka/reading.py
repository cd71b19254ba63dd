"""The client of a `KafkaSpout`'s task: what it has of the topics, what it fetches, commits, and tells of troubles.

All calls are on the task's own thread, the client's callbacks too: they run inside of `consume`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from random import Random
from typing import Any

from squall.api.context import TopologyContext
from squall.connectors.contract import Unavailable
from squall.connectors.kafka import options
from squall.connectors.kafka.client import (
    Access,
    Contact,
    log,
    made,
    refused,
    text_of,
    topics_unknown,
    unavailable,
    uncommitted,
)
from squall.connectors.kafka.decoding import Rows
from squall.connectors.kafka.offsets import Key, Offsets
from squall.connectors.kafka.options import First, Guarantee, Subscription
from squall.connectors.kafka.outgoing import Outgoing, Row, Stretch
from squall.connectors.kafka.schemas import RegistryAway
from squall.connectors.kafka.seeking import Target, targets
from squall.connectors.kafka.stalls import Group, why_without
from squall.connectors.sending.backoff import Backoff
from squall.errors import ClusterError, Defect
from squall.runtime.letters import Undecoded

FETCHED = 1000
"""Most records of one fetch."""
WAIT_S = 0.1
CALL_S = 5.0
"""How long a broker may take for an answer."""
AT_OPEN = 6
"""Times a broker is tried, each for a second, before the run begins without one."""
SETTLE_EVERY_S = 0.05
UNCOMMITTED_AFTER_S = 10.0
"""For how long commits fail until people are told."""
NOT_BEGUN = 1 << 62
RAW = ("topic", "partition", "offset", "key", "value")
"""What is kept of a record that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a task was asked to read."""

    access: Access
    subscription: Subscription
    group: str | None
    is_member: bool
    guarantee: Guarantee
    first: First
    protocol: str
    max_uncommitted: int
    commit_every_s: float
    refresh_every_s: float
    revoke_wait_s: float
    metadata: str | None

    @property
    def where(self) -> str:
        """What people know it by."""
        return f"Kafka at {self.access.servers}"


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the last run, or this one, had got to without a group."""

    run: str = ""
    offsets: Mapping[Key, int] = field(default_factory=dict[Key, int])


class Reader:
    """A consumer of one task."""

    def __init__(self, wanted: Reading, context: TopologyContext, rows: Rows, stored: Stored) -> None:
        from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

        self._wanted, self._context, self._rows, self._stored = wanted, context, rows, stored
        self._codes, self._partition = KafkaError, TopicPartition
        self._error_of, self._topic_of, self._partition_of = Message.error, Message.topic, Message.partition
        self.contact, self.offsets = Contact(), Offsets()
        self.outgoing = Outgoing(self.offsets, self._bury)
        self.paused: set[Key] = set()
        self.held_because: str | None = None
        self.registry_away: str | None = None
        self._backoff, self._again_s = Backoff(None, Random()), 0.0
        self._there: Mapping[str, int] | None = None
        self._commits_fail_since_s: float | None = None
        self._is_checked = self._is_closing = self._is_idle = False
        self._settled_s = self._refreshed_s = 0.0
        self._commit_since_s: float | None = None
        self._waiting: list[Any] = []
        self._told: set[str] = set()
        self.records, self._undecodable = context.counter("records"), context.counter("undecodable")
        self._commits = context.counter("commits")
        self._consumer = made(lambda: Consumer(self._settings()), wanted.access)

    def _settings(self) -> dict[str, Any]:
        wanted = self._wanted
        own: dict[str, Any] = {
            "group.id": wanted.group or "squall",
            "enable.auto.commit": wanted.guarantee == "none" and wanted.group is not None,
            "auto.commit.interval.ms": int(wanted.commit_every_s * 1000),
            "enable.auto.offset.store": wanted.guarantee == "none" and wanted.group is not None,
            "auto.offset.reset": "error",  # so that it is told; what then follows is decided here
            "enable.partition.eof": True,  # tells of offsets at the end that hold no record
            "fetch.queue.backoff.ms": 5,  # the default of a second has a fast consumer wait for it
            "topic.metadata.refresh.interval.ms": int(wanted.refresh_every_s * 1000),
            "on_commit": self._was_committed,
        }
        if wanted.is_member and wanted.protocol == "consumer":
            own["group.protocol"] = "consumer"
        elif wanted.is_member:
            own["partition.assignment.strategy"] = "cooperative-sticky"
        return wanted.access.settings(own, self.contact)

    # -- life ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Joins the group, or takes its share; waits for a broker a while.

        Raises:
            ConfigError: `kafka_registry_refused`, `kafka_refused` or `kafka_topic_unknown`.
        """
        topics = self._wanted.subscription.topics
        try:
            self._rows.look(topics[0] if len(topics) == 1 else None)
        except RegistryAway as error:
            self._tell_registry_away(error)
        because: Exception | None = None
        for _ in range(AT_OPEN):
            try:
                self._check(1.0)
                break
            except Unavailable as error:
                because = error
        else:
            self._tell_away(str(because))
        if self._wanted.is_member:
            self._consumer.subscribe(
                self._wanted.subscription.as_subscribed,
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )

    def _check(self, within_s: float) -> None:
        """Looks at the brokers' topics.

        Raises:
            Unavailable: no broker answers.
            ConfigError: `kafka_refused` or `kafka_topic_unknown`.
        """
        there = self._there = self._topics(within_s)
        subscription = self._wanted.subscription
        missing = [topic for topic in subscription.topics if topic not in there]
        if missing:
            raise topics_unknown(self._wanted.where, missing, sorted(there))
        self._is_checked = True
        if not self._wanted.is_member:
            self._take_share(there)

    def _topics(self, within_s: float) -> dict[str, int]:
        """The topics with their numbers of partitions."""
        from confluent_kafka import KafkaException

        try:
            found = self._consumer.list_topics(timeout=within_s)
        except KafkaException as error:
            if not self._is_checked:
                self._receive(1, 0)  # what the client has to tell comes this way
            if self.contact.refused:
                raise refused(self._wanted.where, self.contact.refused) from error
            raise Unavailable(self.contact.away or text_of(error)) from error
        self._is_back()
        unknown = (self._codes.UNKNOWN_TOPIC_OR_PART, self._codes._UNKNOWN_TOPIC)
        return {
            name: len(topic.partitions)
            for name, topic in found.topics.items()
            if topic.error is None or topic.error.code() not in unknown
        }

    def close(self) -> None:
        """Commits what has ended, and leaves the group."""
        if self._wanted.guarantee == "at least once" and self._wanted.group is not None:
            self.settle()
            deadline = time.monotonic() + CALL_S
            self.commit()
            while self._commit_since_s is not None and time.monotonic() < deadline:
                self._consumer.consume(1, WAIT_S)
                self.commit()
        self._is_closing = True
        self._consumer.close()

    # -- which partitions --------------------------------------------------------------------------------------------

    def _take_share(self, there: Mapping[str, int]) -> None:
        """Takes the partitions of its share that it has not got yet."""
        task, tasks = self._context.task_index, self._context.task_count
        names = self._wanted.subscription.among(there)
        keys = [key for name in names for key in options.share(name, there[name], task, tasks)]
        new = [key for key in keys if key not in self.offsets.partitions]
        if new:
            self._assign(self._begun(new))
            log.info("event=partitions_taken count=%d", len(new))

    def _assign(self, partitions: list[Any]) -> None:
        """Has partitions read. One that was paused when it was given up is paused still, as the client has it."""
        self._consumer.incremental_assign(partitions)
        self._consumer.resume(partitions)

    def _assigned(self, _consumer: Any, partitions: list[Any]) -> None:
        self._is_back()
        self._assign(self._begun([(one.topic, one.partition) for one in partitions]))
        log.info("event=partitions_assigned partitions=%s", _named(partitions))

    def _begun(self, keys: Sequence[Key]) -> list[Any]:
        """The partitions with the offsets where they are begun."""
        committed = self._committed(keys)
        begun: list[Any] = []
        for key in keys:
            offset, metadata = committed.get(key, (None, None)) if committed is not None else (None, None)
            at = options.STORED
            if committed is not None:
                at = options.start(self._wanted.first, offset, is_own=metadata == self._metadata())
            self.offsets.begin(key, at if at >= 0 else None)
            if at >= 0:
                self.offsets.committed(key, at)
            begun.append(self._partition(*key, at))
        return begun

    def _committed(self, keys: Sequence[Key]) -> dict[Key, tuple[int, str | None]] | None:
        """What had ended, and who committed it; None: nobody can say now, the client finds out later."""
        from confluent_kafka import KafkaException

        if self._wanted.group is None:
            stored = self._stored
            return {key: (stored.offsets[key], stored.run) for key in keys if key in stored.offsets}
        try:
            found = self._consumer.committed([self._partition(*key) for key in keys], timeout=CALL_S)
        except KafkaException as error:
            log.warning("event=offsets_unread error=%r", text_of(error))
            return None
        return {(one.topic, one.partition): (one.offset, one.metadata) for one in found if one.offset >= 0}

    def _metadata(self) -> str:
        return self._wanted.metadata or self._context.topology_id

    def _revoked(self, consumer: Any, partitions: list[Any]) -> None:
        """Gives partitions up when what is in flight of them has ended and is committed, or after a while."""
        keys = [(one.topic, one.partition) for one in partitions]
        if not self._is_closing:
            self._drop(keys)
            self._wait_for(keys)
            self._commit_now({key: offset for key, offset in self.offsets.to_commit().items() if key in keys})
        consumer.incremental_unassign(partitions)
        self._give_up(keys)
        log.info("event=partitions_revoked partitions=%s", _named(partitions))

    def _wait_for(self, keys: Sequence[Key]) -> None:
        if self._wanted.guarantee != "at least once":
            return
        deadline = time.monotonic() + self._wanted.revoke_wait_s
        pause_s = 0.001
        self.settle()
        while not self.offsets.have_ended(keys):
            if time.monotonic() > deadline:
                log.warning("event=revoked_unfinished after_s=%.1f", self._wanted.revoke_wait_s)
                return
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.02)
            self.settle()

    def _lost(self, consumer: Any, partitions: list[Any]) -> None:
        """Partitions are somebody else's already: nothing of them can be committed any more."""
        keys = [(one.topic, one.partition) for one in partitions]
        self._drop(keys)
        consumer.incremental_unassign(partitions)
        self._give_up(keys)
        log.warning("event=partitions_lost partitions=%s", _named(partitions))

    def _give_up(self, keys: Iterable[Key]) -> None:
        self._drop(keys)
        self.offsets.forget(keys)
        self.paused.difference_update(keys)

    # -- records ---------------------------------------------------------------------------------------------------

    def take(self, limit: int) -> list[Row]:
        """The next rows.

        Raises:
            Unavailable: the brokers do not take the commit that goes before.
        """
        if self._is_pausing():
            self.idle()
            return []
        try:
            if self.outgoing.is_empty:
                if not self._waiting:
                    self._go_on()
                    self._fetch()
                if self._waiting:
                    self._load()
            if self._wanted.guarantee == "at most once":
                limit = self._commit_before(limit)
        except RegistryAway as error:
            self._tell_registry_away(error)
            self.idle()
            return []
        except Unavailable as error:
            self.held_because = str(error)
            self.idle()  # stays in the group meanwhile
            raise
        self.held_because = None
        rows = self.outgoing.take(limit)
        self.records.add(len(rows))
        self._hold_back()
        return rows

    def _is_pausing(self) -> bool:
        """Whether it is too early to ask the registry again."""
        return self.registry_away is not None and time.monotonic() < self._again_s

    def _tell_registry_away(self, error: RegistryAway) -> None:
        """Tells of an outage once, and sets when the registry is asked again."""
        if self.registry_away is None:
            facts = (("because", str(error)),)
            fix = "nothing is lost: records wait until it is back; see that it runs, and that it can be reached"
            defect = Defect("source_unavailable", f"{error.where} is not available", facts, fix)
            self._context.report_error(ClusterError(defect, retryable=True))
        self.registry_away = error.where
        self.held_because = f"{error.where} is not available: {error}"
        pause_s = self._backoff.pause_s(time.monotonic())
        assert pause_s is not None, "it never gives up"
        self._again_s = time.monotonic() + pause_s

    def _registry_has_answered(self) -> None:
        if self.registry_away is not None:
            log.info("event=available what=%r", self.registry_away)
            self.registry_away = None
            self._backoff.succeeded()

    def _go_on(self) -> None:
        if self._is_idle:
            self._is_idle = False
            self._resume([key for key in self.offsets.partitions if key not in self.paused])

    def idle(self) -> None:
        """Nothing more is taken for a while: stays in the group, and fetches nothing."""
        if not self._is_idle:
            self._is_idle = True
            self._consumer.pause([self._partition(*key) for key in self.offsets.partitions])
        self._receive(1, 0)

    def _fetch(self) -> None:
        # A call for many waits until it has them all or its time is over; so only the first one is waited for.
        self._receive(FETCHED, 0)
        if not self._waiting:
            self._receive(1, WAIT_S)
            if self._waiting:
                self._receive(FETCHED - 1, 0)

    def _receive(self, count: int, within_s: float) -> None:
        messages = self._consumer.consume(count, within_s)  # its callbacks may drop of what waits
        if messages:
            self._waiting.extend(messages)
            if self.contact.away is not None and messages[-1].error() is None:
                self._is_back()

    def _event(self, message: Any) -> None:
        """Takes what the client tells of a partition in place of a record."""
        error, key = message.error(), (message.topic(), message.partition())
        if error.code() == self._codes._PARTITION_EOF:
            if key in self.offsets.partitions:
                self.outgoing.add(Stretch(key, (), (), skip_to=message.offset()))
        elif error.code() == self._codes._AUTO_OFFSET_RESET:
            self._begin_anew(key, error)
        elif error.fatal():
            raise ClusterError(unavailable(self._wanted.where, text_of(error)), retryable=True)
        else:
            where = self._wanted.where if key[0] is None else f"{self._wanted.where}, {key[0]}/{key[1]}"
            self._tell_once(f"{key}{error.code()}", unavailable(where, text_of(error)))

    def _begin_anew(self, key: Key, error: Any) -> None:
        """An offset is not there (any more): goes on at an end of what is, and tells."""
        if key not in self.offsets.partitions:
            return
        at = options.start(self._wanted.first, None, is_own=False)
        said = text_of(error)
        known = self.offsets.partitions[key].reached
        if known is not None:  # else it is only that nothing was ever committed
            facts = (("offset", str(known)), ("because", said))
            end = "the oldest record" if at == options.BEGINNING else "the end"
            fix = f"it goes on at {end}, as `first` says; keep records for longer than the topology may be away"
            message = f"{key[0]}/{key[1]} does not have the offset where it was to be read"
            self._context.report_error(ClusterError(Defect("kafka_offset_out_of_range", message, facts, fix)))
        self._consumer.incremental_unassign([self._partition(*key)])
        self._assign([self._partition(*key, at)])
        self.paused.discard(key)
        self.outgoing.add(Stretch(key, (), (), is_last=True))  # what was fetched before is given first

    def _load(self) -> None:
        """Decodes the records that wait, and queues them; what raises leaves them waiting."""
        messages, events = self._waiting, list[Any]()
        if any(map(self._error_of, messages)):
            events = [message for message in messages if message.error() is not None]
            messages = [message for message in messages if message.error() is None]
        if messages:
            self._queue(messages)
        self._waiting = []
        for event in events:
            self._event(event)

    def _queue(self, messages: list[Any]) -> None:
        decoded = self._rows.decoded(messages)
        self._registry_has_answered()
        rows, bad = decoded.rows, decoded.bad
        at = 0
        keys: Any = zip(map(self._topic_of, messages), map(self._partition_of, messages), strict=True)
        for key, group in groupby(keys):
            end = at + len(list(group))
            if key in self.offsets.partitions:  # else it was given up meanwhile
                own = {place - at: (_raw(messages[place]), bad[place]) for place in bad if at <= place < end}
                self.outgoing.add(Stretch(key, rows[at:end], _offsets(messages, at, end), own))
            at = end

    def _drop(self, keys: Iterable[Key]) -> None:
        """Forgets what was fetched of these partitions and not given."""
        gone = set(keys)
        self.outgoing.drop(gone)
        self._waiting = [one for one in self._waiting if (one.topic(), one.partition()) not in gone]

    def _bury(self, raw: Row, error: Exception) -> None:
        self._undecodable.add()
        topic, partition, offset = raw[:3]
        defect = Defect(
            "kafka_record_unreadable",
            f"{topic}/{partition} at offset {offset}: {text_of(error)}",
            (),
            "see how it was written, or give the spout another decoder; squall kafka seek has it read again",
        )
        self._context.dead_letter(Undecoded(RAW, raw), error=ClusterError(defect))

    # -- back-pressure -----------------------------------------------------------------------------------------------

    def _hold_back(self) -> None:
        """Pauses partitions of which too much is uncommitted, and lets others go on."""
        most, partitions = self._wanted.max_uncommitted, self.offsets.partitions
        over = [key for key, one in partitions.items() if one.uncommitted > most and key not in self.paused]
        if (over or self.paused) and time.monotonic() - self._settled_s > SETTLE_EVERY_S:
            self.settle()
            over = [key for key in over if partitions[key].uncommitted > most]
            if over:
                self.paused.update(over)
                self._consumer.pause([self._partition(*key) for key in over])
            free = [key for key in self.paused if partitions[key].uncommitted <= most // 2]
            self.paused.difference_update(free)
            self._resume(free)

    def _resume(self, keys: Sequence[Key]) -> None:
        if keys:
            self._consumer.resume([self._partition(*key) for key in keys])

    # -- offsets ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Learns what has ended."""
        self._settled_s = time.monotonic()
        if self._wanted.guarantee != "at least once":
            return self.offsets.settle(NOT_BEGUN, ())
        self.offsets.settle(*self._context.unended())

    def commit(self) -> None:
        """Has what has ended committed, unless that is under way already."""
        if self._commit_since_s is not None and time.monotonic() - self._commit_since_s < 2 * CALL_S:
            return
        self._commit_since_s = None
        if wanted := self.offsets.to_commit():
            from confluent_kafka import KafkaException

            try:
                self._consumer.commit(offsets=self._with_metadata(wanted), asynchronous=True)
                self._commit_since_s = time.monotonic()
            except KafkaException as error:
                self._commit_failed(text_of(error))

    def _was_committed(self, error: Any, partitions: list[Any]) -> None:
        self._commit_since_s = None
        if error is not None and error.code() == self._codes._NO_OFFSET:
            return  # the client's own commits: there was nothing new
        if error is not None:
            return self._commit_failed(text_of(error))
        self._commits.add()
        self._commits_fail_since_s = None
        self._told.discard("commits")
        for one in partitions:
            key = (one.topic, one.partition)
            ended = self.offsets.ended(key)
            if one.error is None and ended is not None and 0 <= one.offset <= ended:  # else it is from before a seek
                self.offsets.committed(key, one.offset)

    def _commit_failed(self, because: str) -> None:
        """The next one covers it; people are told if that goes on."""
        log.info("event=commit_failed error=%r", because)
        now_s = time.monotonic()
        if self._commits_fail_since_s is None:
            self._commits_fail_since_s = now_s
        elif now_s - self._commits_fail_since_s > UNCOMMITTED_AFTER_S:
            self._tell_once("commits", uncommitted(self._wanted.where, str(self._wanted.group), because))

    def _commit_now(self, wanted: Mapping[Key, int]) -> bool:
        from confluent_kafka import KafkaException

        if not wanted or self._wanted.group is None or self._wanted.guarantee == "none":
            return True
        try:
            self._consumer.commit(offsets=self._with_metadata(wanted), asynchronous=False)
        except KafkaException as error:
            log.warning("event=commit_failed error=%r", text_of(error))
            return False
        for key, offset in wanted.items():
            self.offsets.committed(key, offset)
        return True

    def _commit_before(self, limit: int) -> int:
        """Commits what is given next, and nothing that could still be dropped before it is; how much that is."""
        head = self.outgoing.head(limit)
        if head is None:
            return limit
        key, count, after = head
        if not self._commit_now({key: after}):
            raise Unavailable(f"{self._wanted.where} does not take the commit before {count} records")
        return count

    def _with_metadata(self, wanted: Mapping[Key, int]) -> list[Any]:
        metadata = self._metadata()
        return [self._partition(*key, offset, metadata) for key, offset in wanted.items()]

    # -- seeking ---------------------------------------------------------------------------------------------------

    def seek(self, target: Target, partition: int | None) -> list[tuple[str, int, int]]:
        """Goes on elsewhere in its partitions: those and the offsets.

        Raises:
            ConfigError: `kafka_seek_refused`.
            ClusterError: `kafka_unavailable`.
        """
        from confluent_kafka import KafkaException

        keys = [key for key in self.offsets.partitions if partition in (None, key[1])]
        try:
            moved = targets(self._consumer, self._partition, keys, target, CALL_S)
            self._drop(moved)
            for key in moved:
                self._consumer.incremental_unassign([self._partition(*key)])
                self._assign([self._partition(*key, moved[key])])
                self.offsets.begin(key, moved[key])
        except KafkaException as error:
            raise ClusterError(unavailable(self._wanted.where, text_of(error)), retryable=True) from error
        self.paused.difference_update(moved)
        self._commit_now(moved)
        log.info("event=sought to=%s partitions=%d", target, len(moved))
        return [(*key, offset) for key, offset in moved.items()]

    # -- each second -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Commits, looks for new partitions and for a broker that was away."""
        now_s = time.monotonic()
        self.settle()
        if self._wanted.group is not None and self._wanted.guarantee == "at least once":
            self.commit()
        may_take = not self._wanted.is_member or not self.offsets.partitions
        is_due = may_take and now_s - self._refreshed_s > self._wanted.refresh_every_s
        if self.contact.refused:
            self._tell_once("refused", refused(self._wanted.where, self.contact.refused).defects[0])
        if self.contact.away is None and self._is_checked and not is_due:
            return
        self._refreshed_s = now_s
        try:
            self._check(1.0)
        except Unavailable as error:
            self._tell_away(str(error))

    def why_without(self) -> tuple[str, bool]:
        """Why the task has no partition, and whether that is as it should be."""
        wanted, there = self._wanted, self._there
        away = self.contact.refused or self.contact.away
        if there is None or away:
            seen, partitions = away or "none has answered yet", None
        else:
            partitions = sum(there[name] for name in wanted.subscription.among(there))
            seen = self._group_seen() if wanted.is_member and partitions else ""
        group = wanted.group if wanted.is_member else None
        return why_without(str(wanted.subscription), partitions, group, seen, self._context.task_count)

    def _group_seen(self) -> Group | str:
        """The group as the brokers see it, or why nobody can say."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        group, access = str(self._wanted.group), self._wanted.access
        admin = made(lambda: AdminClient(access.settings({}, self.contact)), access)
        try:
            found = admin.describe_consumer_groups([group], request_timeout=CALL_S)[group].result(CALL_S)
        except (KafkaException, TimeoutError) as error:
            return text_of(error)
        return Group(found.state.name, [len(one.assignment.topic_partitions) for one in found.members])

    def ends(self) -> dict[Key, int]:
        """The newest offset of each partition, as the last fetch told it."""
        found: dict[Key, int] = {}
        for key in self.offsets.partitions:
            _, high = self._consumer.get_watermark_offsets(self._partition(*key), cached=True)
            if high >= 0:
                found[key] = high
        return found

    def _tell_away(self, because: str) -> None:
        self.contact.away = self.contact.away or because
        self._tell_once("away", unavailable(self._wanted.where, because))

    def _tell_once(self, what: str, defect: Defect) -> None:
        if what not in self._told:
            self._told.add(what)
            self._context.report_error(ClusterError(defect, retryable=True))

    def _is_back(self) -> None:
        self.contact.is_well()
        if self._told:
            log.info("event=available what=%r", self._wanted.where)
            self._told.clear()


def _raw(message: Any) -> Row:
    return message.topic(), message.partition(), message.offset(), message.key(), message.value()


def _offsets(messages: Sequence[Any], at: int, end: int) -> Sequence[int]:
    first, after = messages[at].offset(), messages[end - 1].offset() + 1
    return range(first, after) if after - first == end - at else [message.offset() for message in messages[at:end]]


def _named(partitions: Iterable[Any]) -> str:
    return ",".join(f"{one.topic}/{one.partition}" for one in partitions) or "none"
