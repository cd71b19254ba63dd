"""A small other system in a file: it outlives its processes and can be away. A right sink, and right sources, for it.

Rows lie on a shelf in the order in which they were put there. Epochs have marks of their own beside them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from squall import Batch, Spout, Tuple
from squall.connectors.contract import Delivery, Sink, Unavailable
from squall.errors import DeadLetter

Row = tuple[Any, ...]
TABLES = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE rows (at INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER, text TEXT NOT NULL);
    CREATE TABLE marks (task INTEGER PRIMARY KEY, epoch INTEGER);
    CREATE TABLE records (number INTEGER);
    CREATE TABLE done (number INTEGER PRIMARY KEY);
"""


class Shelf:
    """The other system."""

    def __init__(self, folder: Path) -> None:
        self.path, self._away = folder / "shelf.db", folder / "away"
        if not self.path.exists():
            with closing(sqlite3.connect(self.path)) as made:
                made.executescript(TABLES)

    def connect(self) -> sqlite3.Connection:
        """Raises Unavailable while it is away."""
        self.reach()
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    def reach(self) -> None:
        if self._away.exists():
            raise Unavailable("the shelf is locked")

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        self._away.touch()
        try:
            yield
        finally:
            self._away.unlink()

    def ask(self, statement: str, *values: Any) -> list[Any]:
        with closing(self.connect()) as connection:
            return connection.execute(statement, values).fetchall()

    def numbers(self) -> list[int]:
        return [number for (number,) in self.ask("SELECT number FROM rows ORDER BY at")]

    # -- as a place to read from -----------------------------------------------------------------------------------

    def put(self, numbers: Sequence[int]) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany("INSERT INTO records VALUES (?)", [(number,) for number in numbers])

    def done(self) -> list[int]:
        return [number for (number,) in self.ask("SELECT number FROM done")]


class ShelfSink(Sink):
    """Puts rows on a shelf, and epochs if it is asked to."""

    delivery: ClassVar[Delivery] = Delivery("at least once", "as given", "nothing", "SQLite")
    upserts = False

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def where(self) -> str:
        return "the shelf"

    def connect(self) -> None:
        self.connection = self.shelf.connect()

    def disconnect(self) -> None:
        self.connection.close()

    def write(self, rows: Sequence[Tuple]) -> None:
        self.shelf.reach()
        self.insert([row.values for row in rows])

    def insert(self, rows: Iterable[Row]) -> None:
        """All of them, or none."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            for row in rows:
                if self.upserts:
                    self.connection.execute("DELETE FROM rows WHERE number = ?", row[:1])
                self.connection.execute("INSERT INTO rows (number, text) VALUES (?, ?)", row)
            self.connection.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            self.connection.execute("ROLLBACK")
            raise DeadLetter(f"the shelf has no place for it: {error}") from error

    # -- exactly once ----------------------------------------------------------------------------------------------

    staged: ClassVar[list[Row]] = []

    def stage(self, rows: Sequence[Tuple]) -> None:
        self.staged = [*self.staged, *(row.values for row in rows)]  # pyright: ignore[reportAttributeAccessIssue]

    def prepare(self, epoch: int) -> bytes:
        staged, self.staged = self.staged, []  # pyright: ignore[reportAttributeAccessIssue]
        return json.dumps(staged).encode()

    def commit(self, epoch: int, staged: bytes) -> None:
        self.shelf.reach()
        self.connection.execute("BEGIN IMMEDIATE")
        if self.committed() < epoch:
            self.connection.executemany("INSERT INTO rows (number, text) VALUES (?, ?)", json.loads(staged))
            self.mark(epoch)
        self.connection.execute("COMMIT")

    def mark(self, epoch: int) -> None:
        self.connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (self.context.task_index, epoch))

    def committed(self) -> int:
        self.shelf.reach()
        found = self.connection.execute("SELECT epoch FROM marks WHERE task = ?", (self.context.task_index,)).fetchone()
        return found[0] if found else 0


class UpsertingSink(ShelfSink):
    """A row that comes again takes the place of the first."""

    upserts = True


class ShelfSource(Spout):
    """Emits the records of a shelf; those that had ended are told to the shelf in their order."""

    outputs = ("number",)

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def open(self, context: Any) -> None:
        self.read, self.waiting, self.ended = 0, dict[int, int](), dict[int, int]()
        self.is_begun = False

    def begin(self) -> None:
        """Goes on behind what is done."""
        self.read = self.told = len(self.shelf.done())
        self.is_begun = True

    def next_batch(self, limit: int) -> Batch | None:
        try:
            if not self.is_begun:
                self.begin()
            records = self.shelf.ask("SELECT rowid, number FROM records WHERE rowid > ? LIMIT ?", self.read, limit)
        except Unavailable:
            return None
        if not records:
            return None
        self.read = records[-1][0]
        self.waiting |= records
        return Batch([(number,) for _, number in records], ids=[row for row, _ in records])

    def ack(self, row: int) -> None:
        self.ended[row] = self.waiting.pop(row)
        prefix = list[int]()
        while self.told + 1 in self.ended:
            self.told += 1
            prefix.append(self.ended.pop(self.told))
        self.tell(prefix)

    def tell(self, numbers: Sequence[int]) -> None:
        with closing(sqlite3.connect(self.shelf.path)) as connection, connection:
            connection.executemany("INSERT OR IGNORE INTO done VALUES (?)", [(number,) for number in numbers])


class PlacedSource(ShelfSource):
    """Has a position instead: how many records had ended."""

    def begin(self) -> None:
        self.is_begun = True

    def open(self, context: Any) -> None:
        super().open(context)
        self.told = 0

    def tell(self, numbers: Sequence[int]) -> None:
        pass

    def position(self) -> bytes:
        return b"%d" % self.told

    def seek(self, position: bytes) -> None:
        self.read = self.told = int(position)
