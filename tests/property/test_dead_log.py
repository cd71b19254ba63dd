"""Laws of the dead-letter log: what was stored is read, whatever else happens to the file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from squall.errors import StateError
from squall.runtime import dead_log, letter_lines
from squall.runtime.dead_log import DeadLog
from squall.runtime.letter_codec import decode, encode, is_known
from squall.runtime.letter_lines import ACKED, AGAIN, ASKED, DROPPED, OPEN, RUNNING, Change
from squall.runtime.letters import Letter
from squall.runtime.open_letters import OpenLetters
from squall.runtime.replay import Replays
from squall.runtime.stored import read

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()) | st.binary()
    | st.decimals(allow_nan=False) | st.uuids() | st.dates() | st.times() | st.timedeltas()
    | st.datetimes(timezones=st.none() | st.just(UTC))
)  # fmt: skip
HASHABLE = SCALARS | st.tuples(SCALARS, SCALARS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.frozensets(HASHABLE, max_size=4)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=12,
)


def letter(values: tuple[Any, ...], number: int = 0) -> Letter:
    return Letter(
        component="price",
        source="orders",
        stream="default",
        task=3,
        fields=tuple(f"f{i}" for i in range(len(values))),
        values=values,
        error="ValueError: no",
        traceback="Traceback …",
        attempts=4,
        roots=(number,),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        spout="orders",
        spout_task=1,
        spout_stream="default",
        root_values=values,
        message_id=None,
        failure=number,
        direct=number,
    )


@contextmanager
def written(letters: list[Letter]) -> Iterator[Path]:
    """A log that holds these letters."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dead" / "orders.log"
        stored: list[int] = []
        log = DeadLog(path, stored.append, lambda _letter: None)
        for handle, one in enumerate(letters):
            log.put(handle, one)
        log.close()
        assert stored == list(range(len(letters)))
        yield path


def types(value: Any) -> Any:
    """The types of a value and of everything in it; equality alone takes 1, 1.0 and True for the same."""
    if isinstance(value, list | tuple):
        return type(value), [types(item) for item in value]
    if isinstance(value, dict):
        return dict, [(types(key), types(item)) for key, item in value.items()]
    return type(value)


@given(VALUES)
def test_values_come_back_with_their_types(value: Any) -> None:
    again = decode(encode(value))
    assert again == value
    assert types(again) == types(value)


@given(st.lists(st.lists(VALUES, max_size=3).map(tuple), max_size=5))
def test_letters_are_read_as_they_were_stored(rows: list[tuple[Any, ...]]) -> None:
    letters = [letter(row, number) for number, row in enumerate(rows)]
    with written(letters) as path:
        found = read(path)
    assert [stored.letter for stored in found] == letters
    assert [stored.number for stored in found] == list(range(1, len(letters) + 1))
    assert all(stored.replayable and stored.state == OPEN for stored in found)


@given(st.integers(0, 4), st.integers(1, 2000))
def test_torn_end_costs_only_letters_that_were_not_stored(count: int, cut: int) -> None:
    """A power cut leaves part of a last line; every letter before it is read, and the next writer goes on cleanly."""
    letters = [letter((number,), number) for number in range(count)]
    with written(letters) as path:
        whole = path.read_bytes() if letters else b""
        path.parent.mkdir(exist_ok=True)
        line = letter_lines.letter_line(letter(("torn",)))
        path.write_bytes(whole + line[: min(cut, len(line) - 1)])
        assert [stored.letter for stored in read(path)] == letters
        log = DeadLog(path, lambda _handle: None, lambda _letter: None)
        log.put(1, letter(("next",)))
        log.close()
        assert [stored.letter.values for stored in read(path)] == [*((n,) for n in range(count)), ("next",)]


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_damaged_byte_costs_at_most_its_own_line(place: int, change: int) -> None:
    """A letter that was damaged is passed over; no other one changes."""
    letters = [letter((number, "text"), number) for number in range(5)]
    with written(letters) as path:
        data = bytearray(path.read_bytes())
        data[place % len(data)] ^= change
        path.write_bytes(bytes(data))
        found = [stored.letter for stored in read(path)]
    assert all(one in letters for one in found)
    assert len(found) >= 3  # a line feed that is damaged joins two lines


def test_letter_written_before_it_told_failure_and_task_is_read() -> None:
    with written([]) as path:
        record = letter_lines._record(letter(("old",), 7))
        del record["letter"]["failure"], record["letter"]["direct"]
        path.parent.mkdir()
        path.write_bytes(letter_lines._line(record))
        (stored,) = read(path)
    assert (stored.letter.values, stored.letter.failure, stored.letter.direct) == (("old",), 0, None)


