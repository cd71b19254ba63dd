"""The log of a worker: prints as lines, and levels for a while."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from squall.runtime.levels import Levels
from squall.runtime.logs import LONGEST_PART, PrintedLines


class Kept(logging.Handler):
    """Keeps the texts of the records that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("test-of-prints")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers.clear()


@pytest.fixture
def kept(logger: logging.Logger) -> Kept:
    logger.addHandler(kept := Kept())
    return kept


@pytest.fixture
def printed(logger: logging.Logger) -> PrintedLines:
    return PrintedLines(logger, logging.INFO, 2)


def test_print_is_shown_with_its_line_feed_or_at_a_flush(printed: PrintedLines, kept: Kept) -> None:
    print("one\ntwo", end="", file=printed)
    assert kept.lines == ["one"]
    print("-and-a-half", end="", file=printed, flush=True)
    assert kept.lines == ["one", "two-and-a-half"]
    printed.flush()
    assert kept.lines == ["one", "two-and-a-half"]


def test_each_thread_has_a_line_of_its_own(printed: PrintedLines, kept: Kept) -> None:
    printed.write("mine ")
    thread = threading.Thread(target=printed.write, args=("other\n",))
    thread.start()
    thread.join()
    printed.write("too\n")
    assert kept.lines == ["other", "mine too"]


def test_line_that_never_ends_takes_no_more_than_its_bound(printed: PrintedLines, kept: Kept) -> None:
    for _ in range(LONGEST_PART + 1):
        printed.write("x")
    assert kept.lines == ["x" * (LONGEST_PART + 1)]


def test_bytes_are_printed_as_text(printed: PrintedLines, kept: Kept) -> None:
    assert printed.buffer.write(b"caf\xc3\xa9 \xff\n") == 8
    printed.buffer.write(bytearray(b"rest"))
    printed.buffer.flush()
    assert kept.lines == ["café \\xff", "rest"]


def test_handler_that_prints_what_it_is_given_comes_to_an_end(
    logger: logging.Logger, kept: Kept, tmp_path: Path
) -> None:
    """Whoever puts a handler that writes to `sys.stdout` on the logger of `sys.stdout`."""
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    printed = PrintedLines(logger, logging.INFO, fd)
    logger.addHandler(logging.StreamHandler(printed))
    printed.write("once\n")
    os.close(fd)
    assert kept.lines == ["once"]
    assert (tmp_path / "log").read_text() == "once\n"


def level_of(name: str) -> str:
    return logging.getLevelName(logging.getLogger(name).level)


def wait_for(name: str, level: str) -> None:
    deadline = time.monotonic() + 10
    while level_of(name) != level:
        assert time.monotonic() < deadline, level_of(name)
        time.sleep(0.001)


def test_after_temporary_levels_in_a_row_the_lasting_one_is_back() -> None:
    """Semantics 28."""
    levels, name = Levels(), "test-of-levels"
    levels.change(name, "WARNING", None)
    assert levels.change(name, "DEBUG", 60)["before"] == "WARNING"
    assert levels.change(name, "INFO", 0.01)["before"] == "DEBUG"
    wait_for(name, "WARNING")


def test_lasting_level_ends_a_temporary_one() -> None:
    """Semantics 28. Nothing comes back later, and the next temporary level ends in the new one."""
    levels, name = Levels(), "test-of-lasting-levels"
    levels.change(name, "DEBUG", 0.01)
    levels.change(name, "ERROR", None)
    levels.change(name, "INFO", 0.02)
    wait_for(name, "ERROR")
