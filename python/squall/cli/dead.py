"""`squall dead`: what became of tuples that were given up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from squall.cli.commands import command
from squall.config.load import load, local_dir
from squall.engines.embedded.runs import running, topology_of
from squall.errors import Defect, StateError
from squall.runtime import dead_log
from squall.runtime.letter_codec import shown

SHOWN = 100


def _log(topology: str) -> Path:
    path = dead_log.log_path(local_dir(load()), topology)
    if not path.exists():
        known = sorted(file.stem for file in path.parent.glob("*.log"))
        facts = (("with dead letters", ", ".join(known) or "none"),)
        raise StateError(Defect("no_dead_letters", f'"{topology}" has no dead letters', facts, "check the name"))
    return path


def _chosen(topology: str, numbers: list[int]) -> list[dead_log.Stored]:
    letters = {stored.number: stored for stored in dead_log.read(_log(topology))}
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


def list_letters(topology: str, *, every: bool) -> None:
    """Prints one line a letter."""
    for stored in dead_log.read(_log(topology)):
        if every or stored.state == dead_log.OPEN:
            letter = stored.letter
            when = f"{letter.at:%Y-%m-%d %H:%M:%S}"
            inputs = letter.inputs()
            text = inputs if len(inputs) <= SHOWN else inputs[: SHOWN - 1] + "…"
            head = f"{stored.number:>6}  {when}  {stored.state:<8}  failure {letter.failure}"
            typer.echo(f"{head}  {letter.component}  {letter.error}  ({text})")


def show_letter(topology: str, number: int) -> None:
    """Prints everything about one letter."""
    (stored,) = _chosen(topology, [number])
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


def replay_letters(topology: str, numbers: list[int]) -> None:
    """Asks for roots to be emitted again; a running topology does it at once."""
    chosen = _chosen(topology, numbers)
    able = [stored.number for stored in chosen if stored.replayable]
    _refuse({stored.number: "not all of its root's values are kept" for stored in chosen if not stored.replayable})
    dead_log.mark(_log(topology), able, dead_log.ASKED)
    if not any(topology_of(key) == topology for key in running(local_dir(load()))):
        typer.echo(f"{len(able)} letters will be emitted again when {topology} starts")
        return
    done = command(topology, {"cmd": "replay"})
    _refuse(done["refused"])
    typer.echo(f"{done['replayed']} letters are emitted again")


def _refuse(refused: Mapping[int, str]) -> None:
    for number, why in refused.items():
        typer.echo(f"letter {number} cannot be replayed: {why}", err=True)


def drop_letters(topology: str, numbers: list[int]) -> None:
    """Marks letters as dropped."""
    chosen = _chosen(topology, numbers)
    dead_log.mark(_log(topology), [stored.number for stored in chosen], dead_log.DROPPED)
    typer.echo(f"{len(chosen)} letters are dropped")
