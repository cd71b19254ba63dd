"""How errors look on the terminal: at most 25 lines; what does not fit and tracebacks go to the log."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from squall.errors import ClusterError, ConfigError, Defect, SquallError, StateError

MAX_LINES = 25
MAX_LOG_BYTES = 1 << 20
"""Size of the log from which a new one is begun; one older is kept."""
EXIT_FAILED, EXIT_USAGE = 1, 2


def show(error: SquallError, overrides: Sequence[str] = ()) -> None:
    """Prints an error to standard error.

    Args:
        overrides: `-c` of the command, which may name the folder of the log.
    """
    text, lines = str(error), str(error).splitlines()
    room = MAX_LINES - 1
    is_long = len(lines) > MAX_LINES
    logged = _log(text, error.__cause__, overrides) if is_long or error.__cause__ is not None else None
    if logged is not None:
        if len(lines) > room:
            left = len(lines) - room + 1
            lines = [*lines[: room - 1], f"… {left} more lines; {len(error.defects)} defects in all"]
        lines.append(f"  log: {logged}")
    with suppress(OSError):  # nobody takes it; the exit code still tells
        print("\n".join(lines), file=sys.stderr, flush=True)


def exit_code(error: SquallError) -> int:
    """2 for what the caller wrote, 1 for what the machine does."""
    return EXIT_FAILED if isinstance(error, ClusterError | StateError) else EXIT_USAGE


def wrong_use(error: Any) -> ConfigError:
    """The error of options or arguments that do not fit a command, from the one that Typer raises."""
    message: str = error.format_message()
    facts: list[tuple[str, str]] = []
    if hasattr(error.__cause__, "errors"):  # pydantic's, which does not tell the value in its text
        facts.append(("value", str(error.__cause__.errors()[0]["input"])))
    command = "squall"
    if error.ctx is not None:
        command = error.ctx.command_path
        facts.append(("usage", " ".join(error.ctx.get_usage().split()).removeprefix("Usage: ")))
    told = message[:1].lower() + message[1:].rstrip(".")
    return ConfigError(Defect("usage_invalid", told, tuple(facts), f"{command} --help shows what it takes"))


def output_unwritable(error: OSError) -> ClusterError:
    """A standard stream that does not take what is printed."""
    facts = (("because", error.strerror or str(error)),)
    fix = "make room, or lead it to another place"
    return ClusterError(Defect("output_unwritable", "what the command prints cannot be written", facts, fix))


def _log(text: str, cause: BaseException | None, overrides: Sequence[str]) -> str | None:
    """Appends an error to the log; where that is, or None if it cannot be written."""
    from squall.config.load import said_local_dir

    try:
        path = said_local_dir(overrides) / "logs" / "errors.log"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_name("errors.log.1"))
        trace = "".join(traceback.format_exception(cause)) if cause is not None else ""
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}\n{text}\n{trace}\n")
    except (OSError, SquallError):  # the folder cannot be written, or is not known
        return None
    return str(path)
