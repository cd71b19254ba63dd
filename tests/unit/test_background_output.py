"""Outputs that are written by a thread: in order, whole, and without holding up who writes."""

from __future__ import annotations

import os
import select

import pytest
from squall.cli.background import BEHIND_BYTES, MOST_BYTES, BackgroundOutput


def test_all_comes_in_order_also_to_other_descriptors() -> None:
    read, write = os.pipe()
    out = BackgroundOutput(write)
    other = os.dup(write)
    for number in range(1000):
        out.write(b"%d\n" % number, None if number % 2 else other)
    out.flush()
    os.close(write)
    os.close(other)
    with os.fdopen(read, "rb") as lines:
        assert [int(line) for line in lines] == list(range(1000))


def test_who_does_not_read_holds_up_nobody_and_is_told_of_when_it_does_again() -> None:
    read, write = os.pipe()
    out = BackgroundOutput(write)
    piece = bytes(BEHIND_BYTES)
    written = 0
    while not out.is_behind:  # the pipe takes some
        out.write(piece)
        written += len(piece)
    for _ in range(2 * MOST_BYTES // len(piece)):  # none of these waits
        out.offer(piece)
    assert not select.select([out.caught_up_fd], [], [], 0)[0]
    while out.is_behind:
        os.read(read, 1 << 20)
    assert select.select([out.caught_up_fd], [], [], 30)[0]
    out.caught_up()
    assert not select.select([out.caught_up_fd], [], [], 0)[0]


def test_a_reader_that_has_gone_is_told() -> None:
    read, write = os.pipe()
    out = BackgroundOutput(write)
    os.close(read)
    out.write(b"nobody reads it")
    for act in (out.flush, lambda: out.write(b"more")):
        with pytest.raises(BrokenPipeError):
            act()
