"""Standard input as a source: `cat orders.jsonl | squall run shop.py`."""

from __future__ import annotations

import socket
from collections import deque
from io import UnsupportedOperation
from typing import Any, ClassVar, NamedTuple, cast

from squall.api.components import Spout
from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery
from squall.connectors.files.formats.checks import check_read
from squall.connectors.files.formats.json_lines import JsonLines
from squall.connectors.files.formats.text import Text
from squall.connectors.files.reading.blocks import Blocks
from squall.connectors.files.reading.chunks import START, Chunk, Place
from squall.connectors.files.reading.format import Opening
from squall.connectors.files.reading.outgoing import Outgoing
from squall.connectors.files.spout import DEFAULT_MAX_RECORD
from squall.errors import Defect, Exhausted, TopologyError
from squall.runtime import standard_input

__all__ = ["StdinSpout"]

NAME = "standard input"


class StdinSpout(Spout):
    """Emits what comes on the run's standard input, each line a tuple; ends when it ends.

    Out: one field `line`, or as `JsonLines` says.
    Delivery: at least once in a run, also when workers are lost: the parent keeps what has not ended. Standard input
        cannot be read twice: what a run did not come to before it was stopped is gone. A line that cannot be read
        becomes a dead letter with its number.
    Bound: when the topology cannot take more, standard input is not read, so that the writer feels it: the parent keeps
        64 MiB of what has not ended, the spout a block of up to 256 KiB beyond what is pending.
    Args:
        format: `squall.connectors.files.Text` or `JsonLines`.
        max_record: longest line, in bytes.

    One spout of a topology reads standard input; of several tasks the first one does.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "at least once in a run",
        "lines in theirs; what failed comes again later",
        "of a worker: nothing; of the run: what it had read, since a pipe cannot be read twice",
        "pipes and files of Linux; not driven by the conformance kit: standard input is there in a real run alone",
    )
    reads_stdin = True
    idle_wait = 0.005
    outputs: ClassVar[Any] = ()

    def __init__(self, format: Text | JsonLines | None = None, /, *, max_record: int = DEFAULT_MAX_RECORD) -> None:
        self._format: Text | JsonLines = Text() if format is None else format
        is_known = isinstance(cast("object", self._format), Text | JsonLines)
        check_read(is_known, format, "standard input is read as Text() or JsonLines()")
        self._max_record = max_record
        object.__setattr__(self, "outputs", self._format.outputs(lambda: None, Opening(None, max_record, False)))

    def open(self, context: TopologyContext) -> None:
        """Takes standard input over.

        Raises:
            TopologyError: `stdin_missing`.
        """
        self._context, self._outgoing = context, Outgoing(context)
        source = None if context.task_index else standard_input.SOURCE
        if source is None and not context.task_index:
            fix = "use `squall run`; in a test, name the spout in mock_sources"
            raise TopologyError(Defect("stdin_missing", "standard input is there in `squall run` only", (), fix))
        self._raw = _Pipe(source)
        self._begin(START)
        context.gauge("bytes_read", self._raw.disk_bytes)

    def _begin(self, place: Place) -> None:
        """Lines come from a place on."""
        self._place, self._skip, self._given = place, place.skip, 0
        self._marks: deque[_Mark] = deque()
        blocks = Blocks(self._raw, place.offset, self._max_record)
        self._reader = self._format.records(NAME, blocks, place._replace(skip=0), self._max_record)

    def position(self) -> bytes:
        """How far all lines have ended: not kept for the next run, but for the next worker of this one."""
        count = self._context.ended_prefix()
        while self._marks and self._marks[0].end <= count:
            self._place = self._marks.popleft().after
        if self._marks and (mark := self._marks[0]).first < count:
            self._place = mark.before._replace(skip=mark.before.skip + count - mark.first)
        return standard_input.Place(*self._place).encode()

    def seek(self, position: bytes) -> None:
        """Goes on where the worker before was; what had ended does not come again."""
        self._begin(Place(*standard_input.place_of(position)))

    def next_batch(self, limit: int) -> list[Any]:
        """The next lines."""
        while self._outgoing.is_empty:
            has_ended = self._raw.has_ended
            if (chunk := self._reader.read(to_the_end=has_ended)) is not None:
                self._load(chunk)
            elif has_ended:
                raise Exhausted
            elif not self._raw.has_ended:
                return []
        return self._outgoing.take(limit)

    def _load(self, chunk: Chunk) -> None:
        """Takes the next outputs, without those that had ended before."""
        skip = min(self._skip, len(chunk.rows))
        first, self._given = self._given, self._given + len(chunk.rows) - skip
        self._marks.append(_Mark(first, self._given, chunk.before._replace(skip=skip), chunk.after))
        self._skip -= skip
        self._outgoing.load(chunk, skip)


class _Mark(NamedTuple):
    """Outputs of a chunk: `first` and `end` count those of this worker."""

    first: int
    end: int
    before: Place
    after: Place


class _Pipe:
    """What the parent of the run passes on; without a source there is nothing."""

    def __init__(self, source: socket.socket | None) -> None:
        self._source = source
        self._bytes = 0
        self.has_ended = source is None

    def read(self, size: int, /) -> bytes:
        """What is there."""
        if self.has_ended or self._source is None:
            return b""
        try:
            data = self._source.recv(size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        self.has_ended = not data
        self._bytes += len(data)
        return data

    def go_back(self, offset: int, /) -> None:
        raise UnsupportedOperation("standard input is read once")

    def disk_bytes(self) -> int:
        return self._bytes

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
