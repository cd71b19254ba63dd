"""Outputs that are written by a thread: in order, whole, and without holding up who writes."""

from __future__ import annotations

import os
import select
from contextlib import suppress

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
    os.set_blocking(write, False)
    with suppress(BlockingIOError):  # when it is full
        while os.write(write, bytes(4096)):
            pass
    os.set_blocking(write, True)
    out = BackgroundOutput(write)
    for _ in range(2 * MOST_BYTES // BEHIND_BYTES):  # none of these waits
        out.offer(bytes(BEHIND_BYTES))
    assert out.is_behind
    assert not is_readable(out.caught_up_fd, 0)
    while out.is_behind:
        os.read(read, 1 << 20)
    assert is_readable(out.caught_up_fd, 30)
    out.caught_up()
    assert not is_readable(out.caught_up_fd, 0)


def is_readable(fd: int, within_s: float) -> bool:
    """Whether something can be read, by then."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def test_a_reader_that_has_gone_is_told() -> None:
    read, write = os.pipe()
    out = BackgroundOutput(write)
    os.close(read)
    out.write(b"nobody reads it")
    for act in (out.flush, lambda: out.write(b"more")):
        with pytest.raises(BrokenPipeError):
            act()
