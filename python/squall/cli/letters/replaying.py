"""`squall dead replay`, `edit` and `drop`: letters are sent again and followed to their end, or put away."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from squall.cli.commands import command, control_socket
from squall.cli.letters.choosing import Filter, Letters, ask, confirm, must_have_terminal
from squall.cli.letters.editing import changed_by, changes, edited
from squall.cli.letters.viewing import as_json, row
from squall.engines.embedded.runs import usable
from squall.errors import ConfigError, Defect
from squall.model.graph import UNDECODED
from squall.runtime.letter_codec import is_known
from squall.runtime.letter_lines import ACKED, AGAIN, ASKED, DROPPED, OPEN, RUNNING, Change
from squall.runtime.letters import NOT_DECODED
from squall.runtime.stored import Stored

LOOK_EVERY_S = 0.05
TOLD = 20
"""Letters whose good end is told one by one; of more, only what is not well."""
QUESTION = "replay letter {} with these values?"
NOT_KEPT = "not all of its root's values are kept"
UNREADABLE = "it cannot be read (dead_letter_unreadable)"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a replay is asked for. `wait` None: if the topology runs, and someone looks."""

    yes: bool = False
    dry: bool = False
    wait: bool | None = None
    as_lines: bool = False


def replay_letters(
    base: Path, topology: str, numbers: list[int], wanted: Filter, settings: list[str], manner: Manner
) -> int:
    """Has roots emitted again, with other values where `settings` say so; the exit code."""
    letters = Letters(base, topology)
    chosen = letters.chosen(numbers, wanted)
    values = {one.number: changed_by(one, settings) for one in chosen if one.is_readable} if settings else {}
    if manner.dry:
        _print_plan(chosen, values)
        return 0
    confirm("replay", len(chosen), yes=manner.yes, named=bool(numbers))
    return _replayed(letters, chosen, values, manner)


def edit_letter(base: Path, topology: str, number: int, manner: Manner) -> int:
    """Opens the root's values in an editor and has them emitted; the exit code."""
    letters = Letters(base, topology)
    stored = letters.one(number)
    if not manner.yes:
        must_have_terminal(QUESTION.format(number))
    values = edited(stored)
    if values is None:
        typer.echo("nothing was changed", err=True)
        return 0
    for line in changes(stored, values):
        typer.echo(line, err=True)
    if not manner.yes:
        ask(QUESTION.format(number))
    return _replayed(letters, [stored], {number: values}, manner)


def drop_letters(base: Path, topology: str, numbers: list[int], wanted: Filter, *, yes: bool, as_lines: bool) -> None:
    """Marks letters as dropped."""
    if not numbers and not wanted:
        fix = f"name numbers, or filter: squall dead drop {topology} --error TEXT; --all-open drops every open one"
        raise ConfigError(Defect("letters_unnamed", "which letters are to be dropped is not said", (), fix))
    letters = Letters(base, topology)
    chosen = letters.chosen(numbers, wanted)
    confirm("drop", len(chosen), yes=yes, named=bool(numbers))
    letters.mark([Change(one.number, DROPPED) for one in chosen])
    if as_lines:
        letters.read()
        _print_json(letters, chosen)
    else:
        typer.echo(f"letters dropped: {len(chosen)}")


def _print_plan(chosen: Sequence[Stored], values: dict[int, tuple[Any, ...]]) -> None:
    """What a replay would emit."""
    for one in chosen:
        if (why := _unfit(one, values)) is not None:
            typer.echo(f"letter {one.number} cannot be replayed: {why}")
            continue
        letter, emits = one.letter, values.get(one.number, one.root_values) or ()
        typer.echo(f"letter {one.number} would be emitted: {letter.spout}/{letter.spout_stream} {row(emits)}")
        for line in changes(one, values[one.number]) if one.number in values else ():
            typer.echo(f"  {line}")


