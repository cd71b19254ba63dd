"""Log records as lines: whatever is in them, one event is one line, and nothing is lost."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squall.config.table import DEFAULTS
from squall.runtime.log_lines import LONGEST, STANDARD, JsonLines, TextLines
from squall.runtime.logs import OLDER_FILES, WorkerLog

TEXTS = st.text(st.characters(exclude_categories=()), max_size=40) | st.sampled_from(
    ["\n", "a\r\nb", "\x1b[31m", "x\u2028y", "\x85", "\ud800", '"', "\\n", "%s", "\x00"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.tuples(st.integers()), inner, max_size=3),
    max_leaves=6,
)
EXTRAS = st.dictionaries(TEXTS.filter(lambda name: name not in STANDARD), VALUES, max_size=3)


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def record(message: object, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "mine", "msg": message, "args": args, "levelno": 20, "levelname": "INFO"})
    places = {"topology": "shop", "component": "count", "task": 3, "worker": 0}
    vars(made).update(places | extra)
    return made


def json_line(made: logging.LogRecord) -> dict[str, Any]:
    """The line's object; everything that could end a line is inside of strings."""
    line = JsonLines().format(made)
    assert len(line.splitlines()) == 1
    line.encode()
    return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@settings(deadline=None)
@given(TEXTS, EXTRAS)
def test_any_message_with_any_extra_is_one_line_of_json(message: str, extra: dict[str, Any]) -> None:
    told = json_line(record("%s", message, **extra))
    assert told["message"].encode("utf-16", "surrogatepass") == message.encode("utf-16", "surrogatepass")
    assert set(told.get("extra", {})) == {str(name) for name in extra}


@settings(deadline=None)
@given(TEXTS, EXTRAS)
def test_in_text_only_the_first_line_of_an_event_is_not_indented(message: str, extra: dict[str, Any]) -> None:
    head, *more = TextLines().format(record("%s", message, **extra)).splitlines()
    assert "topology=shop component=count task=3 worker=0 logger=mine " in head
    assert all(line.startswith("    ") for line in more)


def test_json_has_the_same_keys_as_text_with_what_is_not_known_as_null() -> None:
    told = json_line(record("done", task="-", order=5, items=[1, "two"]))
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "INFO",
        "logger": "mine",
        "topology": "shop",
        "component": "count",
        "task": None,
        "worker": 0,
        "message": "done",
        "extra": {"order": 5, "items": [1, "two"]},
    }
    text = TextLines().format(record("done", order=5, items=[1, "two"]))
    assert text.endswith("""logger=mine done order=5 items="[1, 'two']\"""")


def test_an_exception_is_a_field_of_its_own() -> None:
    try:
        raise ValueError("no\nnumber")
    except ValueError:
        made = record("event=failed", exc_info=sys.exc_info())
    told = json_line(made)
    assert told["message"] == "event=failed"
    assert told["exception"].startswith("Traceback (most recent call last):\n")
    assert told["exception"].endswith("ValueError: no\nnumber")
    assert TextLines().format(made).endswith("\n    ValueError: no\n    number")


def test_a_message_that_ends_its_line_leaves_no_empty_one() -> None:
    assert TextLines().format(record("failed\nValueError: no\n")).endswith("failed\n    ValueError: no")


def test_arguments_that_do_not_fit_are_shown_with_the_message() -> None:
    told = json_line(record("%d words", "nine"))
    assert told["message"] == "'%d words' ('nine',) (does not fit: TypeError)"


def test_values_that_cannot_be_shown_are_named() -> None:
    round_and_round: list[Any] = []
    round_and_round.append(round_and_round)
    told = json_line(record("x", odd=Unshowable(), loop=round_and_round, nan=float("nan"), keys={(1, 2): 3}))
    assert told["extra"] == {
        "odd": "<Unshowable: RuntimeError>",
        "loop": "[[...]]",
        "nan": "nan",
        "keys": "{(1, 2): 3}",
    }


def test_a_message_without_end_is_cut() -> None:
    told = json_line(record("x" * (LONGEST + 5)))
    assert told["message"].endswith(f"x… ({LONGEST + 5:,} characters)")
    assert len(told["message"]) < LONGEST + 50


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Logging of this process as it was, after a test that has taken it over."""
    root = logging.getLogger()
    kept = (list(root.handlers), root.level, logging.raiseExceptions)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    yield
    root.handlers[:], logging.raiseExceptions = kept[0], kept[2]
    root.setLevel(kept[1])
    for name in ("stdout", "stderr"):
        logging.getLogger(name).handlers.clear()


@pytest.mark.usefixtures("untouched")
def test_log_files_take_no_more_than_they_may(tmp_path: Path) -> None:
    most = 1 << 16
    told = DEFAULTS | {"worker.log.format": "json", "worker.log.max.bytes": most}
    log = WorkerLog(tmp_path / "log", "shop", 0, told, lambda: None, stray=())
    for number in range(2000):
        logging.getLogger("mine").info("number %d %s", number, "x" * 100)
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == OLDER_FILES + 1
    assert sum(file.stat().st_size for file in files) < most + (OLDER_FILES + 1) * 500
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["message"].startswith("number 1999 ")
