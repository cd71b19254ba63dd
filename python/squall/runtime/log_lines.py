"""Log records as lines: text for people, JSON for programs. One event is one line, whatever its message holds.

In text the lines of a message or a traceback after the first are indented: people can read them, collectors join lines
that begin with white space (their usual rule), and nothing that a message holds can look like another event. Characters
that move a terminal's cursor are escaped. In JSON everything is inside of strings.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

LONGEST = 1 << 16
"""Characters that are kept of a message, a traceback and each value of `extra`."""
INDENT = "    "
PLACES = ("topology", "component", "task", "worker")
"""What every line says of where it comes from."""
STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", *PLACES}
"""What records have beside the fields of `extra`."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""Beside tab and line feed."""
NOT_PLAIN = re.compile(r"[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What JSON may hold as it is, and others take for the end of a line or for no text."""


def formatter(name: str) -> logging.Formatter:
    """The one for a value of `worker.log.format`."""
    return JsonLines() if name == "json" else TextLines()


class TextLines(logging.Formatter):
    """`2026-11-26 13:02:01,560 INFO    topology=… component=… task=… worker=… logger=… message key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and indented ones."""
        places = " ".join(f"{name}={_word(getattr(record, name, '-'))}" for name in PLACES)
        text = _message(record)
        for name, value in _extra(record).items():
            text += f" {name}={_word(value)}"
        for more in (_exception(record, self), _stack(record, self)):
            if more:
                text += f"\n{more}"
        head = f"{self.formatTime(record)} {record.levelname:<7} {places} logger={_word(record.name)} "
        return head + _escaped(text.rstrip("\n")).replace("\n", f"\n{INDENT}")


class JsonLines(logging.Formatter):
    """An object: time, level, logger, topology, component, task, worker, message; extra, exception, stack if any."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            **{name: _known(getattr(record, name, None)) for name in PLACES},
            "message": _message(record),
        }
        more = {"extra": _extra(record), "exception": _exception(record, self), "stack": _stack(record, self)}
        line |= {name: value for name, value in more.items() if value}
        return NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):04x}", _json(line))


def _known(value: object) -> object:
    return None if value == "-" else value


def _message(record: logging.LogRecord) -> str:
    """The message; where its arguments do not fit, both are shown: a record that is wrong is not lost."""
    try:
        return cut(record.getMessage())
    except Exception as error:
        return cut(f"{shown(record.msg)} {shown(record.args)} (does not fit: {type(error).__name__})")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    fields = vars(record)
    return {} if fields.keys() <= STANDARD else {name: fields[name] for name in fields if name not in STANDARD}


def _exception(record: logging.LogRecord, lines: logging.Formatter) -> str:
    if record.exc_info and not record.exc_text:
        try:
            record.exc_text = lines.formatException(record.exc_info)
        except Exception as error:  # the user's exception cannot be shown
            record.exc_text = f"{type(record.exc_info[1]).__name__} (not shown: {type(error).__name__})"
    return cut(record.exc_text or "")


def _stack(record: logging.LogRecord, lines: logging.Formatter) -> str:
    return cut(lines.formatStack(record.stack_info)) if record.stack_info else ""


def _json(line: dict[str, Any]) -> str:
    try:
        return json.dumps(line, ensure_ascii=False, allow_nan=False, default=shown)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, NaN, itself inside
        return json.dumps(_safe(line), ensure_ascii=False, allow_nan=False)


def _safe(line: Mapping[str, Any]) -> dict[str, Any]:
    """The same with everything as text that JSON may not have."""
    plain: dict[str, Any] = {}
    for name, value in line.items():
        if isinstance(value, dict) and name == "extra":
            plain[name] = _safe({str(key): one for key, one in cast("dict[object, object]", value).items()})
        elif value is None or isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 1 << 64):
            plain[name] = value
        else:
            plain[name] = shown(cast("object", value))
    return plain


def _word(value: object) -> str:
    """A value of `key=value`: as it is, or in quotes where it would look like several words."""
    text = cut(value) if isinstance(value, str) else shown(value)
    return text if re.fullmatch(r'[^\s"]+', text) else json.dumps(text, ensure_ascii=False)


def shown(value: object) -> str:
    """A value as `repr` shows it, whatever that does."""
    try:
        return cut(repr(value))
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def cut(text: str) -> str:
    """A text of at most 64 Ki characters."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _escaped(text: str) -> str:
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