def _replayed(letters: Letters, chosen: Sequence[Stored], values: dict[int, tuple[Any, ...]], manner: Manner) -> int:
    is_running = letters.is_running()
    if is_running or manner.wait:
        control_socket(letters.base, letters.topology)  # before anything is written: it must run, and once only
    refused = {one.number: why for one in chosen if (why := _why_not(one, values, is_running))}
    able = [one for one in chosen if one.number not in refused]
    letters.mark([Change(one.number, ASKED, values=values.get(one.number)) for one in able])
    if is_running:
        done = command(letters.base, letters.topology, {"cmd": "replay"})
        refused |= {int(number): why for number, why in done["refused"].items()}
        _say(manner, f"letters emitted again: {done['replayed']}")
    else:
        _say(manner, f"letters that will be emitted again when {letters.topology} starts: {len(able)}")
    _refuse(refused)
    followed = [one for one in able if one.number not in refused]
    waits = manner.wait if manner.wait is not None else sys.stdout.isatty()
    well = _followed(letters, followed, manner) if is_running and waits and followed else True
    if manner.as_lines:
        letters.read()
        _print_json(letters, chosen)
    return 0 if well and not refused else 1


def _why_not(one: Stored, values: dict[int, tuple[Any, ...]], is_running: bool) -> str | None:
    """Why a letter is not asked for."""
    if is_running and one.state == RUNNING:
        return "its replay is under way"
    return _unfit(one, values)


def _unfit(one: Stored, values: dict[int, tuple[Any, ...]]) -> str | None:
    """Why a letter has nothing to emit."""
    if not one.is_readable:
        return UNREADABLE
    if one.letter.spout_stream == UNDECODED:
        return NOT_DECODED
    emits = values.get(one.number, one.root_values)
    return None if emits is not None and is_known(emits) else NOT_KEPT


def _followed(letters: Letters, chosen: Sequence[Stored], manner: Manner) -> bool:
    """Waits for the end of each replay and tells it; whether all ended well."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    left = {one.number for one in chosen}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("replaying", total=len(left))
        while left:
            is_running = letters.is_running()  # before the log is read: what a run did to its end is in there
            with usable(letters.path):
                letters.reader.refresh()
            left -= {number for number in left if letters.reader.letters[number].state not in (ASKED, RUNNING)}
            progress.update(bar, completed=len(chosen) - len(left))
            if left and not is_running:
                break
            if left:
                time.sleep(LOOK_EVERY_S)
    ended = [letters.reader.letters[one.number] for one in chosen]
    if not manner.as_lines:
        _tell(letters, ended)
    return all(one.state == ACKED for one in ended)


def _tell(letters: Letters, ended: Sequence[Stored]) -> None:
    for one in ended:
        if len(ended) <= TOLD or one.state != ACKED:
            typer.echo("\n".join(_outcome(letters, one)))
    if len(ended) > TOLD:
        acked = sum(one.state == ACKED for one in ended)
        typer.echo(f"{acked:,} of {len(ended):,} letters were acked")


def _outcome(letters: Letters, one: Stored) -> list[str]:
    """How a replay ended, and what failed on its way."""
    took = f"{(one.change.at - (one.began_at or one.change.at)).total_seconds():.2f} s"
    tries = [f"  {why}" for why in one.tries]
    match one.state:
        case str(state) if state == ACKED:
            return [f"letter {one.number}: acked after {took} ({one.change.why})", *tries]
        case str(state) if state == AGAIN and one.again is not None:
            new = letters.reader.letters[one.again]
            task = f" (task {new.letter.task})" if new.is_readable else ""
            where = f"in {new.head.component}{task}: {new.head.error}"
            return [f"letter {one.number}: dead again after {took}, now letter {one.again}: {where}", *tries]
        case str(state) if state == OPEN:
            return [f"letter {one.number}: cannot be replayed: {one.change.why}"]
        case _:
            return [f"letter {one.number}: {letters.topology} ended first; it is emitted again when that starts"]


def _say(manner: Manner, text: str) -> None:
    if not manner.as_lines:
        typer.echo(text)


def _refuse(refused: dict[int, str]) -> None:
    for number, why in refused.items():
        typer.echo(f"letter {number} cannot be replayed: {why}", err=True)


def _print_json(letters: Letters, chosen: Sequence[Stored]) -> None:
    for one in chosen:
        stored = letters.reader.letters[one.number]
        typer.echo(json.dumps(as_json(stored, letters.masker(stored))))
