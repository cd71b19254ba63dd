"""`squall dead`: what became of tuples that were given up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import typer

from squall.cli.commands import command
from squall.engines.embedded.runs import running, topology_of, usable
from squall.errors import Defect, StateError
from squall.runtime import dead_log
from squall.runtime.letter_codec import shown

SHOWN = 100


def _log(base: Path, topology: str) -> Path:
    path = dead_log.log_path(base, topology)
    if not os.path.exists(path):  # a name that no file can have is none, too
        known = sorted(file.stem for file in path.parent.glob("*.log"))
        facts = (("with dead letters", ", ".join(known) or "none"),)
        raise StateError(Defect("no_dead_letters", f'"{topology}" has no dead letters', facts, "check the name"))
    return path


def _letters(base: Path, topology: str) -> list[dead_log.Stored]:
    path = _log(base, topology)
    with usable(path):
        return dead_log.read(path)


def _mark(base: Path, topology: str, chosen: list[dead_log.Stored], state: str) -> None:
    path = _log(base, topology)
    with usable(path):
        dead_log.mark(path, [stored.number for stored in chosen], state)


def _chosen(base: Path, topology: str, numbers: list[int]) -> list[dead_log.Stored]:
    letters = {stored.number: stored for stored in _letters(base, topology)}
    if missing := [number for number in numbers if number not in letters]:
        message = f'"{topology}" has no dead letter {missing[0]}'
        raise StateError(
            Defect(
                "dead_letter_unknown", message, (("letters", f"1 to {len(letters)}"),), f"squall dead list {topology}"
            )
        )
    return (
        [letters[number] for number in numbers]
        if numbers
        else [s for s in letters.values() if s.state == dead_log.OPEN]
    )


def list_letters(base: Path, topology: str, *, every: bool) -> None:
    """Prints one line a letter."""
    for stored in _letters(base, topology):
        if every or stored.state == dead_log.OPEN:
            letter = stored.letter
            when = f"{letter.at:%Y-%m-%d %H:%M:%S}"
            inputs = letter.inputs()
            text = inputs if len(inputs) <= SHOWN else inputs[: SHOWN - 1] + "…"
            head = f"{stored.number:>6}  {when}  {stored.state:<8}  failure {letter.failure}"
            typer.echo(f"{head}  {letter.component}  {letter.error}  ({text})")


def show_letter(base: Path, topology: str, number: int) -> None:
    """Prints everything about one letter."""
    (stored,) = _chosen(base, topology, [number])
    letter = stored.letter
    root = f"id {shown(letter.message_id)}" if letter.root_values is None else _row(letter.root_values)
    inputs = [f"    {name} = {shown(value)}" for name, value in zip(letter.fields, letter.values, strict=False)]
    lines = [
        f"dead letter {number} of {topology}: {stored.state}",
        f"  component: {letter.component} (task {letter.task})",
        f"  given up: {letter.at:%Y-%m-%d %H:%M:%S %Z}, after {letter.attempts} tries",
        f"  failure: {letter.failure}",
        f"  input: {letter.source}/{letter.stream}",
        *inputs,
        f"  root: {letter.spout}/{letter.spout_stream} {root}",
        f"  replayable: {'yes' if stored.replayable else 'no, not all of its values are kept'}",
        f"  error: {letter.error}",
        letter.traceback.rstrip(),
    ]
    typer.echo("\n".join(lines))


def _row(values: tuple[object, ...]) -> str:
    return f"({', '.join(map(shown, values))})"


def replay_letters(base: Path, topology: str, numbers: list[int]) -> None:
    """Asks for roots to be emitted again; a running topology does it at once."""
    chosen = _chosen(base, topology, numbers)
    able = [stored for stored in chosen if stored.replayable]
    _refuse({stored.number: "not all of its root's values are kept" for stored in chosen if not stored.replayable})
    _mark(base, topology, able, dead_log.ASKED)
    if not any(topology_of(key) == topology for key in running(base)):
        typer.echo(f"letters that will be emitted again when {topology} starts: {len(able)}")
        return
    done = command(base, topology, {"cmd": "replay"})
    _refuse(done["refused"])
    typer.echo(f"letters emitted again: {done['replayed']}")


def _refuse(refused: Mapping[int, str]) -> None:
    for number, why in refused.items():
        typer.echo(f"letter {number} cannot be replayed: {why}", err=True)


def drop_letters(base: Path, topology: str, numbers: list[int]) -> None:
    """Marks letters as dropped."""
    chosen = _chosen(base, topology, numbers)
    _mark(base, topology, chosen, dead_log.DROPPED)
    typer.echo(f"letters dropped: {len(chosen)}")
