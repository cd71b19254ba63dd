"""What holds of a dead-letter log whatever stands in it: each letter that is whole is read as it was written.

Lines that are none, that are damaged, or that are whole and mean nothing take nothing from the others, and the numbers
of letters stay those that their changes tell. What was read in parts is what is read at once; what a run counts is what
the commands list.
"""

from __future__ import annotations

import json
import logging
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from laws.refusal import check_refusal
from laws.script import Script, folder
from squall.errors import SquallError
from squall.runtime.letter_lines import (
    ACKED,
    AGAIN,
    ASKED,
    DROPPED,
    OPEN,
    RUNNING,
    Change,
    Run,
    change_lines,
    letter_line,
    run_line,
    was_letter,
)
from squall.runtime.letters import Letter
from squall.runtime.open_letters import OpenLetters
from squall.runtime.stored import LogReader, Stored

LOG = logging.getLogger("squall.dead")
FILE = folder() / "orders.log"
AT = datetime(2026, 1, 2, tzinfo=UTC)
STATES = (OPEN, ASKED, RUNNING, ACKED, AGAIN, DROPPED)
VALUES: tuple[Any, ...] = (
    None,
    True,
    7,
    1 << 70,
    2.5,
    "text",
    b"\0\xff",
    AT,
    timedelta(1),
    (1, [2]),
    {"a": {3}},
    1e400,
)
"""Of types that are kept."""
WORDS = (
    b'{"letter":',
    b'{"number":',
    b'{"run":',
    b'"state":"asked"',
    b'"at":{"$":"datetime","v":',
    b'"values":',
    b"}",
    b",",
)


def check(data: bytes) -> None:
    """The bytes say which lines a log has."""
    LOG.disabled = True  # what is damaged is told there, line by line
    try:
        _check_log(Script(data))
    finally:
        LOG.disabled = False


def _check_log(script: Script) -> None:
    lines: list[bytes] = []
    written: dict[int, Letter] = {}
    letters = 0
    while script and len(lines) < 40:
        choice = script.below(8)
        if choice < 2:
            letters += 1
            written[letters] = _letter(script, letters)
            lines.append(letter_line(written[letters]))
            continue
        line = _other(choice, script, letters)
        lines += [line]
        letters += sum(map(_is_numbered, line.split(b"\n")[:-1]))
    whole = b"".join(lines)
    FILE.write_bytes(whole)
    at_once = LogReader(FILE)
    stored = at_once.refresh()
    _check_read(stored, written, letters)
    _check_parts(whole, script.below(1 << 16), at_once)
    now = OpenLetters(FILE).now()
    assert now["open"] == sum(one.state == OPEN for one in stored)
    assert (now["last"] or {}).get("number") == (stored[-1].number if stored else None)
    for one in stored:
        _look_at(one)


def _letter(script: Script, number: int) -> Letter:
    values = tuple(script.one_of(VALUES) for _ in range(script.below(4)))
    return Letter(
        component=script.text(3), source="orders", stream="default", task=3, fields=tuple(map(str, range(len(values)))),
        values=values, error=f"ValueError: {number}", traceback=script.text(8), attempts=script.byte(), roots=(number,),
        at=AT + timedelta(seconds=script.byte()), spout="orders", spout_task=1, spout_stream="default",
        root_values=None if script.byte() % 3 == 0 else values, message_id=script.one_of(VALUES), failure=number,
        replay_of=script.below(number + 1) if script.byte() % 4 == 0 else 0, run=script.text(2),
    )  # fmt: skip


def _other(choice: int, script: Script, letters: int) -> bytes:
    """A line of another kind, or of none."""
    match choice:
        case 2:
            number, values = script.below(letters + 2), (script.one_of(VALUES),)
            edited = values if script.byte() % 2 else None
            return change_lines([Change(number, script.one_of(STATES), script.text(3), edited, AT)])
        case 3:
            return run_line(
                Run(script.text(3), "orders.py", None, [script.text(3)], {"topology.workers": script.byte()})
            )
        case 4:
            return script.bytes(script.below(40)) + b"\n"
        case 5:
            return _sealed(script.bytes(script.below(200)).replace(b"\n", b" "))
        case 6:
            return _sealed(
                b"".join(script.one_of(WORDS) + script.bytes(script.below(6)) for _ in range(6)).replace(b"\n", b"")
            )
        case _:
            return _mutilated(script, letters)


def _mutilated(script: Script, letters: int) -> bytes:
    """A line that was good: a bit of it flips, or a value in it is another one."""
    line = bytearray(letter_line(_letter(script, letters + 1)))
    if script.byte() % 2:
        line[script.below(len(line) - 1)] ^= 1 << script.below(8)
        return bytes(line)
    record: Any = json.loads(line[9:])
    names = [*record["letter"]]
    name, junk = (
        script.one_of(names),
        script.one_of((None, 0, -1, "x", [], [1], {}, {"$": "x", "v": 1}, {"$": "date", "v": "x"})),
    )
    if script.byte() % 4 == 0:
        del record["letter"][name]
    else:
        record["letter"][name] = junk
    return _sealed(json.dumps(record, separators=(",", ":")).encode())


def _sealed(body: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _is_numbered(line: bytes) -> bool:
    """Whether a line is a letter's, be it whole or not."""
    if was_letter(line):
        return True
    try:
        body = line.partition(b" ")[2]
        return int(line.partition(b" ")[0], 16) == zlib.crc32(body) and json.loads(body).get("letter") is not None
    except (ValueError, AttributeError, RecursionError):
        return False


def _check_read(stored: list[Stored], written: dict[int, Letter], letters: int) -> None:
    by_number = {one.number: one for one in stored}
    assert len(by_number) == len(stored)
    assert [one.number for one in stored] == sorted(by_number)
    assert not stored or stored[-1].number <= letters
    for number, letter in written.items():
        assert by_number[number].letter == letter, "what was written is read"


def _check_parts(whole: bytes, cut: int, at_once: LogReader) -> None:
    """A reader that looks while the log is written comes to the same."""
    cut = min(cut, len(whole))
    FILE.write_bytes(whole[:cut])
    reader = LogReader(FILE)
    reader.refresh()
    with FILE.open("ab") as file:
        file.write(whole[cut:])
    reader.refresh()
    assert reader.letters == at_once.letters
    assert reader.runs == at_once.runs


def _look_at(one: Stored) -> None:
    """What commands look at is there, or refused."""
    assert isinstance(one.at, datetime)
    assert isinstance(one.state, str)
    try:
        assert isinstance(one.letter.inputs(), str)
        assert len(one.letter.root_names()) >= 0
        assert isinstance(one.replayable, bool)
    except SquallError as error:
        check_refusal(error)