def test_the_name_of_a_new_log_survives_a_loss_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = list[str](), os.fsync

    def watched(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    log = DeadLog(tmp_path / "dead" / "shop.log", lambda _handle: None, lambda _letter: None)
    log.put(0, letter(("x",)))
    log.close()
    assert {str(tmp_path / "dead"), str(tmp_path), str(tmp_path / "dead" / "shop.log")} <= set(synced)


def test_states_are_kept_by_number(tmp_path: Path) -> None:
    with written([letter((n,), n) for n in range(4)]) as path:
        dead_log.mark(path, [Change(2, DROPPED), Change(4, DROPPED)])
        dead_log.mark(path, [Change(4, ACKED)])
        states = [stored.state for stored in read(path)]
    assert states == [OPEN, DROPPED, OPEN, ACKED]


def test_a_damaged_letter_keeps_its_number() -> None:
    """Else the states of all later letters would be told of their neighbours."""
    with written([letter((n,), n) for n in range(4)]) as path:
        dead_log.mark(path, [Change(3, DROPPED)])
        data = path.read_bytes()
        at = data.index(b"\n") + 100  # in the second letter
        path.write_bytes(data[:at] + b"?" + data[at + 1 :])
        found, told = read(path), OpenLetters(path).now()
    assert [(one.number, one.letter.values, one.state) for one in found] == [
        (1, (0,), OPEN),
        (3, (2,), DROPPED),
        (4, (3,), OPEN),
    ]
    assert (told["open"], told["last"]["number"]) == (2, 4)


def test_a_change_of_a_letter_that_is_damaged_counts_for_nothing() -> None:
    with written([letter((n,), n) for n in range(2)]) as path:
        path.write_bytes(path.read_bytes().replace(b"ValueError", b"ValueErroR", 1))
        dead_log.mark(path, [Change(1, OPEN)])
        assert OpenLetters(path).now()["open"] == len(read(path)) == 1


def sealed(record: object) -> bytes:
    """A line whose checksum is right, whatever it says."""
    body = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


@pytest.mark.parametrize(
    "record",
    [
        {"run": {"id": "a run without the rest"}},
        {"run": {"id": 5}},
        {"number": 1, "state": ASKED, "values": 5},
        {"number": 1, "state": ASKED, "values": {"$": "unknown", "v": []}},
        {"number": 1, "state": ASKED, "changed_at": "soon"},
        {"number": [[]]},
        [],
    ],
    ids=str,
)
def test_a_line_that_is_whole_and_means_nothing_takes_no_other_with_it(record: object) -> None:
    with written([letter((1,), 1)]) as path:
        path.write_bytes(sealed(record) + path.read_bytes() + sealed(record))
        assert [(one.number, one.state, one.letter) for one in read(path)] == [(1, OPEN, letter((1,), 1))]
        assert OpenLetters(path).now()["open"] == 1


@pytest.mark.parametrize("at", [None, {"$": "datetime", "v": "soon"}, {"$": "datetime", "v": "2026-01-01T00:00:00"}])
def test_a_letter_without_a_time_is_damaged_and_keeps_its_number(at: object) -> None:
    """Its time was looked at too late: it had its number by then, and took another one as a damaged one."""
    with written([letter((1,), 1)]) as path:
        record = json.loads(path.read_bytes()[9:])
        dead_log.mark(path, [Change(1, ASKED), Change(1, RUNNING)])
        record["letter"] |= {"at": at, "replay_of": 1}
        path.write_bytes(path.read_bytes() + sealed(record) + letter_lines.letter_line(letter((3,), 3)))
        assert [(one.number, one.letter.values) for one in read(path)] == [(1, (1,)), (3, (3,))]
        assert OpenLetters(path).now()["last"]["number"] == 3


@pytest.mark.parametrize(
    "junk",
    [{"fields": 5}, {"values": {"$": "unknown", "v": 1}}, {"task": "x"}, {"traceback": None}, {"roots": {}}],
    ids=str,
)
def test_a_letter_that_means_nothing_is_refused_when_it_is_read_and_the_others_are_not(junk: dict[str, Any]) -> None:
    with written([letter((1,), 1)]) as path:
        record = json.loads(path.read_bytes()[9:])
        record["letter"] |= junk
        path.write_bytes(sealed(record) + path.read_bytes())
        dead_log.mark(path, [Change(1, ASKED), Change(2, ASKED)])
        first, second = read(path)
        with pytest.raises(StateError) as refused:
            first.letter  # noqa: B018
        topology: Any = SimpleNamespace(of=lambda _spout: [], everywhere=lambda _spout: [])
        told = Replays(path, topology, lambda *_args, **_options: None, lambda _change: None).begin()
    assert (refused.value.code, second.letter.values) == ("dead_letter_unreadable", (1,))
    assert told["refused"] == {
        1: "letter 1 cannot be read",
        2: 'the topology has no spout "orders" any more',
    }


@pytest.mark.parametrize("is_deep", [False, True], ids=["digits", "nesting"])
def test_a_letter_that_python_cannot_read_is_refused_when_it_is_read(
    is_deep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python takes no decimal of more than 4,300 digits; how much nesting it takes depends on how deep its stack is."""

    def too_deep(_body: bytes) -> None:
        raise RecursionError

    with written([letter((1,), 1)]) as path:
        body = path.read_bytes()[9:].rstrip(b"\n").replace(b'"task":', b'"newer":%b,"task":' % (b"7" * 5_000), 1)
        path.write_bytes(b"%08x %s\n" % (zlib.crc32(body), body))
        (stored,) = read(path)
    if is_deep:
        monkeypatch.setattr("squall.runtime.stored.json.loads", too_deep)
    with pytest.raises(StateError) as refused:
        stored.letter  # noqa: B018
    assert (refused.value.code, stored.is_readable) == ("dead_letter_unreadable", False)


def test_what_a_newer_squall_adds_to_a_letter_is_passed_over() -> None:
    with written([letter((1,), 1)]) as path:
        record = json.loads(path.read_bytes()[9:])
        record["letter"]["weather"] = "fair"
        path.write_bytes(sealed(record))
        assert read(path)[0].letter == letter((1,), 1)


def test_a_replay_that_ended_in_a_letter_has_ended_though_nothing_else_says_so() -> None:
    """Semantics 12: its worker may die between the letter and the line that tells the replay's end."""
    again = replace(letter((1,), 1), replay_of=1)
    with written([letter((1,), 1)]) as path:
        dead_log.mark(path, [Change(1, ASKED), Change(1, RUNNING)])
        log = DeadLog(path, lambda _handle: None, lambda _letter: None)
        log.put(0, again)
        log.close()
        assert [(one.state, one.again) for one in read(path)] == [(AGAIN, 2), (OPEN, None)]
        dead_log.mark(path, [Change(1, ASKED)])
        assert read(path)[0].state == ASKED


def test_value_of_an_unknown_type_is_shown_but_not_replayed() -> None:
    class Socket:
        def __repr__(self) -> str:
            return "<socket 7>"

    with written([letter((Socket(),))]) as path:
        (stored,) = read(path)
    assert not stored.replayable
    assert "<socket 7>" in str(stored.letter)


def test_known_types_are_all_decoded() -> None:
    values = [
        None, True, 1, 2**80, 1.5, float("inf"), "\ud800", b"\0", (1, (2,)), {1: {"a": [1]}}, {1}, frozenset({2}),
        datetime(2026, 1, 1), date(2026, 1, 1), time(1, 2), timedelta(days=-1, microseconds=5), Decimal("1.10"),
        UUID(int=7),
    ]  # fmt: skip
    assert [decode(encode(value)) for value in values] == values


@pytest.mark.parametrize("limit", [640, 4300], ids=["lowest limit", "default"])
def test_integer_of_any_length_comes_back(limit: int) -> None:
    """Python writes no decimal of more digits than its limit, which a program may lower to 640."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(limit)
    try:
        for bits in (0, 2047, 2048, 20_000):
            for value in (1 << bits, -(1 << bits), {1 << bits: [1 << bits]}):
                assert decode(json.loads(json.dumps(encode(value)))) == value
    finally:
        sys.set_int_max_str_digits(before)


class Pretender:
    """Says that it is text, as a mock does; JSON finds out."""

    __class__ = property(lambda self: str)  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<pretender>"


def test_letter_that_cannot_be_encoded_is_kept_as_text_and_holds_no_other_up() -> None:
    """Semantics 8, 12. The source of each letter moves on; `written` waits for all of them to be stored."""
    letters = [letter((Pretender(), "x" * 100_000)), letter((10**5000,)), letter((1,))]
    with written(letters) as path:
        text, long, plain = read(path)
    assert (text.replayable, long.replayable, plain.replayable) == (False, True, True)
    assert text.letter.inputs().startswith("f0=<pretender>, f1='xxx")
    assert len(text.letter.inputs()) < 11_000
    assert (long.letter, plain.letter) == tuple(letters[1:])
    assert long.letter.inputs() == f"f0={hex(10**5000)}"


class Odd:
    def __repr__(self) -> str:
        raise OSError("no")


class Stamp(datetime):
    """As pandas has one."""


def test_no_value_stops_the_log() -> None:
    """Whatever a tuple holds, its letter is written and read: the source must move on."""
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    values = (Odd(), endless, deep, {Odd(): 1}, Stamp(2026, 1, 1), "x" * 100_000)
    with written([letter(values)]) as path:
        (stored,) = read(path)
    assert not stored.replayable
    assert stored.letter.values[4] == datetime(2026, 1, 1)
    assert "Odd" in repr(stored.letter.values[0])
    assert not is_known(stored.letter.values[1])
