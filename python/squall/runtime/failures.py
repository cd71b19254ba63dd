"""What an exception of user code means for the tuple: the decision that the core asks for."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from types import TracebackType

from squall import _core
from squall.errors import DeadLetter, DropTuple, RetryTuple

ACTIONS = {
    "retry": _core.ACTION_RETRY,
    "dead": _core.ACTION_DEAD,
    "drop": _core.ACTION_DROP,
    "die": _core.ACTION_DIE,
}
CALLERS = ("squall.runtime.", "concurrent.futures.")
"""Modules through which the engine calls components."""
MAX_TRACEBACK = 64 << 10
"""Bytes of a traceback that a report or a dead letter keeps; the middle is cut."""
MAX_SUMMARY = 1000
"""Characters of a message that a summary keeps."""


class FarError(Exception):
    """What another worker told of an exception there."""

    def __init__(self, text: str, traceback: str) -> None:
        super().__init__(text)
        self.text, self.traceback = text, traceback


def classify(error: BaseException, on_error: Mapping[type[BaseException], str]) -> tuple[int, bool, float | None]:
    """(action, whether it counts, pause before the next try) for an exception; the most derived class wins."""
    match error:
        case RetryTuple():
            return _core.ACTION_RETRY, error.counts, error.after
        case DeadLetter():
            return _core.ACTION_DEAD, True, None
        case DropTuple():
            return _core.ACTION_DROP, True, None
        case _:
            for cls in type(error).__mro__:
                if action := on_error.get(cls):
                    return ACTIONS[action], True, None
            return _core.ACTION_RETRY, True, None


def users_traceback(error: BaseException) -> TracebackType | None:
    """The traceback from where the engine called the component; whole if the engine's own code raised."""
    found = error.__traceback__
    while found and found.tb_frame.f_globals.get("__name__", "").startswith(CALLERS):
        found = found.tb_next
    return found or error.__traceback__


def traceback_text(error: BaseException) -> str:
    """The traceback of an exception, without the engine's way to the component; at most 64 KiB long."""
    if isinstance(error, FarError):
        return error.traceback
    text = "".join(traceback.format_exception(type(error), error, users_traceback(error)))
    if len(text) <= MAX_TRACEBACK:
        return text
    half = MAX_TRACEBACK // 2 - 20
    return f"{text[:half]}\n… {len(text) - 2 * half} characters cut …\n{text[-half:]}"


def summary(error: BaseException) -> str:
    """One line: the class and the first line of the message, cut."""
    if isinstance(error, FarError):
        return error.text
    try:
        message = str(error).strip()
    except Exception:
        return f"{type(error).__name__} (whose text cannot be shown)"
    if not message:
        return type(error).__name__
    (line, *_) = message[: MAX_SUMMARY + 1].splitlines()
    return f"{type(error).__name__}: {line if len(line) <= MAX_SUMMARY else line[:MAX_SUMMARY] + '…'}"
