"""Lines of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from squall.connectors.files.formats.checks import check, check_encoding, is_text
from squall.connectors.files.reading.blocks import Blocks, LineReader, text_lines
from squall.connectors.files.reading.chunks import Place, Reader
from squall.connectors.files.reading.format import Opening
from squall.connectors.files.writing.rows import Encoder, LineRows, Row
from squall.connectors.files.writing.staged import LINES

ERRORS = ("strict", "replace", "ignore", "surrogateescape", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Text:
    """Each line is a row of text; a line ends with a line feed, or with carriage return and line feed.

    Args:
        field: read: name of the one field. The end of a line is no part of it; the last line of a file needs none,
            unless the file is followed: what a program that was killed had written of a line counts as one.
        separator: written: what stands between the values of a row that has several. Line feeds in values are written
            as they are: such a row is read as several.
        encoding: of the text; one in which a line feed is one byte.
        errors: what becomes of a line, or a row, that is no text in `encoding`. `"strict"`: it goes to the dead
            letters; `"replace"`, `"ignore"`, `"surrogateescape"` (which copies any bytes), `"backslashreplace"`: as in
            `bytes.decode` and `str.encode`.
    """

    field: str = "line"
    separator: str = "\t"
    encoding: str = "utf-8"
    errors: str = "strict"

    grows = True
    log = LINES
    seal = ""

    def __post_init__(self) -> None:
        check(is_text(self.field), self, "`field` is a name")
        check(is_text(self.separator), self, "`separator` is a text")
        check_encoding(self, self.encoding)
        check(is_text(self.errors) and self.errors in ERRORS, self, f"`errors` is one of {', '.join(ERRORS)}")

    # -- read ------------------------------------------------------------------------------------------------------

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The one field."""
        return (self.field,)

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """Lines of a file."""
        return self.records(path, opening.blocks(path, place), place, opening.max_record)

    def records(self, name: str, blocks: Blocks, place: Place, max_record: int) -> LineReader:
        """The lines of blocks."""
        return LineReader(name, blocks, place, max_record, text_lines(self.encoding, self.errors))

    # -- written ---------------------------------------------------------------------------------------------------

    def check_written(self) -> None:
        """Any can be written."""

    def encoder(self, is_begun: bool) -> Encoder:
        """The encoder of a file."""
        return LineRows(self._bytes)

    def _bytes(self, _fields: tuple[str, ...], rows: Sequence[Row]) -> bytes:
        line = self.separator.replace("%", "%%").join(["%s"] * len(rows[0])) + "\n"  # quicker than a join of each row
        return "".join([line % row for row in rows]).encode(self.encoding, self.errors)
