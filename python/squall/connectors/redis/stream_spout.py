"""A spout that reads streams as one of a consumer group."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

from squall import _core
from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery, Source, Unavailable
from squall.connectors.decoders import Decoder
from squall.connectors.redis.entries import Chunk, Convert, rows_of
from squall.connectors.redis.options import check_count, check_name, names_of, refused, seconds_of
from squall.connectors.redis.reading import LOOK_S, Counters, Group, Reading
from squall.connectors.redis.server import DEFAULT_TIMEOUT_S, DEFAULT_URL, Server
from squall.connectors.redis.store import SERVERS
from squall.errors import repr_of
from squall.model.durations import Seconds
from squall.runtime.letters import Undecoded

BAD = ("stream", "id", "fields")
"""What is kept of an entry that cannot be a row."""
DEFAULT_BATCH = 1000
DEFAULT_CLAIM_AFTER_S = 60.0
LEAST_CLAIM_AFTER_S = 5 * LOOK_S


class RedisStreamSpout(Source):
    """Reads Redis streams in a consumer group; needs `pip install "squall[redis]"`.

    Out: with `fields` the values of these fields; with `field` and `decoder` what the decoder makes of that field's
        value; else one field `fields`: all of the entry, text → text. Before them, if they are named, the stream's name
        (`stream_field`) and the entry's id (`id_field`).
    Delivery: at least once, over restarts of either side: an entry is acked (`XACK`) when its tree has ended. One that
        cannot be a row goes to the dead letters, and is acked when its letter is on disk. A task that is started again
        takes up what it held at once, as its consumer has a name that stays: TOPOLOGY-COMPONENT-TASK. What a consumer
        holds that asked for nothing for `claim_after` is claimed; one that is slow is left alone. A group that is gone
        (FLUSHALL) is told and made anew, where all had ended when it was last seen. Entries that were trimmed before
        they were processed are told and counted.
    Order: that of a stream, among the entries of one task; several tasks share the entries as they come.
    Bound: two batches are read ahead.
    Metrics: counters `entries`, `claimed` and `gone`, gauges `queued`, `waiting_s`, and of the group, from its first
        task, `lag` (not read) and `pending` (not acked).
    Threading: threads of its own read, decode and ack.
    Args:
        streams: a key, or several.
        group: the consumer group; made if it is not there.
        fields: names of fields, whose values are text; or name → type or function of text: `{"n": int, "raw": bytes}`.
        field: of entries that hold one record, the field with it.
        decoder: `Json(…)`, `MessagePack(…)`, or with `outputs` a function of bytes that makes a row.
        start: where a group that is made begins: `"0"`, with the oldest entry; `"$"`, with what is added from then on;
            or after an id.
        create: make a stream that is not there, and wait for what is added.
        consumer: instead of TOPOLOGY-COMPONENT in the consumer's name.
        claim_after: 5 s at least; None claims nothing.
        batch: entries of one read, of each stream.
        url, username, password, timeout: as of `RedisStore`.

    Raises:
        TopologyError: `redis_option`, `decoder_invalid` or `extra_missing`, when it is made.
        ConfigError: `redis_refused`, `redis_url` or `secret_missing`, when it is opened.
        StateError: `redis_stream_missing` or `redis_key_type`, when it is opened.
    """

    delivery: ClassVar[Delivery] = Delivery(
        guarantee="at least once",
        order="of a stream's entries, among those that one task reads",
        restart="nothing; what was read and not acked comes again. Redis itself may lose the last second in a crash of "
        "its machine (AOF everysec): entries, and acks, which makes entries come again",
        tested=SERVERS,
    )
    outputs: ClassVar[Any] = ()
    idle_wait = 0.1  # entries that come end it

    def __init__(
        self,
        streams: str | Sequence[str],
        /,
        *,
        group: str,
        fields: Sequence[str] | Mapping[str, Convert] | None = None,
        field: str | None = None,
        decoder: Decoder | None = None,
        outputs: Any = None,
        stream_field: str | None = None,
        id_field: str | None = None,
        start: str = "0",
        create: bool = False,
        consumer: str | None = None,
        claim_after: Seconds | None = DEFAULT_CLAIM_AFTER_S,
        batch: int = DEFAULT_BATCH,
        url: str = DEFAULT_URL,
        username: str | None = None,
        password: str | None = None,
        timeout: Seconds = DEFAULT_TIMEOUT_S,
    ) -> None:
        who = "RedisStreamSpout"
        self._server = Server.given(who, url, username, password, timeout)
        self._streams = names_of(who, "streams", streams)
        check_name(who, "group", group)
        if consumer is not None:
            check_name(who, "consumer", consumer)
        if not isinstance(cast("object", start), str) or not re.fullmatch(r"\$|\d+(-\d+)?", start):
            raise refused(f"{who} has start={repr_of(start)}", 'give "0", "$" or an id: "1700000000000-0"')
        check_count(who, "batch", batch)
        idle_s = None if claim_after is None else seconds_of(who, "claim_after", claim_after)
        if idle_s is not None and idle_s < LEAST_CLAIM_AFTER_S:
            fix = f"give {LEAST_CLAIM_AFTER_S:g} s at least: a task shows that it lives each {LOOK_S:g} s"
            raise refused(f"{who} has claim_after={repr_of(claim_after)}", fix)
        self._idle_ms = None if idle_s is None else int(1000 * idle_s)
        self._group_name, self._consumer, self._start, self._create = group, consumer, start, create
        self._batch = batch
        self._rows = rows_of(who, fields, field, decoder, outputs, stream_field, id_field)
        self.outputs = self._rows.outputs  # pyright: ignore[reportAttributeAccessIssue]  # of this spout alone
        self._wake: Callable[[], object] = lambda: None

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Learns how the core is told that there is something."""
        self._wake = wake

    # -- life ------------------------------------------------------------------------------------------------------

    def open(self, context: TopologyContext) -> None:
        """Sees that streams and group are there, and begins to read; where Redis is away for now it waits for it."""
        login = self._server.login(f'spout "{context.component}"')
        name = f"{self._consumer or f'{context.topology}-{context.component}'}-{context.task_index}"
        group = Group(self._streams, self._group_name, name, self._start, self._create, self._idle_ms, self._batch)
        counters = Counters(context.counter("entries"), context.counter("claimed"), context.counter("gone"))
        self._reading = Reading(login, group, self._rows, counters, self._wake, context.report_error)
        self._chunk: Chunk | None = None
        self._at = 0
        context.gauge("queued", lambda: self._reading.queued)
        context.gauge("waiting_s", self._reading.waiting_s)
        if context.task_index == 0:
            context.gauge("lag", lambda: sum(self._reading.lag().values()))
            context.gauge("pending", self._reading.pending)
            context.table("lag by stream", self._reading.lag)
        try:
            self._reading.prepare()
        except Unavailable as error:
            self._reading.tell(error)
        self._reading.start()

    def next_batch(self, limit: int) -> _core.Batch | None:
        """The next entries."""
        if self._chunk is None:
            self._chunk, self._at = self._reading.take(), 0
        if (chunk := self._chunk) is None:
            return None
        first, end = self._at, min(self._at + limit, len(chunk.rows))
        if chunk.bad:
            first, end = self._bury(chunk, first, end)
        self._at = end
        if end == len(chunk.rows):
            self._chunk = None
        return _core.Batch(chunk.rows[first:end], ids=self._ids(chunk, first, end))

    def _bury(self, chunk: Chunk, first: int, end: int) -> tuple[int, int]:
        """Makes dead letters of the bad entries that come next; from where to where the rows after them are good."""
        while first < end and (bad := chunk.bad.get(first)) is not None:
            record = Undecoded(BAD, bad.values)
            self.context.dead_letter(record, error=bad.error, id=self._ids(chunk, first, first + 1)[0])
            first += 1
        return first, next((at for at in range(first, end) if at in chunk.bad), end)

    def _ids(self, chunk: Chunk, first: int, end: int) -> list[Any]:
        """The message ids: an entry's own, and of several streams the stream's name before it."""
        ids = chunk.ids[first:end]
        return ids if len(self._streams) == 1 else [(chunk.stream, id) for id in ids]

    def ack_many(self, ids: list[Any]) -> None:
        """Entries have ended."""
        self._reading.ack([(self._streams[0], id) for id in ids] if len(self._streams) == 1 else ids)

    def deactivate(self) -> None:
        """Reads no more."""
        self._reading.stop()
        self._chunk = None

    def close(self) -> None:
        """Acks what has ended, and ends."""
        self._reading.end()
