"""The files of one task: found, read one after the other or as they grow, known again after a restart."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from squall.api.context import TopologyContext
from squall.connectors.files.reading.chunks import START, Chunk, Place
from squall.connectors.files.reading.format import Opening, ReadFormat
from squall.connectors.files.reading.found import (
    HEAD_BYTES,
    Found,
    Head,
    Order,
    is_part_of,
)
from squall.connectors.files.reading.progress import Progress
from squall.connectors.files.reading.tracked import Tracked
from squall.errors import Defect, StateError

OPEN_FILES = 256
"""Most files that are held open when many are followed."""
LOST_FOR_S = 5.0
"""How long a followed file is read on that was removed, or renamed so that no pattern matches."""
NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files are read, and how. `look_every_s`: with follow, between two looks for what has become of them."""

    patterns: Sequence[str]
    order: Order
    format: ReadFormat
    opening: Opening
    look_every_s: float


class TaskFiles:
    """The files of one task.

    Bound: 256 open files, when they are followed; else one.
    """

    def __init__(self, wanted: Wanted, context: TopologyContext, progress: Progress) -> None:
        self._wanted, self._context, self._progress = wanted, context, progress
        self._files = wanted.opening.files
        self._tracked: dict[tuple[int, int], Tracked] = {}
        self._waiting: deque[Tracked] = deque()
        self._gone: set[tuple[int, int]] = set()
        """Files that are lost, of which outputs may not have ended."""
        self._next_look_s = 0.0
        self._bytes_done = 0

    def read(self, given: int) -> tuple[Tracked, Chunk] | None:
        """The next outputs of some file; None: there are none now.

        Args:
            given: how many outputs the task has given so far.

        Raises:
            StateError: there are no files, though there were when the spout was opened.
            OSError: the machine has no room for an open file now.
        """
        if (now_s := self._context.monotonic()) >= self._next_look_s:
            self._look()
            self._next_look_s = now_s + self._wanted.look_every_s if self._wanted.opening.follow else NEVER
        idle = 0
        while idle < len(self._waiting):
            tracked = self._waiting[0]
            if (chunk := self._read(tracked)) is not None:
                self._know_better(tracked)
                return tracked, chunk
            if tracked.skip:  # more had ended than there is
                self._begin_again(tracked)
            elif tracked.is_whole:
                self._finish(tracked, given)
            else:
                self._waiting.rotate(-1)
                idle += 1
        return None

    def close(self) -> None:
        """Closes the files."""
        for tracked in self._tracked.values():
            tracked.close()
        self._files.close()

    def bytes_read(self) -> float:
        """Bytes on disk that were read, with those that were read by earlier runs."""
        return self._bytes_done + sum(tracked.read_bytes for tracked in self._tracked.values())

    def bytes_total(self) -> float:
        """Bytes on disk that all files have, as far as they are found."""
        return self._bytes_done + sum(tracked.found.size for tracked in self._tracked.values())

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, tracked: Tracked) -> Chunk | None:
        if not tracked.may_have_more:
            return None
        if not tracked.is_open:
            self._make_room()
        return tracked.read()

    def _know_better(self, tracked: Tracked) -> None:
        """Knows a file by all of its first bytes that are wanted, if it had fewer when it was found."""
        path, key = tracked.found.path, tracked.found.key
        known = self._progress.known.get(key)
        if known is None or known.head.size >= min(HEAD_BYTES, tracked.read_bytes):
            return
        head = self._files.head_of(path, key=key)
        if head is not None and self._files.head_of(path, known.head.size, key) == known.head:
            self._progress.known[key] = known._replace(head=head)

    def _make_room(self) -> None:
        """Closes a file that has nothing more now, if many are open."""
        opened = [tracked for tracked in self._waiting if tracked.is_open]
        if len(opened) >= OPEN_FILES:
            opened[-1].close()

    def _finish(self, tracked: Tracked, given: int) -> None:
        """A file was read to its end."""
        self._waiting.remove(tracked)
        tracked.close()
        self._progress.read_to_the_end(given, tracked.found.key, tracked.end)
        if not self._wanted.opening.follow:
            del self._tracked[tracked.found.key]
            self._bytes_done += tracked.found.size

    # -- finding ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Finds new files; of known ones, what has become of them."""
        context = self._context
        found = self._files.found_by(self._wanted.patterns, self._wanted.order)
        if not found:
            self._files.check_patterns(self._wanted.patterns, follow=self._wanted.opening.follow)
        mine = {file.key: file for file in found if is_part_of(file, context.task_index, context.task_count)}
        if not self._tracked:
            self._renumber(mine)
        for file in mine.values():
            if (tracked := self._tracked.get(file.key)) is None:
                self._track(file)
            else:
                tracked.found, tracked.lost_at_s = file, None
                if tracked.got_shorter():
                    self._begin_again(tracked)
                elif self._has_changed(file):
                    self._drop(tracked)
                    self._track(file)
        for key in self._tracked.keys() - mine.keys():
            self._lost(self._tracked[key])
        for key in self._progress.known.keys() - self._tracked.keys() - self._gone:
            self._find_again(key)
        for key in [key for key in self._gone if not self._progress.is_pending(key)]:
            self._gone.remove(key)
            self._progress.forget(key)

    def _renumber(self, mine: Mapping[tuple[int, int], Found]) -> None:
        """Knows files again whose device was mounted anew, under another number."""
        progress = self._progress
        heads = {key: one.head for kept in (progress.known, progress.done) for key, one in kept.items()}
        missing = {key[1]: key for key in heads if key not in mine}
        for key, file in mine.items():
            old = missing.get(file.inode)
            if old is not None and key not in heads and self._begins_with(file, heads[old]):
                progress.renumber(old, key)

    def _track(self, file: Found) -> None:
        """Begins with a file, or goes on with it."""
        self._gone.discard(file.key)
        if (place := self._place_of(file)) is None:
            self._bytes_done += file.size
            return
        tracked = Tracked(file, place, self._wanted.format, self._wanted.opening)
        self._tracked[file.key] = tracked
        self._waiting.append(tracked)
        if tracked.got_shorter():
            self._begin_again(tracked)

    def _place_of(self, file: Found) -> Place | None:
        """From where a file is to be read; None: all of it was."""
        progress, key = self._progress, file.key
        known, done = progress.known.get(key), progress.done.get(key)
        if known is not None and self._begins_with(file, known.head):
            place = known.place
        elif done is not None and self._begins_with(file, done.head) and file.size == done.size:
            return None
        elif done is not None and self._begins_with(file, done.head) and file.size > done.size and self._grows(file):
            place = Place(done.size, number=done.lines)
        else:
            place = START
            if self._files.tells_changes and (known is not None or done is not None):
                fix = "nothing, if it was written anew on purpose; else give new contents a new name"
                self._report("file_changed", f'"{file.path}" has changed: it is read from its start', fix)
        progress.forget(key)
        progress.begin(key, self._files.head_of(file.path) or Head(0, 0), file.path, place)
        return place

    def _has_changed(self, file: Found) -> bool:
        """Whether a file that never grows has other contents than were read."""
        known = self._progress.known.get(file.key) or self._progress.done.get(file.key)
        return self._files.tells_changes and known is not None and not self._begins_with(file, known.head)

    def _grows(self, file: Found) -> bool:
        return self._wanted.format.grows and not self._wanted.opening.is_compressed(file.path)

    def _find_again(self, key: tuple[int, int]) -> None:
        """A file that was begun by the last run, and that no pattern matches now."""
        known = self._progress.known[key]
        if (file := self._files.renamed(known.name, key, known.head)) is not None:
            return self._track(file)
        self._progress.forget(key)
        message = f'"{known.name}" is gone, of which the last run may not have read everything'
        self._report("file_gone", message, "nothing, if it was removed on purpose; else bring it back before a run")

    def _begin_again(self, tracked: Tracked) -> None:
        """A file is shorter than what was read of it."""
        message = f'"{tracked.found.path}" got shorter: it is read from its start'
        fix = "rotate by renaming, so that nothing is lost between the last read and the cut"
        self._report("file_cut", message, fix)
        tracked.start_anew()
        self._progress.forget(tracked.found.key)
        self._place_of(tracked.found)

    def _lost(self, tracked: Tracked) -> None:
        """A followed file was removed, or renamed so that no pattern matches.

        What is left of it is read; who wrote it may still have it open, so that this takes a while.
        """
        now_s = self._context.monotonic()
        if tracked not in self._waiting or not tracked.may_have_more:
            self._drop(tracked)
        elif tracked.lost_at_s is None:
            tracked.lost_at_s = now_s
            known = self._progress.known.get(tracked.found.key)
            if known is not None:
                tracked.found = self._files.renamed(tracked.found.path, tracked.found.key, known.head) or tracked.found
        elif now_s - tracked.lost_at_s >= LOST_FOR_S:
            tracked.is_whole = True

    def _drop(self, tracked: Tracked) -> None:
        """Reads no more of a file; what was read of it is in the position until it has ended."""
        tracked.close()
        del self._tracked[tracked.found.key]
        self._gone.add(tracked.found.key)
        if tracked in self._waiting:
            self._waiting.remove(tracked)

    def _begins_with(self, file: Found, head: Head) -> bool:
        return self._files.head_of(file.path, head.size) == head

    def _report(self, code: str, message: str, fix: str) -> None:
        self._context.report_error(StateError(Defect(code, message, (), fix)))
