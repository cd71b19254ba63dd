"""A sink that writes rows to files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from squall._core import Tuple
from squall.api.components import Bolt
from squall.connectors.contract import Delivery
from squall.connectors.extras import need
from squall.connectors.files.compression import Compression, is_compression, packing_of, suffix_for
from squall.connectors.files.formats.text import Text
from squall.connectors.files.stores import check_one_store, is_address, without_login
from squall.connectors.files.writing.layout import Layout, Rotation
from squall.connectors.files.writing.open_files import OpenFiles, Plan
from squall.connectors.files.writing.options import refused
from squall.connectors.files.writing.rows import Row, StartAnew, WrittenFormat, unwritable
from squall.connectors.files.writing.staged import Staged
from squall.connectors.files.writing.staging import WAITS, Appended
from squall.connectors.framing import is_count
from squall.connectors.named_fields import check_fields
from squall.errors import RetryTuple, repr_of

WAIT_S = 1.0
DEFAULT_MAX_OPEN = 64
DEFAULT_HELD = 200_000


class FileSink(Bolt):
    """Writes each input as a row of a file: `FileSink("out.txt")` appends lines to it.

    In: any stream.
    Delivery: at least once: an input is acked when its row is on disk, synced together with the others of its batch. A
        row that its format cannot take goes to the dead letters at once, alone. A full disk slows the topology: the
        task takes nothing for a second, then what failed is tried again, uncounted, until there is room; a
        half-written batch is taken back.
    Files: without `rotate` rows are appended to one file, which can be read while it grows; a loss of power may cut its
        last row. With `rotate` a file has a hidden name (`.NAME.KIND.open`) until it is full or old, and then
        appears whole, as `NAME-TIME-TASK.SUFFIX`, by a rename. What a process that died had written of it, each acked
        row, appears when a sink of the same path is next opened, whatever its format, compression, suffix and rotation.
    Stores: an address such as `s3://bucket/out/part.parquet` or `webhdfs://host:9870/out/part.csv` is of any store that
        fsspec knows. Such a store cannot append, so an input is acked when its file is complete there: `rotate` bounds
        the delay, and how much a crash repeats; `held_max` the rows that wait for it, in a local file meanwhile. A file
        is seen when it is whole. What a killed upload of the same task left is removed when the sink is next opened.
        While the store is away rows wait, and nothing fails.
    Bound: `max_open_files` files are open; the one that was longest without a row is closed, and published.
    Metrics: counters `rows`, `bytes` (before compression) and `files` (published), gauge `open files`.
    Threading: on a thread of its own, so that a slow disk holds up nothing else.
    Args:
        path: made if it is not there, its folder too. Fields in braces part the rows:
            `out/{country}/{day:%Y-%m-%d}/part.csv`; a value cannot leave its folder, its slashes are written as `%2F`.
            With several tasks each writes its own: `name.N.suffix`.
        format: `Text`, `Csv`, `JsonLines` or `Parquet`.
        rotate: when files are closed and published. Parquet and compressed files always are, by `Rotation()` if not
            given.
        compression: "auto": by the path's suffix (`.gz`, `.zst`); None; or "gzip" or "zstd", which adds the suffix
            (`pip install "squall[zstd]"`).
        fsync: False acks when the operating system has the row: faster, and as safe unless the machine itself fails.
        max_open_files: with fields in the path.
        held_max: of a store: most rows that a task holds; then the file with most of them is finished.
        storage: what fsspec's client of the store is given: `{"key": "env:KEY", "secret": "env:SECRET"}`; `env:NAME` is
            read from the environment of the worker, and shown nowhere.

    Raises:
        TopologyError: `file_option`, `file_format` or `extra_missing`; `sink_field_unknown`, when it is opened.
        ConfigError: `file_store_refused`, `file_store_options` or `secret_missing`, when it is opened.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "at least once",
        "as given, in each file",
        "nothing is lost; rows that were not acked are written again, in a store those of files that were not complete",
        "local file systems of Linux; S3 (moto 5, an emulator); HDFS 3.4 by WebHDFS",
    )
    blocking = True
    batch_max = 1024  # no wait: what comes in during a sync is the next batch
    hold_max = 3600.0  # a slow disk slows, it does not fail

    def __new__(cls, *given: Any, **_options: Any) -> Self:  # pyright: ignore[reportInconsistentConstructor]
        """A sink of files on disk, or of a store."""
        path = given[0] if given else _options.get("path")
        if cls is FileSink and isinstance(path, str) and is_address(path):
            from squall.connectors.files.store_sink import StoreFileSink

            cls = cast("type[Self]", StoreFileSink)
        return super().__new__(cls)

    def __init__(
        self,
        path: str | Path,
        *,
        format: WrittenFormat | None = None,
        rotate: Rotation | None = None,
        compression: Compression = "auto",
        fsync: bool = True,
        max_open_files: int = DEFAULT_MAX_OPEN,
        held_max: int = DEFAULT_HELD,
        storage: Mapping[str, Any] | None = None,
    ) -> None:
        self._format: WrittenFormat = Text() if format is None else format
        self._fsync, self._max_open = fsync, max_open_files
        if isinstance(self._format, type) or not callable(getattr(type(self._format), "encoder", None)):
            raise refused(f"FileSink has format={repr_of(format)}", "give Text(), Csv() or another format")
        self._format.check_written()
        for name, value, is_right, fix in (
            ("path", path, isinstance(cast("object", path), str | Path), "give a text or a Path"),
            ("compression", compression, is_compression(compression), 'give "auto", "gzip", "zstd" or None'),
            ("max_open_files", max_open_files, is_count(max_open_files), "give a whole number from 1"),
            ("held_max", held_max, is_count(held_max), "give a whole number from 1"),
            ("rotate", rotate, rotate is None or isinstance(cast("object", rotate), Rotation), "give Rotation(…)"),
        ):
            if not is_right:
                raise refused(f"FileSink has {name}={repr_of(value)}", fix)
        packing = packing_of(str(path), compression)
        if self._format.seal and packing:
            shown = without_login(str(path))
            message = f"FileSink has compression={repr_of(compression)} for {shown!r}, beside {repr_of(format)}"
            fix = "leave it and the suffix out: Parquet(compression=…) is that of its columns"
            raise refused(message, fix)
        if packing == "zstd":
            need("zstd", "zstandard", "FileSink that compresses with zstd")
        self._staged = Staged(self._format.log, packing or self._format.seal)
        store = check_one_store("FileSink", (str(path),), storage)
        self._store, self._held_max = store, held_max
        self._rotate = rotate or (Rotation() if self._staged.seal or store else None)
        self._layout = Layout(store.path(str(path)) if store else str(path), suffix_for(str(path), packing))

    def open(self, context: Any) -> None:
        """Publishes what a run that was killed had left, and opens the file if it is one."""
        check_fields(f'bolt "{context.component}"', {"path": self._layout.fields}, context.inputs)
        limits = self._rotate.limits() if self._rotate else None
        plan = Plan(self._layout, self._format, self._staged, limits, self._fsync, self._max_open)
        self._files = OpenFiles(plan, context, context.task_index, context.report_error)
        self._own_name = f".{context.task_index}" if limits is None and context.task_count > 1 else ""
        self._rows, self._bytes = context.counter("rows"), context.counter("bytes")
        self._published = context.counter("files")
        context.gauge("open files", lambda: len(self._files))
        self._files.recover()
        self._count()
        if self._rotate is not None:
            context.every(self._rotate.look_every_s, self._finish_old)
        if not self._layout.is_partitioned:
            self._files.get(self._place({}))  # what cannot be written ends the run now

    def process_batch(self, tuples: list[Tuple]) -> list[Exception | None] | None:
        """Writes the rows of a batch, and syncs the files that they went to."""
        outcome: list[Exception | None] = [None] * len(tuples)
        error = self._told(self._files.publish_finished)  # what had no room before
        if error and error.errno in WAITS:
            self._refuse(outcome, range(len(tuples)), error)
            return _told_together(outcome)
        fields, touched = tuples[0].fields, list[Touched]()
        for place, at in self._parted(tuples, outcome).items():
            while len(at) > (room := self._files.room(place)):  # a file ends at its number of rows
                self._commit(touched + self._write(place, fields, tuples, at[:room], outcome), outcome)
                touched, at = [], at[room:]
            touched += self._write(place, fields, tuples, at, outcome)
        self._commit(touched, outcome)
        return _told_together(outcome) if any(outcome) else None

    def close(self) -> None:
        """Publishes all files."""
        try:
            self._files.finish_all()
        finally:
            self._count()

    # -- where to ------------------------------------------------------------------------------------------------

    def _place(self, values: dict[str, Any]) -> Path:
        place = self._layout.place(values)
        return self._layout.numbered(place, self._own_name) if self._own_name else place

    def _parted(self, tuples: list[Tuple], outcome: list[Exception | None]) -> dict[Path, Sequence[int]]:
        """The rows' numbers by the files they belong to."""
        if not self._layout.is_partitioned:
            return {self._place({}): range(len(tuples))}
        fields = tuples[0].fields
        parts: dict[Path, list[int]] = {}
        for number, tup in enumerate(tuples):
            try:
                place = self._place(dict(zip(fields, tup.values, strict=True)))
            except Exception as error:
                outcome[number] = unwritable(error)
            else:
                parts.setdefault(place, []).append(number)
        return {**parts}

    # -- writing -------------------------------------------------------------------------------------------------

    def _write(
        self,
        place: Path,
        fields: tuple[str, ...],
        tuples: list[Tuple],
        at: Sequence[int],
        outcome: list[Exception | None],
    ) -> list[Touched]:
        some = tuples if len(at) == len(tuples) else [tuples[number] for number in at]
        rows = [tup.values for tup in some]
        try:
            file, data, failures = self._encoded(place, fields, rows)
            for number, error in failures.items():
                outcome[at[number]] = error
            good = [one for number, one in enumerate(at) if number not in failures] if failures else at
            if not good:
                return []
            file.add(data, len(good), self.context.monotonic())
        except OSError as error:
            self._refuse(outcome, at, error)
            return []
        file.encoder.written()
        self._bytes.add(len(data))
        return [Touched(place, file, file.size, good)]

    def _encoded(
        self, place: Path, fields: tuple[str, ...], rows: Sequence[Row]
    ) -> tuple[Appended, bytes, Mapping[int, Exception]]:
        file = self._files.get(place)
        try:
            return file, *file.encoder.encode(fields, rows)
        except StartAnew:
            self._files.finish(place)
            file = self._files.get(place)
            return file, *file.encoder.encode(fields, rows)

    def _commit(self, touched: list[Touched], outcome: list[Exception | None]) -> None:
        """Has what was written reach the disk, and publishes the files that are full."""
        for one in touched:
            if self._fsync:
                with suppress(OSError):  # the file knows
                    one.file.sync()
            if one.file.size >= one.end:
                self._rows.add(len(one.at))
                continue
            if not one.file.size:
                one.file.encoder = self._format.encoder(is_begun=False)  # its header is gone too
            self._refuse(outcome, one.at, one.file.error or OSError())
        for one in touched:
            self._told(partial(self._files.finish_if_full, one.place))

    def _finish_old(self) -> None:
        self._told(self._files.finish_old)

    def _told(self, publish: Callable[[], None]) -> OSError | None:
        """Publishes files; a full disk is shown, and returned, but fails no row: those of finished files are safe."""
        try:
            publish()
        except OSError as error:
            self.context.report_error(error)
            return error
        finally:
            self._count()
        return None

    def _refuse(self, outcome: list[Exception | None], at: Sequence[int], error: OSError) -> None:
        failure: Exception = error
        if error.errno in WAITS:
            self.context.pause(WAIT_S)  # else every other batch would be refused meanwhile
            failure = RetryTuple(f"{self._layout.shown}: {error.strerror}", after=WAIT_S, counts=False)
            failure.__cause__ = error
        for number in at:
            outcome[number] = failure

    def _count(self) -> None:
        self._published.add(self._files.published)
        self._files.published = 0


def _told_together(outcome: list[Exception | None]) -> list[Exception | None]:
    """The failures of a batch; raises what all rows failed of, so that each is tried alone before it counts."""
    first = outcome[0]
    if first is not None and all(failure is first for failure in outcome):
        raise first
    return outcome


@dataclass(frozen=True, slots=True)
class Touched:
    """A file that a batch added rows to: up to where, and the rows' numbers."""

    place: Path
    file: Appended
    end: int
    at: Sequence[int]
