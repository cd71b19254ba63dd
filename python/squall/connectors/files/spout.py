"""Files as a source: once through, or followed as they grow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from squall.api.components import Spout
from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery
from squall.connectors.files.compression import Compression, is_compression
from squall.connectors.files.formats.text import Text
from squall.connectors.files.reading.format import Opening, ReadFormat
from squall.connectors.files.reading.found import Order, check_patterns, found_by
from squall.connectors.files.reading.outgoing import Outgoing
from squall.connectors.files.reading.progress import Progress
from squall.connectors.files.reading.task_files import TaskFiles, Wanted
from squall.connectors.framing import is_count
from squall.errors import Defect, Exhausted, TopologyError, repr_of
from squall.model.durations import seconds_or_none

FOLLOWED_IDLE_S = 0.05
DEFAULT_MAX_RECORD = 16 << 20


class FileSpout(Spout):
    """Emits what files hold, each record a tuple.

    Out: as the format says; one field `line` for text.
    Delivery: at least once, over restarts too: a run goes on at the record where the last one stopped, whatever ended
        it. A file is known again by its inode and its first bytes, so it may be renamed. When all files are read and
        all is done, the next run begins anew. What cannot be read (a record, a file, or the rest of one) becomes a dead
        letter with its file and line, and the run goes on.
    Order: files one after the other, records in their order; followed files as they grow.
    Bound: two blocks of 256 KiB of each open file, and 256 open files; a record has at most `max_record` bytes.
        The position of a task has room for some 17,000 files that were read to their end, or 8,000 that are followed.
    Cost: a compressed file is decompressed again up to the place where a run goes on.
    Args:
        files: paths or patterns (`*`, `?`, `[…]`, `**` for folders in folders, `~`).
            A file that several match is read once.
        format: `Text`, `Csv`, `JsonLines` or `Parquet`.
        follow: also wait for new files and for what is added to them, as `tail -F` does. A renamed file is read on; one
            that got shorter is reported and read from its start. A line waits for its line feed. Files that cannot
            grow (compressed, Parquet) are read once: move them there whole.
        compression: `"auto"`: by the suffix (`.gz`, `.zst`); `"gzip"`, `"zstd"`, or None.
        order: of the files, by `"name"` or by `"age"`, oldest change first.
        max_record: longest line, in bytes.
        look_every: with `follow`, seconds between two looks for new and renamed files.

    Several tasks share the files.

    Raises:
        TopologyError: `file_spout_argument` or `file_format`, when it is made.
        StateError: `file_not_found`, `file_not_regular` or `file_unreadable`, when it is opened.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "at least once",
        "files one after the other, records in theirs; followed files as they grow",
        "nothing is lost; what had ended behind a record that had not comes again",
        "local file systems of Linux; text, CSV, JSON lines, Parquet; gzip, zstd",
    )
    outputs: ClassVar[Any] = ()

    def __init__(
        self,
        files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        /,
        *,
        format: ReadFormat | None = None,
        follow: bool = False,
        compression: Compression = "auto",
        order: Order = "name",
        max_record: int = DEFAULT_MAX_RECORD,
        look_every: float = 1.0,
    ) -> None:
        patterns, format = _patterns(files), Text() if format is None else format
        for name, value, is_right, fix in (
            ("compression", compression, is_compression(compression), "give auto, gzip, zstd or None"),
            ("order", order, _is_one_of(order, "name", "age"), "give name or age"),
            ("max_record", max_record, is_count(max_record), "give bytes, from 1"),
            ("look_every", look_every, _is_number_above_0(look_every), "give seconds, above 0"),
        ):
            if not is_right:
                raise _wrong(f"FileSpout has {name}={repr_of(value)}", fix)
        if isinstance(format, type) or not callable(getattr(type(format), "outputs", None)):
            fix = "give Text(), Csv() or another format of this module"
            raise _wrong(f"FileSpout has format={repr_of(format)}", fix)
        opening = Opening(compression, max_record, follow)
        self._wanted = Wanted(patterns, order, format, opening, look_every)
        if follow is True:
            object.__setattr__(self, "idle_wait", FOLLOWED_IDLE_S)
        object.__setattr__(self, "outputs", format.outputs(self._first_path, opening))

    def _first_path(self) -> str | None:
        return next((file.path for file in found_by(self._wanted.patterns, self._wanted.order)), None)

    # -- life ------------------------------------------------------------------------------------------------------

    def open(self, context: TopologyContext) -> None:
        """Finds the files."""
        self._context = context
        self._progress = Progress(type(self._wanted.format).__name__)
        self._files = TaskFiles(self._wanted, context, self._progress)
        self._outgoing = Outgoing(context)
        check_patterns(self._wanted.patterns, follow=self._wanted.opening.follow)
        context.gauge("bytes_read", self._files.bytes_read)
        context.gauge("bytes_total", self._files.bytes_total)

    def close(self) -> None:
        """Closes the files."""
        self._files.close()

    def position(self) -> bytes:
        """The files, each as far as it has ended."""
        self._progress.ended(self._context.ended_prefix())
        return self._progress.encode()

    def seek(self, position: bytes) -> None:
        """Goes on at a position."""
        self._progress.restore(position)

    # -- emission --------------------------------------------------------------------------------------------------

    def next_batch(self, limit: int) -> list[Any]:
        """The next records."""
        while self._outgoing.is_empty:
            if not self._load():
                return []
        return self._outgoing.take(limit)

    def _load(self) -> bool:
        """Takes the next chunk. Whether there is one; else nothing has come for now.

        Raises:
            Exhausted: nothing will come any more.
        """
        if (found := self._files.read(self._outgoing.given)) is None:
            if self._wanted.opening.follow:
                return False
            raise Exhausted
        tracked, chunk = found
        skipped = min(tracked.skip, len(chunk.rows))
        tracked.skip -= skipped
        first = self._outgoing.given - skipped
        self._outgoing.load(chunk, skipped)
        self._progress.given(first, first + len(chunk.rows), tracked.found.key, chunk.before, chunk.after)
        return True


def _patterns(files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Paths and patterns as texts."""
    given: Any = [files] if isinstance(files, str | os.PathLike) else files
    try:
        patterns = tuple(os.fsdecode(one) for one in given)
    except Exception:  # whatever it is, it is no list of paths
        patterns = ()
    if not all(patterns) or not patterns:
        fix = "give a path, a pattern, or a list of them"
        raise _wrong(f"FileSpout is given {repr_of(files)}, which names no files", fix)
    return patterns


def _wrong(message: str, fix: str) -> TopologyError:
    return TopologyError(Defect("file_spout_argument", message, (), fix))


def _is_number_above_0(value: object) -> bool:
    length_s = seconds_or_none(value)
    return isinstance(value, int | float) and length_s is not None and length_s > 0


def _is_one_of(value: object, *words: str) -> bool:
    return isinstance(value, str) and value in words
