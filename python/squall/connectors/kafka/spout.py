"""Kafka as a source."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery, Source
from squall.connectors.framing import is_count
from squall.connectors.kafka import options as asked
from squall.connectors.kafka.client import Option, access, wrong
from squall.connectors.kafka.decoding import FIELDS, Decoder, Rows, part_decoding
from squall.connectors.kafka.offsets import Key
from squall.connectors.kafka.options import First, Guarantee, length_s, one_of, subscription
from squall.connectors.kafka.outgoing import Row
from squall.connectors.kafka.reading import Reader, Reading, Stored
from squall.connectors.kafka.seeking import Target
from squall.connectors.kafka.stalls import Circumstances, Watch, held_by
from squall.errors import ClusterError, Defect, repr_of

IDLE_AFTER_S = 1.0
STALLED_AFTER_S = 10.0
STALL_FIX = "see squall stacks, squall top and the dead letters; nothing is lost, and it goes on by itself"
OWN_OPTIONS = {
    "bootstrap.servers": "give servers=…",
    "group.id": "give group=…",
    "group.protocol": 'give protocol="consumer"',
    "enable.auto.commit": 'give guarantee="none"',
    "auto.commit.interval.ms": "give commit_every=…",
    "enable.auto.offset.store": "leave it out: what is committed follows from guarantee=…",
    "auto.offset.reset": 'give first="earliest" or another',
    "topic.metadata.refresh.interval.ms": "give refresh_every=…",
    "enable.partition.eof": "leave it out: it is on",
    "partition.assignment.strategy": "leave it out: partitions are shared cooperatively, or give assigned=True",
    "error_cb": "leave it out: errors are told as the component's",
    "on_commit": "leave it out",
    "logger": "leave it out: the client logs as squall.connectors.kafka",
}


def untracked(_id: object) -> None:
    """As `fail` of a spout whose outputs have no ids: the engine keeps nothing of them, and tries none again."""


class KafkaSpout(Source):
    """Emits the records of Kafka topics: `KafkaSpout("orders", servers="localhost:9092", group="billing")`.

    Out: `topic` str, `partition` int, `offset` int, `key` and `value` as decoded, None where there is none (a value of
        None is a tombstone); by `fields=` also `timestamp_ms` int and `headers` (a list of names and bytes, or None). A
        decoder with fields of its own, `Json(outputs=…)`, has those in the place of `value`.
    Delivery: at least once: an offset is committed when its record and all before it in its partition have ended. A
        failed record is tried again by the engine with a back-off; a slow one holds back no other partition. What
        cannot be decoded is a dead letter, and has ended. Partitions that go to another member are given up when what
        is in flight of them has ended, or after `revoke_wait`. `guarantee="at most once"` commits before it emits and
        tries nothing again; `"none"` has the client commit what it has fetched.
    Order: that of each partition, until a record is tried again.
    Bound: a partition with more than `max_uncommitted` offsets between the oldest record that has not ended and the
        newest one is paused.
    Metrics: counters `records`, `undecodable`, `commits`; gauges `lag` (records not ended yet), `partitions`, `paused`,
        `stalled` (partitions in which nothing has ended for 10 s though records wait; the errors say why, and why a
        task has no partition), `waiting_s`; table `lag` by partition.
    Threading: on a thread of its own.
    Args:
        topics: one or several.
        pattern: instead: all topics whose names it matches, those that come later too.
        servers: `HOST:PORT`, several with commas.
        group: whose offsets are read and committed, and whose members share the partitions. Without one each task
            takes its share, and squall stores where it stands.
        assigned: with a group: the spout's tasks share the partitions round robin, and no group is joined.
        value: "bytes", "text", `Json()`, `MessagePack()`, `Avro(…)`, `JsonSchema(…)`, `Protobuf(…)`, or a function.
        key: the same for keys.
        fields: which, in which order; `("value",)` costs least.
        guarantee: "at least once", "at most once" (wants a group) or "none".
        first: where a partition is begun: "uncommitted earliest" and "uncommitted latest" where the group has
            committed, else at an end; "earliest" and "latest" at an end in each run.
        protocol: "classic", or "consumer" (KIP-848, brokers from 4.0 on).
        commit_every: seconds.
        refresh_every: seconds between two looks for new topics and partitions.
        revoke_wait: seconds.
        metadata: a text that is committed with each offset; if not given the id of the run.
        options: of librdkafka by their names; `env:NAME` is the environment's.

    Raises:
        TopologyError: `kafka_option` or `extra_missing`.
        ConfigError: `kafka_setting`, `kafka_refused`, `kafka_registry_refused` or `kafka_topic_unknown`, when it is
            opened.
    """

    delivery = Delivery(
        guarantee='at least once; guarantee="at most once" or "none"',
        order="by partition, until a record is tried again",
        restart="repeats what was emitted and not committed",
        tested="Apache Kafka 4.1; schemas of Apicurio Registry 2.6",
    )
    outputs: ClassVar[Any] = ()
    blocking = True
    tick_every = 1.0

    def __init__(
        self,
        topics: str | Sequence[str] | None = None,
        /,
        *,
        servers: str,
        pattern: str | None = None,
        group: str | None = None,
        assigned: bool = False,
        value: Decoder = "bytes",
        key: Decoder = "bytes",
        fields: Sequence[str] = FIELDS[:5],
        guarantee: Guarantee = "at least once",
        first: First = "uncommitted earliest",
        protocol: str = "classic",
        max_uncommitted: int = 100_000,
        commit_every: float = 1.0,
        refresh_every: float = 10.0,
        revoke_wait: float = 5.0,
        metadata: str | None = None,
        options: Mapping[str, Option] | None = None,
    ) -> None:
        one_of("guarantee", guarantee, asked.GUARANTEES)
        one_of("first", first, asked.FIRSTS)
        one_of("protocol", protocol, asked.PROTOCOLS)
        if not is_count(max_uncommitted):
            raise wrong(f"KafkaSpout has max_uncommitted={repr_of(max_uncommitted)}", "give a whole number from 1")
        if group is not None and (not isinstance(group, str) or not group):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise wrong(f"KafkaSpout has group={repr_of(group)}", "give a name, or leave it out")
        if guarantee == "at most once" and group is None:
            fix = "give group=…: the commit before each emission needs one"
            raise wrong('KafkaSpout has guarantee="at most once" and no group', fix)
        if metadata is not None and not isinstance(metadata, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise wrong(f"KafkaSpout has metadata={repr_of(metadata)}", "give a text")
        self._key, self._value = part_decoding("key", key), part_decoding("value", value)
        self._fields = _fields(fields)
        self._wanted = Reading(
            access=access("KafkaSpout", servers, options or {}, OWN_OPTIONS),
            subscription=subscription(topics, pattern),
            group=group,
            is_member=group is not None and not assigned,
            guarantee=guarantee,
            first=first,
            protocol=protocol,
            max_uncommitted=max_uncommitted,
            commit_every_s=length_s("KafkaSpout", "commit_every", commit_every),
            refresh_every_s=length_s("KafkaSpout", "refresh_every", refresh_every),
            revoke_wait_s=length_s("KafkaSpout", "revoke_wait", revoke_wait),
            metadata=metadata,
        )
        names = {"key": self._key.names, "value": self._value.names}
        outputs = tuple(name for field in self._fields for name in names.get(field, (field,)))
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "tick_every", min(1.0, self._wanted.commit_every_s))
        if guarantee != "at least once":
            object.__setattr__(self, "fail", untracked)
        self._reader: Reader | None = None
        self._stored = Stored()

    def __repr__(self) -> str:
        return f"KafkaSpout({self._wanted.subscription}, servers={self._wanted.access.servers!r})"

    # -- life ------------------------------------------------------------------------------------------------------

    def open(self, context: TopologyContext) -> None:
        """Waits for `activate`: where the last run stopped is told before that."""
        self._context = context
        self._lags: dict[str, float] = {}
        self._watch, self._stalled = Watch(STALLED_AFTER_S), frozenset[Key]()
        self._without: str | None = None
        self._asked_s = 0.0
        self._taken_s = time.monotonic()
        self._away_since_s: float | None = None
        context.gauge("lag", lambda: sum(self._lags.values()))
        context.table("lag", lambda: self._lags)
        context.gauge("partitions", lambda: len(self._reader.offsets.partitions) if self._reader else 0)
        context.gauge("paused", lambda: len(self._reader.paused) if self._reader else 0)
        context.gauge("stalled", lambda: len(self._stalled))
        context.gauge("waiting_s", lambda: time.monotonic() - self._away_since_s if self._away_since_s else 0.0)

    def activate(self) -> None:
        """Joins the group, or takes its partitions."""
        if self._reader is None:
            rows = Rows(self._fields, self._key, self._value)
            self._reader = Reader(self._wanted, self._context, rows, self._stored)
            self._reader.begin()

    def close(self) -> None:
        """Commits what has ended, and leaves the group."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # -- positions: only without a group, else the brokers have them ---------------------------------------------------

    def position(self) -> bytes | None:
        """The offsets of its partitions, without a group."""
        if self._wanted.group is not None or self._reader is None:
            return None
        self._reader.settle()
        partitions = self._reader.offsets.partitions.items()
        offsets = [[*key, one.ended] for key, one in partitions if one.ended is not None]
        kept = {key: at for key, at in self._stored.offsets.items() if key not in self._reader.offsets.partitions}
        offsets += [[*key, at] for key, at in kept.items()]
        return json.dumps({"run": self._context.topology_id, "offsets": sorted(offsets)}).encode()

    def seek(self, position: bytes) -> None:
        """Goes on at a position."""
        told = json.loads(position)
        self._stored = Stored(told["run"], {(topic, number): at for topic, number, at in told["offsets"]})

    # -- emission --------------------------------------------------------------------------------------------------

    def next_batch(self, limit: int) -> list[Row]:
        """The next records."""
        assert self._reader is not None
        self._taken_s = time.monotonic()
        return self._reader.take(limit)

    def tick(self) -> None:
        """Commits, keeps its place in the group while nothing is asked for, and looks for what does not move."""
        reader = self._reader
        if reader is None:
            return
        now_s = time.monotonic()
        if now_s - self._taken_s > IDLE_AFTER_S:
            reader.idle()
        reader.look()
        is_away = any((reader.contact.away, reader.contact.refused, reader.registry_away))
        self._away_since_s = (self._away_since_s or now_s) if is_away else None
        ends = reader.ends()
        self._lags = {
            f"{topic}/{number}": float(max(ends.get((topic, number), 0) - (one.ended or 0), 0))
            for (topic, number), one in reader.offsets.partitions.items()
            if one.ended is not None
        }
        self._look_for_stalls(reader, ends, now_s)
        self._look_for_partitions(reader, now_s)

    def _look_for_stalls(self, reader: Reader, ends: Mapping[Key, int], now_s: float) -> None:
        """Tells once of each partition that does not move, and why."""
        busy = self._context.busy()
        held = f"the topology takes nothing: {held_by(busy)}" if now_s - self._taken_s > IDLE_AFTER_S else None
        away = reader.contact.refused or reader.contact.away
        now = Circumstances(away, frozenset(reader.paused), busy, ends, reader.held_because or held)
        found = self._watch.stalls(reader.offsets, now, now_s)
        for one in found:
            if one.key not in self._stalled:
                self._tell_stall(f"{one.key[0]}/{one.key[1]} has not moved for {one.since_s:.0f} s", one.why)
        self._stalled = frozenset(one.key for one in found)

    def _look_for_partitions(self, reader: Reader, now_s: float) -> None:
        """Tells why the task has no partition, and again when that changes."""
        if not self._watch.has_long_had_none(reader.offsets, now_s):
            self._without = None
        elif self._without is None or now_s - self._asked_s > self._wanted.refresh_every_s:
            self._asked_s = now_s
            why, is_spare = reader.why_without()
            if why != self._without:
                self._without = why
                more = "give the spout fewer tasks or the topic more partitions; it takes over when another one is gone"
                self._tell_stall("this task has no partition", why, more if is_spare else STALL_FIX)

    def _tell_stall(self, message: str, why: str, fix: str = STALL_FIX) -> None:
        defect = Defect("kafka_stalled", message, (("because", why),), fix)
        self._context.report_error(ClusterError(defect, retryable=True))

    # -- commands --------------------------------------------------------------------------------------------------

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Goes elsewhere: `squall kafka seek`."""
        if self._reader is None:
            return {"moved": []}
        target = Target(request["kind"], request["number"])
        return {"moved": self._reader.seek(target, request["partition"])}


def _fields(fields: object) -> tuple[str, ...]:
    given: Any = (fields,) if isinstance(fields, str) else fields
    names = tuple(cast("Sequence[str]", given)) if isinstance(given, Sequence) else ()
    if not names or len(set(names)) < len(names) or any(name not in FIELDS for name in names):
        raise wrong(f"KafkaSpout has fields={repr_of(fields)}", f"choose of: {', '.join(FIELDS)}, each once")
    return names
