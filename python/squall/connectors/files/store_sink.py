"""A sink that writes rows to files of a store, and acks them when their file is there."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from squall._core import Tuple
from squall.api.waiting import Waits
from squall.connectors.contract import FOR_EVER_S, Delivery, Unavailable
from squall.connectors.files.sink import FileSink
from squall.connectors.files.stores import Store
from squall.connectors.files.writing.publishing import seal_of
from squall.connectors.files.writing.rows import StartAnew
from squall.connectors.files.writing.staging import Appended
from squall.connectors.files.writing.uploads import check_writable, remove_leftovers, uploaded
from squall.connectors.sending.backoff import Backoff
from squall.errors import ClusterError, Defect

log = logging.getLogger("squall.connectors")


@dataclass
class Growing:
    """A file that is not in the store yet: its rows in a local file, and the inputs that they are of."""

    place: Path
    local: Path
    file: Appended
    target: str
    held: list[Tuple] = field(default_factory=list[Tuple])


class StoreFileSink(Waits, FileSink):
    """What `FileSink` makes of an address: `FileSink("s3://bucket/out/part.csv")`."""

    manual_ack = True
    hold_max = FOR_EVER_S  # rows are held until their file is in the store, also while that is away

    delivery: ClassVar[Delivery] = Delivery(
        "at least once: rows are acked when their file is complete, and seen",
        "of a file's rows, by task",
        "nothing is lost, and no half file is seen: rows of files that were not complete are written again",
        "S3: moto 5 (an emulator); HDFS 3.4 by WebHDFS; fsspec's memory",
    )

    _store: Store

    def open(self, context: Any) -> None:
        """Sees that the store takes files, and removes what a killed upload of this task left."""
        assert self._rotate is not None, "an address has one"
        self._limits = self._rotate.limits()
        self._growing: OrderedDict[Path, Growing] = OrderedDict()
        self._numbers, self._own_name = 0, ""  # each file's name has the task's number
        self._is_checked, self._away_since_s = False, None
        self._backoff = Backoff(None, Random())
        self._rows, self._bytes = context.counter("rows"), context.counter("bytes")
        self._published = context.counter("files")
        context.gauge("open files", lambda: len(self._growing))
        context.gauge("held", lambda: sum(len(file.held) for file in list(self._growing.values())))
        context.gauge("waiting_s", self._waiting_s)
        try:
            with self._asking():
                self._client = self._store.connect(f'bolt "{context.component}"')
                self._check()
        except Unavailable as error:
            self._tell(error)
        context.every(self._rotate.look_every_s, self._finish_old)

    _away_since_s: float | None
    _is_asking = False

    def _check(self) -> None:
        if self._is_checked:
            return
        root, task = str(self._layout.root), self.context.task_index
        try:
            check_writable(self._client, root)
        except Unavailable:
            raise
        except Exception as error:
            raise self._client.refused(root, error) from None
        if count := remove_leftovers(self._client, root, self._layout.patterns(rf"-\d{{8}}T\d{{9}}-{task}(-\d+)?")):
            log.info("event=uploads_removed where=%s files=%d", self._store.address(root), count)
        self._is_checked = True

    def process_batch(self, tuples: list[Tuple]) -> list[Exception | None] | None:
        """Adds the rows of a batch to their files; those that are full go to the store."""
        outcome: list[Exception | None] = [None] * len(tuples)
        fields = tuples[0].fields
        for place, numbers in self._parted(tuples, outcome).items():
            at = numbers
            while at:
                room = self._room(place)
                self._add(place, fields, [tuples[number] for number in at[:room]], at[:room], outcome)
                at = at[room:]
        return outcome if any(outcome) else None

    def drain(self) -> None:
        """Has all files go to the store."""
        for place in list(self._growing):
            self._finish(place)

    def close(self) -> None:
        """Removes what was not finished: its rows are not acked."""
        for growing in self._growing.values():
            growing.file.close()
            growing.local.unlink(missing_ok=True)
        self._growing.clear()

    def waits_for(self) -> str:
        """The store, while it is asked whether it takes files, and while a file is on its way to it."""
        return self._where() if self._is_asking else ""

    def _where(self) -> str:
        return self._store.address(str(self._layout.root))

    @contextmanager
    def _asking(self) -> Generator[None]:
        """Inside, the call waits for the store."""
        self._is_asking = True
        try:
            yield
        finally:
            self._is_asking = False

    # -- rows ------------------------------------------------------------------------------------------------------

    def _room(self, place: Path) -> int:
        """Rows that go into a place's file now, at least one."""
        growing = self._growing.get(place)
        have = growing.file.rows if growing else 0
        return int(max(1, min(self._limits.rows - have, self._held_max - self._held())))

    def _held(self) -> int:
        return sum(len(growing.held) for growing in self._growing.values())

    def _add(
        self,
        place: Path,
        fields: tuple[str, ...],
        tuples: Sequence[Tuple],
        at: Sequence[int],
        outcome: list[Exception | None],
    ) -> None:
        rows = [tup.values for tup in tuples]
        try:
            growing = self._of(place)
            try:
                data, failures = growing.file.encoder.encode(fields, rows)
            except StartAnew:
                self._finish(place)
                growing = self._of(place)
                data, failures = growing.file.encoder.encode(fields, rows)
            for number, error in failures.items():
                outcome[at[number]] = error
            good = [tup for number, tup in enumerate(tuples) if number not in failures] if failures else tuples
            if not good:
                return
            growing.file.add(data, len(good), self.context.monotonic())
        except OSError as error:  # of the local disk
            return self._refuse(outcome, at, error)
        growing.file.encoder.written()
        growing.held.extend(good)
        self._bytes.add(len(data))
        if self._limits.is_full(growing.file.size, growing.file.rows):
            self._finish(place)
        elif self._held() >= self._held_max:
            self._finish(max(self._growing, key=lambda one: len(self._growing[one].held)))

    def _of(self, place: Path) -> Growing:
        """The file of a place."""
        if (growing := self._growing.get(place)) is None:
            while len(self._growing) >= self._max_open:
                self._finish(next(iter(self._growing)))
            self._numbers += 1
            local = self.context.work_dir / f"{self._numbers}.rows"
            fd = os.open(local, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            encoder = self._format.encoder(is_begun=False)
            file = Appended(fd, encoder, self.context.monotonic(), None)
            growing = self._growing[place] = Growing(place, local, file, str(self._named(place)))
        self._growing.move_to_end(place)
        return growing

    def _named(self, place: Path) -> Path:
        now = self.context.now()
        stamp = f"-{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}-{self.context.task_index}"
        taken = {growing.target for growing in self._growing.values()}
        named, number = self._layout.numbered(place, stamp), 1
        while str(named) in taken or str(named) == self._last_target:
            number += 1
            named = self._layout.numbered(place, f"{stamp}-{number}")
        self._last_target = str(named)
        return named

    _last_target = ""

    # -- to the store ----------------------------------------------------------------------------------------------

    def _finish_old(self) -> None:
        now_s = self.context.monotonic()
        for place, growing in list(self._growing.items()):
            if growing.held and self._limits.is_old(growing.file.began_s, growing.file.touched_s, now_s):
                self._finish(place)

    def _finish(self, place: Path) -> None:
        """Has a place's file go to the store, whatever that takes, and acks its rows."""
        growing = self._growing[place]
        if growing.held:
            self._until_done(growing)
            self.ack(*growing.held)
            self._rows.add(len(growing.held))
            self._published.add()
        del self._growing[place]
        growing.file.close()
        growing.local.unlink(missing_ok=True)

    def _until_done(self, growing: Growing) -> None:
        sealed = self._sealed(growing)
        with self._asking():
            self._upload(sealed, growing.target)
        if sealed != growing.local:
            sealed.unlink(missing_ok=True)
        if self._away_since_s is not None:
            log.info("event=available what=%r after_s=%.1f", self._where(), self._waiting_s())
            self._away_since_s = None
        self._backoff.succeeded()

    def _upload(self, sealed: Path, target: str) -> None:
        is_again = False
        while True:
            try:
                self._check()
                return uploaded(self._client, sealed, target, is_again=is_again)
            except Exception as error:  # what the store refuses may be mended: its rows wait
                self._tell(error)
                is_again = True
                pause_s = self._backoff.pause_s(time.monotonic())
                assert pause_s is not None, "it never gives up"
                time.sleep(pause_s)

    def _sealed(self, growing: Growing) -> Path:
        """The local file as it is to be in the store."""
        if (seal := seal_of(self._staged)) is None:
            return growing.local
        sealed = growing.local.with_suffix(".sealed")
        with sealed.open("wb") as file:
            seal(growing.local, file)
        return sealed

    def _tell(self, error: Exception) -> None:
        """Tells of an outage once."""
        if self._away_since_s is not None:
            return
        self._away_since_s = time.monotonic()
        facts = (("because", self._client.shown(error)), ("waiting", f"{self._held()} rows, and what comes after them"))
        fix = "nothing is lost: files are written when it is back; see that it can be reached, and may be written to"
        defect = Defect("sink_unavailable", f"{self._where()} is not available", facts, fix)
        self.context.report_error(ClusterError(defect, retryable=True))

    def _waiting_s(self) -> float:
        since_s = self._away_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s
