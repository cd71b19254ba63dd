"""The threads of a stream spout: one reads, one acks, so that neither waits for the other, nor the loop for them.

What a task has read and Redis does not know to be acked is *held*. Redis would give it again after a connection was
lost, or when it has forgotten the group; what is held is left out then. What another consumer held is claimed only when
that consumer has asked for nothing for a while. `XAUTOCLAIM` looks at the entries alone, and would take those of a
living task that is slow; so consumers are looked at first, and what they hold is claimed by `XCLAIM`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from squall.api.context import Counter
from squall.connectors.contract import Unavailable
from squall.connectors.redis.entries import Chunk, Entry, Rows
from squall.connectors.redis.group import LAST, Looked, by_name, dead_consumers, entries_of, flat, start_again, text
from squall.connectors.redis.server import Login, closed, code_of, is_passing, pipelined, said
from squall.connectors.sending.backoff import Backoff
from squall.errors import ClusterError, Defect, SquallError, StateError

log = logging.getLogger("squall.connectors")
BLOCK_S = 0.5
"""For how long Redis waits for an entry; the longest that a close has to wait."""
LOOK_S = 1.0
ACKS = 1000
"""Ids of one `XACK`."""
FLUSH_S = 5.0
"""How long a close waits for the last acks."""


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group, and what a task is in it. `idle_ms`: when what another one holds is claimed; None: never."""

    streams: tuple[str, ...]
    name: str
    consumer: str
    start: str
    create: bool
    idle_ms: int | None
    batch: int


@dataclass(slots=True)
class Trouble:
    """How a thread fares: failures without a success between them; since when it has been without one, once told."""

    failures: int = 0
    since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """Entries that were read, claimed, and gone before they were read or processed."""

    read: Counter
    claimed: Counter
    gone: Counter


