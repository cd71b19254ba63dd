"""`squall dead`: what became of tuples that were given up."""

from __future__ import annotations

from pathlib import Path

import typer

from squall.config.load import load, local_dir
from squall.engines.embedded.runs import running, topology_of
from squall.errors import Defect, StateError
from squall.runtime import dead_log

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
            inputs = ", ".join(f"{name}={value!r}" for name, value in zip(letter.fields, letter.values, strict=False))
            text = inputs if len(inputs) <= SHOWN else inputs[: SHOWN - 1] + "…"
            typer.echo(
                f"{stored.number:>6}  {letter.at:%Y-%m-%d %H:%M:%S}  {stored.state:<8}  {letter.component}  {letter.error}  ({text})"
            )


def show_letter(topology: str, number: int) -> None:
    """Prints everything about one letter."""
    (stored,) = _chosen(topology, [number])
    letter = stored.letter
    typer.echo(f"dead letter {number} of {topology}: {stored.state}")
    typer.echo(
        f"  component: {letter.component} (task {letter.task}), after {letter.attempts} tries, at {letter.at:%Y-%m-%d %H:%M:%S %Z}"
    )
    typer.echo(f"  input from: {letter.source}/{letter.stream}")
    for name, value in zip(letter.fields, letter.values, strict=False):
        typer.echo(f"    {name} = {value!r}")
    typer.echo(
        f"  root: {letter.spout}/{letter.spout_stream} {letter.root_values if letter.root_values is not None else f'id {letter.message_id!r}'}"
    )
    typer.echo(f"  replayable: {'yes' if stored.replayable else 'no, its values are not kept'}")
    typer.echo(letter.traceback.rstrip())


def replay_letters(topology: str, numbers: list[int]) -> None:
    """Asks for roots to be emitted again."""
    chosen = _chosen(topology, numbers)
    able = [stored for stored in chosen if stored.replayable]
    for stored in chosen:
        if not stored.replayable:
            typer.echo(f"letter {stored.number} cannot be replayed: its root's values are not kept", err=True)
    dead_log.mark(_log(topology), [stored.number for stored in able], dead_log.ASKED)
    alive = [path for key, path in running(local_dir(load())).items() if topology_of(key) == topology]
    if not alive:
        typer.echo(f"{len(able)} letters will be emitted again when {topology} starts")
        return
    from squall.cli.commands import command

    done = command(topology, {"cmd": "replay"})
    typer.echo(f"{done['replayed']} letters are emitted again")


def drop_letters(topology: str, numbers: list[int]) -> None:
    """Marks letters as dropped."""
    chosen = _chosen(topology, numbers)
    dead_log.mark(_log(topology), [stored.number for stored in chosen], dead_log.DROPPED)
    typer.echo(f"{len(chosen)} letters are dropped")
