"""`squall dead list` and `show`: what was given up, and what became of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from squall.cli.letters.choosing import Filter, Letters, state_of
from squall.cli.view.words import harmless, one_line
from squall.errors import StateError
from squall.model.graph import UNDECODED
from squall.model.masking import HIDDEN, Masker
from squall.runtime.letter_codec import shown
from squall.runtime.letters import NOT_DECODED
from squall.runtime.masked_values import without_secrets
from squall.runtime.plain_values import plain
from squall.runtime.stored import Stored

SHOWN = 100
"""Characters of an input that a line shows."""
ON_A_TERMINAL = 100
"""Newest letters that are listed on a terminal when nothing else is said."""
COLUMNS = ("#", "given up", "state", "component", "error", "input")
TIME_WIDTH, COMPONENT_WIDTH, LEAST_WIDTH = 14, 20, 10
LINKED = 20
"""Other letters of a failure that are named."""


def as_json(stored: Stored, masker: Masker | None, *, whole: bool = False) -> dict[str, Any]:
    """A letter as JSON, for scripts; `whole`: with its traceback. `masker` None: with its secrets.

    Of one that cannot be read, `unreadable` says why, and what only the letter itself tells is null.
    """
    head = stored.head
    found: dict[str, Any] = {
        "number": stored.number,
        "state": stored.state,
        "why": stored.change.why,
        "tries": list(stored.tries),
        "again": stored.again,
        "replay_of": head.replay_of or None,
        "component": head.component,
        "task": None,
        "at": stored.at.isoformat(),
        "attempts": head.attempts,
        "failure": head.failure,
        "run": head.run,
        "error": head.error,
        **dict.fromkeys(("source", "stream", "input", "spout", "spout_stream", "root")),
        "edited": stored.edited is not None,
        "message_id": None,
        "replayable": False,
        "unreadable": None,
        **({"traceback": None} if whole else {}),
    }
    try:
        inside = _inside(stored, masker)
    except StateError as error:
        return found | {"unreadable": {"code": error.code, "because": dict(error.defects[0].facts)["because"]}}
    return found | inside | ({"traceback": stored.letter.traceback} if whole else {})


def _inside(stored: Stored, masker: Masker | None) -> dict[str, Any]:
    """What only the letter itself tells."""
    letter, root = stored.letter, stored.root_values
    return {
        "task": letter.task,
        "source": letter.source,
        "stream": letter.stream,
        "input": _named(letter.fields, letter.values, masker),
        "spout": letter.spout,
        "spout_stream": letter.spout_stream,
        "root": None if root is None else _named(letter.root_names(), root, masker),
        "message_id": plain(_seen("", letter.message_id, masker)),
        "replayable": stored.replayable,
    }


def _named(names: Sequence[str], values: Sequence[Any], masker: Masker | None) -> dict[str, Any]:
    return {name: plain(_seen(name, value, masker)) for name, value in zip(names, values, strict=False)}


def _seen(name: str, value: Any, masker: Masker | None) -> Any:
    """A value as it may be seen."""
    if masker is None:
        return value
    return HIDDEN if masker.hides(name) else without_secrets(value, masker)


def list_letters(
    base: Path, topology: str, wanted: Filter, *, by: str | None, limit: int | None, reveal: bool, as_lines: bool
) -> None:
    """Prints one line a letter, or one for each group of them."""
    letters = Letters(base, topology)
    taken = wanted.taken(letters.read())
    if by is not None:
        return _print_groups(taken, by, as_lines)
    if limit is None and sys.stdout.isatty() and not as_lines:
        limit = ON_A_TERMINAL
    newest = taken[-limit:] if limit else taken
    masked = [(stored, None if reveal else letters.masker(stored)) for stored in newest]
    if as_lines:
        for stored, masker in masked:
            typer.echo(json.dumps(as_json(stored, masker)))
    elif sys.stdout.isatty():
        _print_table(masked, letters.is_running())
    else:
        is_running = letters.is_running()
        sys.stdout.writelines(_line(stored, masker, is_running) + "\n" for stored, masker in masked)
    if left := len(taken) - len(newest):
        typer.echo(f"and {left:,} older ones: --limit 0 lists all, --by error counts them", err=True)


def _line(stored: Stored, masker: Masker | None, is_running: bool) -> str:
    head = stored.head
    about = f"{stored.number:>6}  {stored.at:%Y-%m-%d %H:%M:%S}  {state_of(stored, is_running):<8}"
    return one_line(f"{about}  failure {head.failure}  {head.component}  {head.error}  ({_input(stored, masker)})")


def _input(stored: Stored, masker: Masker | None) -> str:
    try:
        text = ", ".join(_inputs(stored, masker, "="))
    except StateError:  # whoever looks at it alone is told why
        return "it cannot be read"
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _inputs(stored: Stored, masker: Masker | None, sign: str) -> Iterable[str]:
    """Names and values of the input, for people."""
    pairs = zip(stored.letter.fields, stored.letter.values, strict=False)
    return (f"{name}{sign}{shown(_seen(name, value, masker))}" for name, value in pairs)


def _print_table(masked: Sequence[tuple[Stored, Masker | None]], is_running: bool) -> None:
    """A table that fits the terminal: long cells are cut, none is wrapped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    letters = [stored for stored, _ in masked]
    states = [state_of(stored, is_running) for stored in letters]
    widths = [
        max([1, *(len(str(stored.number)) for stored in letters)]),
        TIME_WIDTH,
        max([len("state"), *map(len, states)]),
        min(COMPONENT_WIDTH, max([len("component"), *(len(stored.head.component) for stored in letters)])),
    ]
    rest = max(2 * LEAST_WIDTH, console.width - sum(widths) - 2 * (len(COLUMNS) - 1))
    widths += [rest * 3 // 5, rest - rest * 3 // 5]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name, width in zip(COLUMNS, widths, strict=True):
        table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
    for (stored, masker), state in zip(masked, states, strict=True):
        when = f"{stored.at:%m-%d %H:%M:%S}"
        cells = (str(stored.number), when, state, stored.head.component, stored.head.error, _input(stored, masker))
        table.add_row(*(Text(one_line(cell)) for cell in cells))
    console.print(table, soft_wrap=False)


def _print_groups(letters: Iterable[Stored], by: str, as_lines: bool) -> None:
    groups: dict[str, list[Stored]] = {}
    for stored in letters:
        groups.setdefault(stored.head.error if by == "error" else stored.head.component, []).append(stored)
    for key, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        first, last = group[0], group[-1]
        if as_lines:
            told = {by: key, "count": len(group), "first": first.at.isoformat(), "last": last.at.isoformat()}
            typer.echo(json.dumps({**told, "newest": last.number}))
        else:
            where = "" if by == "component" else f"  {', '.join(sorted({one.head.component for one in group}))}"
            span = f"{first.at:%Y-%m-%d %H:%M:%S} … {last.at:%Y-%m-%d %H:%M:%S}"
            typer.echo(f"{len(group):>7,}  {span}  newest {last.number}{where}  {one_line(key)}")


def show_letter(base: Path, topology: str, number: int, *, reveal: bool, as_lines: bool) -> None:
    """Prints everything about one letter."""
    letters = Letters(base, topology)
    stored = letters.one(number)
    masker = None if reveal else letters.masker(stored)
    letter = stored.letter
    if as_lines:
        return typer.echo(json.dumps(as_json(stored, masker, whole=True), indent=2))
    lines = [
        f"dead letter {number} of {topology}: {state_of(stored, letters.is_running())}{_why(stored)}",
        f"  component: {letter.component} (task {letter.task})",
        f"  given up: {letter.at:%Y-%m-%d %H:%M:%S %Z}, after {_tries(letter.attempts)}",
        f"  failure: {letter.failure}{_linked(stored, letters.reader.letters.values())}",
        *([f"  replay of: letter {letter.replay_of}"] if letter.replay_of else []),
        *(f"  on the way: {one}" for one in stored.tries),
        f"  input: {letter.source}/{letter.stream}",
        *(f"    {line}" for line in _inputs(stored, masker, " = ")),
        *_root(stored, masker),
        f"  replayable: {_replayable(stored)}",
        f"  error: {letter.error}",
        letter.traceback.rstrip(),
    ]
    typer.echo(harmless("\n".join(lines)))


def _replayable(stored: Stored) -> str:
    if stored.letter.spout_stream == UNDECODED:
        return f"no, {NOT_DECODED}"
    return "yes" if stored.replayable else "no, not all of its values are kept"


def _tries(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


def _why(stored: Stored) -> str:
    if stored.change.number == 0:
        return ""
    because = f", {stored.change.why}" if stored.change.why else ""
    return f" ({stored.change.at:%Y-%m-%d %H:%M:%S %Z}{because})"


def _linked(stored: Stored, letters: Iterable[Stored]) -> str:
    """The other letters of the same failure: a join that fails gives up every root that it holds."""
    key = (stored.head.run, stored.head.failure)
    others = (one for one in letters if (one.head.run, one.head.failure) == key and one.number != stored.number)
    numbers = [str(one.number) for one in islice(others, LINKED + 1)] if all(key) else []
    if not numbers:
        return ""
    return f", with letters {', '.join(numbers[:LINKED])}{' and more' if len(numbers) > LINKED else ''}"


def _root(stored: Stored, masker: Masker | None) -> list[str]:
    letter = stored.letter

    def seen(values: Sequence[Any]) -> str:
        return row(tuple(_seen(name, one, masker) for name, one in zip(letter.root_names(), values, strict=False)))

    where = f"  root: {letter.spout}/{letter.spout_stream}"
    if stored.root_values is None:
        return [f"{where} id {shown(_seen('', letter.message_id, masker))}"]
    if stored.edited is None:
        return [f"{where} {seen(stored.root_values)}"]
    return [f"{where} {seen(letter.root_values or ())}", f"    edited: {seen(stored.edited)}"]


def row(values: tuple[object, ...]) -> str:
    """Values for people."""
    return f"({', '.join(map(shown, values))})"