class Reading:
    """What a task reads.

    Bound: two batches that are read and not taken; what is held and not acked is bounded by who takes them.

    Args:
        wake: has them taken.
        report: shows an error.
    """

    def __init__(
        self,
        login: Login,
        group: Group,
        rows: Rows,
        counters: Counters,
        wake: Callable[[], object],
        report: Callable[[BaseException], None],
    ) -> None:
        self._login, self._group, self._rows, self._counters = login, group, rows, counters
        self._wake, self._report = wake, report
        self._lock = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self.queued = 0
        self._held: dict[str, set[str]] = {stream: set() for stream in group.streams}
        self._acked: list[tuple[str, str]] = []
        self._settled: list[tuple[str, str]] = []
        """Acked while what is pending is read again: an answer that is on its way may still have it."""
        self._is_taking_up = self._is_stopped = self._is_ending = False
        self._seen: dict[str, Looked] = {}
        self._passed_over: dict[str, int] = {}
        self._next_look_s = self._next_claim_s = 0.0
        self._sees = True
        self._is_prepared = False
        self._reads, self._acks = Trouble(), Trouble()
        self._threads = [
            threading.Thread(target=self._living, args=(trouble, work), name=f"squall-redis-{name}", daemon=True)
            for name, trouble, work in (("reads", self._reads, self._read_on), ("acks", self._acks, self._ack_on))
        ]

    # -- for the task ----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Sees that the streams and the group are there.

        Raises:
            Unavailable: not now.
            SquallError: it never will.
        """
        client = self._login.connect()
        try:
            self._prepare_all(client)
        except Exception as error:
            raise self._login.told(error) from error
        finally:
            closed(client)

    def start(self) -> None:
        """Begins to read."""
        for thread in self._threads:
            thread.start()

    def take(self) -> Chunk | None:
        """The next entries; None: there are none now."""
        with self._lock:
            if not self._chunks:
                return None
            chunk = self._chunks.popleft()
            self.queued -= len(chunk.ids)
            self._lock.notify_all()
            return chunk

    def ack(self, ended: Sequence[tuple[str, str]]) -> None:
        """Entries have ended: by stream and id."""
        with self._lock:
            self._acked.extend(ended)
            self._lock.notify_all()

    def stop(self) -> None:
        """Reads no more. What was read and not taken stays pending in Redis: the next run takes it up."""
        with self._lock:
            self._is_stopped = True
            self._chunks.clear()
            self.queued = 0
            self._lock.notify_all()

    def end(self) -> None:
        """Ends the threads, when what has ended is acked, or cannot be for now."""
        self.stop()
        with self._lock:
            self._is_ending = True
            self._lock.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(FLUSH_S)

    def lag(self) -> dict[str, float]:
        """Entries that the group has not read, by stream, when it was last looked."""
        return {stream: float(seen.lag) for stream, seen in self._seen.copy().items()}

    def pending(self) -> float:
        """Entries that the group has read and not acked, when it was last looked."""
        return float(sum(seen.pending for seen in self._seen.copy().values()))

    def waiting_s(self) -> float:
        """For how long Redis has been away."""
        since = [since_s for since_s in (self._reads.since_s, self._acks.since_s) if since_s is not None]
        return time.monotonic() - min(since) if since else 0.0

    def tell(self, error: Exception) -> None:
        """Tells that Redis is away, once an outage."""
        is_told = self._reads.since_s is not None or self._acks.since_s is not None
        self._reads.since_s = self._reads.since_s or time.monotonic()
        if is_told or self._is_ending:
            return
        facts = (("because", str(error) if isinstance(error, Unavailable | SquallError) else said(error)),)
        fix = "nothing is lost: reading goes on when it is back; see that it runs, and that it can be reached"
        defect = Defect("source_unavailable", f"{self._login.where} is not available", facts, fix)
        self._report(ClusterError(defect, retryable=True))

    # -- both threads ----------------------------------------------------------------------------------------------

    def _living(self, trouble: Trouble, work: Callable[[Any], None]) -> None:
        """Does a thread's work on a connection, and on another one when it is lost.

        One that is lost alone is not worth a word: it is made anew at once.
        """
        backoff = Backoff(None, Random())
        while not self._is_over(trouble):
            client = None
            try:
                client = self._login.connect()
                work(client)
            except Exception as error:
                if self._is_ending:
                    return
                trouble.failures += 1
                if trouble.failures == 1 and client is not None and is_passing(error):
                    backoff.succeeded()
                    continue
                with self._lock:
                    self.tell(self._login.told(error))
                    trouble.since_s = trouble.since_s or time.monotonic()
                pause_s = backoff.pause_s(time.monotonic())
                assert pause_s is not None, "it never gives up"
                with self._lock:
                    self._lock.wait_for(lambda: self._is_over(trouble), pause_s)
            finally:
                if client is not None:
                    closed(client)

    def _is_over(self, trouble: Trouble) -> bool:
        return self._is_stopped if trouble is self._reads else self._is_ending and not self._acked

    def _works(self, trouble: Trouble) -> None:
        """A connection was of use."""
        trouble.failures = 0
        if trouble.since_s is not None:
            log.info("event=available what=%r after_s=%.1f", self._login.where, time.monotonic() - trouble.since_s)
            trouble.since_s = None

    # -- acks ------------------------------------------------------------------------------------------------------

    def _ack_on(self, client: Any) -> None:
        while True:
            if not self._acked:
                self._works(self._acks)
            with self._lock:
                self._lock.wait_for(lambda: self._acked or self._is_ending)
                ended = self._acked[: 10 * ACKS]
            if not ended:
                return
            by_stream = dict[str, list[str]]()
            for stream, id in ended:
                by_stream.setdefault(stream, []).append(id)
            commands = [
                ("XACK", stream, self._group.name, *ids[at : at + ACKS])
                for stream, ids in by_stream.items()
                for at in range(0, len(ids), ACKS)
            ]
            answers = pipelined(client, commands)
            for answer in answers:
                # A group, or stream, that is gone, or another type now, holds nothing that could be acked.
                if isinstance(answer, Exception) and code_of(answer) not in ("NOGROUP", "WRONGTYPE"):
                    raise answer
            self._works(self._acks)
            with self._lock:
                del self._acked[: len(ended)]
                self._settled.extend(ended)
                if not self._is_taking_up:
                    self._let_go()

    def _let_go(self) -> None:
        for stream, id in self._settled:
            self._held[stream].discard(id)
        self._settled.clear()

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read_on(self, client: Any) -> None:
        if not self._is_prepared:
            self._prepare_all(client)
        self._careful(client, lambda: self._take_up(client))
        while not self._is_stopped:
            self._works(self._reads)
            if self._has_room():
                self._careful(client, lambda: self._read(client))
            if time.monotonic() >= self._next_look_s and self._sees:
                self._careful(client, lambda: self._look(client))
                self._next_look_s = time.monotonic() + LOOK_S

    def _careful(self, client: Any, do: Callable[[], None]) -> None:
        """Does something; makes the group anew where it is gone."""
        try:
            do()
        except Exception as error:
            if code_of(error) != "NOGROUP":
                raise
            for stream in self._group.streams:
                self._make_again(client, stream, said(error))

    def _has_room(self) -> bool:
        with self._lock:
            return self._lock.wait_for(lambda: self._is_stopped or self.queued < self._group.batch, BLOCK_S)

    def _read(self, client: Any) -> None:
        command = ("GROUP", self._group.name, self._group.consumer, "COUNT", self._group.batch)
        wait = ("BLOCK", int(1000 * BLOCK_S))
        try:
            answer = client.execute_command(
                "XREADGROUP", *command, *wait, "STREAMS", *self._group.streams, *[">"] * len(self._group.streams)
            )
        except Exception as error:
            if code_of(error) == "UNBLOCKED":  # the stream was removed meanwhile
                return
            raise
        for stream, entries in entries_of(answer):
            self._give(client, stream, entries)

    def _take_up(self, client: Any) -> None:
        """Reads what this consumer holds already: of a life before, or of a connection that broke with the answer."""
        with self._lock:
            self._is_taking_up = True
        try:
            for stream in self._group.streams:
                after = "0-0"
                while not self._is_stopped:
                    if not self._has_room():
                        continue
                    read = ("GROUP", self._group.name, self._group.consumer, "COUNT", self._group.batch)
                    answer = client.execute_command("XREADGROUP", *read, "STREAMS", stream, after)
                    entries = [entry for _, entries in entries_of(answer) for entry in entries]
                    if not entries:
                        break
                    after = text(entries[-1][0])
                    self._give(client, stream, entries)
        finally:
            with self._lock:
                self._is_taking_up = False
                self._let_go()

    def _give(self, client: Any, stream: str, entries: Sequence[Entry]) -> None:
        """Passes entries on that are not held; those of which nothing is left are told."""
        held, new = self._held[stream], entries
        with self._lock:
            if not held.isdisjoint([id.decode() for id, _ in entries]):
                new = [entry for entry in entries if entry[0].decode() not in held]
        if gone := [id for id, fields in new if not fields]:
            self._acknowledge_gone(client, stream, gone)
            new = [entry for entry in new if entry[1]]
        if not new:
            return
        chunk = self._rows.chunk(stream, new)
        with self._lock:
            if self._is_stopped:
                return
            held.update(chunk.ids)
            self._chunks.append(chunk)
            self.queued += len(chunk.ids)
        self._counters.read.add(len(chunk.ids))
        self._wake()

    def _acknowledge_gone(self, client: Any, stream: str, gone: Sequence[bytes]) -> None:
        client.execute_command("XACK", stream, self._group.name, *gone)
        self._tell_gone(stream, len(gone), "they had been read and were not processed yet")

    def _tell_gone(self, stream: str, count: int, how: str) -> None:
        self._counters.gone.add(count)
        message = f"{count:,} entries of {stream} were removed before they were processed: {how}"
        fix = "trim less (MAXLEN, MINID), or read faster: more tasks, quicker bolts"
        self._report(StateError(Defect("redis_entries_gone", message, (("group", self._group.name),), fix)))

    # -- the group -------------------------------------------------------------------------------------------------

    def _prepare_all(self, client: Any) -> None:
        for stream in self._group.streams:
            self._prepare(client, stream)
        self._is_prepared = True

    def _prepare(self, client: Any, stream: str) -> None:
        kind = client.execute_command("TYPE", stream)
        where = self._login.where
        if kind == b"none" and not self._group.create:
            message = f"there is no stream {stream!r} in {where}"
            fix = "see its name, or have it made and wait for what is added: create=True"
            raise StateError(Defect("redis_stream_missing", message, (), fix))
        if kind not in (b"stream", b"none"):
            message = f"the key {stream!r} of {where} is a {text(kind)}, not a stream"
            raise StateError(Defect("redis_key_type", message, (), "name another key, or remove that one: TYPE, DEL"))
        self._make(client, stream, self._group.start)

    def _make(self, client: Any, stream: str, start: str) -> bool:
        """Makes the group; whether it was not there."""
        try:
            client.execute_command("XGROUP CREATE", stream, self._group.name, start, "MKSTREAM")
        except Exception as error:
            if code_of(error) != "BUSYGROUP":
                raise
            return False
        return True

    def _make_again(self, client: Any, stream: str, because: str) -> None:
        """Makes a group anew that is gone: somebody flushed the data, or removed it, or Redis lost it in a crash."""
        about = pipelined(client, [("XINFO STREAM", stream)])[0]
        last = None if isinstance(about, Exception) else text(by_name(about)["last-generated-id"])
        start = start_again(self._seen.get(stream), last)
        if not self._make(client, stream, start):
            return
        self._seen.pop(stream, None)
        self._passed_over.pop(stream, None)
        facts = (("because", because), ("begins after", start))
        fix = "nothing, if that was meant; what was on its way may come twice"
        message = f"the group {self._group.name!r} of stream {stream} was gone, and is made anew"
        self._report(StateError(Defect("redis_group_gone", message, facts, fix)))

    def _look(self, client: Any) -> None:
        """Sees how far the group is, and claims what dead consumers hold."""
        name = self._group.name
        for stream in self._group.streams:
            # What is held is asked for, from the greatest id on: Redis 7.0 takes that for a sign of life of a consumer,
            # and not that it waits for entries.
            lives = ("XREADGROUP", "GROUP", name, self._group.consumer, "COUNT", 1, "STREAMS", stream, LAST)
            commands = [("XINFO STREAM", stream), ("XINFO GROUPS", stream), ("XPENDING", stream, name), lives]
            answers = pipelined(client, commands)
            if failures := [answer for answer in answers if isinstance(answer, Exception)]:
                if code_of(failures[0]) == "NOPERM":
                    return self._see_no_more(failures[0])
                raise failures[0]
            about, groups, pending, _ = answers
            if (seen := Looked.of(about, groups, pending, name)) is None:
                continue
            self._seen[stream] = seen
            self._look_for_gaps(stream, seen)
        if self._group.idle_ms is not None and time.monotonic() >= self._next_claim_s:
            self._next_claim_s = time.monotonic() + max(LOOK_S, self._group.idle_ms / 4000)
            for stream in self._group.streams:
                self._claim(client, stream, self._group.idle_ms)

    def _see_no_more(self, error: Exception) -> None:
        self._sees = False
        facts = (("because", said(error)),)
        fix = "allow XINFO and XPENDING; until then there is no lag, and what dead consumers hold is not claimed"
        message = f"{self._login.where} does not let this user look at the group"
        self._report(StateError(Defect("redis_group_unseen", message, facts, fix)))

    def _look_for_gaps(self, stream: str, seen: Looked) -> None:
        if (count := seen.passed_over) is None:
            return
        known = self._passed_over.get(stream, count if seen.delivered == "0-0" or not seen.read else 0)
        self._passed_over[stream] = count
        if count > known:
            self._tell_gone(stream, count - known, "they had not been read yet")

    def _claim(self, client: Any, stream: str, idle_ms: int) -> None:
        consumers = client.execute_command("XINFO CONSUMERS", stream, self._group.name)
        for consumer in dead_consumers(consumers, self._group.consumer, idle_ms):
            while not self._is_stopped and self._has_room():
                if not self._claim_some(client, stream, consumer, idle_ms):
                    break

    def _claim_some(self, client: Any, stream: str, consumer: str, idle_ms: int) -> bool:
        """Claims some of what a consumer holds; whether there may be more."""
        name, most = self._group.name, self._group.batch
        asked = ("XPENDING", stream, name, "IDLE", idle_ms, "-", "+", most, consumer)
        ids = [one["message_id"] for one in client.execute_command(*asked, parse_detail=True)]
        if not ids:
            return False
        claimed = flat(client.execute_command("XCLAIM", stream, name, self._group.consumer, idle_ms, *ids))
        taken = {text(id) for id, fields in claimed if fields}
        missing = [id for id in ids if text(id) not in taken]
        ranges = pipelined(client, [("XRANGE", stream, id, id) for id in missing])
        if gone := [id for id, found in zip(missing, ranges, strict=True) if not found]:  # else somebody was quicker
            self._acknowledge_gone(client, stream, gone)
        self._counters.claimed.add(len(taken))
        if taken:
            log.info("event=claimed stream=%s consumer=%s entries=%d", stream, consumer, len(taken))
        self._give(client, stream, [entry for entry in claimed if entry[1]])
        return len(ids) == most
