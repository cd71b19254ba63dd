"""How errors look on the terminal: at most 25 lines; tracebacks go to the log."""

from __future__ import annotations

import sys
import traceback

from squall.errors import ClusterError, SquallError, StateError

MAX_LINES = 25
EXIT_FAILED, EXIT_USAGE = 1, 2


def show(error: SquallError) -> None:
    """Prints an error to standard error; its cause's traceback goes to the log file."""
    lines = str(error).splitlines()
    cause = error.__cause__
    logged = _log(cause) if cause is not None else None
    room = MAX_LINES - (1 if logged else 0)
    if len(lines) > room:
        left = len(lines) - room + 1
        lines = [*lines[: room - 1], f"… {left} more lines"]
    if logged:
        lines.append(f"  log: {logged}")
    print("\n".join(lines), file=sys.stderr)


def exit_code(error: SquallError) -> int:
    """2 for what the caller wrote, 1 for what the machine does."""
    return EXIT_FAILED if isinstance(error, ClusterError | StateError) else EXIT_USAGE


def _log(cause: BaseException) -> str | None:
    from squall.config.load import local_dir

    try:
        path = local_dir({}) / "logs" / "errors.log"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(cause)) + "\n")
    except OSError:
        return None
    return str(path)
