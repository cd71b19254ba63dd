"""`squall dead debug`: the component of a letter on its recorded input, under Python's debugger."""

from __future__ import annotations

import bdb
import logging
import pdb
import sys
import traceback
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import typer

from squall.cli.letters.choosing import Letters
from squall.config.load import load
from squall.config.table import DEFAULTS
from squall.errors import ConfigError, DeadLetter, Defect, DropTuple, StateError
from squall.model.graph import Graph, Kind
from squall.planner.load import load_topology, split_target
from squall.planner.validate import validate
from squall.runtime.letter_codec import is_known, shown
from squall.runtime.letter_lines import Run
from squall.runtime.letters import Letter
from squall.runtime.life import OpenFailed
from squall.testing.one_input import Outcome, input_of, run_one


def debug_letter(
    base: Path,
    topology: str,
    number: int,
    target: str | None,
    parameters: list[str] | None,
    overrides: list[str],
    *,
    step: bool,
) -> int:
    """Runs a letter's component on its input under the debugger; the exit code: 1 if it fails again."""
    if not sys.stdin.isatty():
        fix = "run it in a terminal; squall dead show tells input and traceback without one"
        raise ConfigError(Defect("debug_terminal", "a debugger needs a terminal, and there is none", (), fix))
    letters = Letters(base, topology)
    letter = letters.one(number).letter
    run = letters.reader.runs.get(letter.run)
    graph = _graph(letter, run, target, parameters, overrides)
    _check(number, letter, graph)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("squall.worker").setLevel(logging.CRITICAL)  # what it would report is told here
    typer.echo(f'letter {number}: "{letter.component}" on {letter.source}/{letter.stream}({letter.inputs()})')
    typer.echo("its state is that of a new component; what it emits is shown and not sent\n")
    debugger = Debugger()
    try:
        outcome = run_one(graph, letter, lambda function: Debugged(function, debugger, step=step))
    except OpenFailed as failed:
        typer.echo("".join(traceback.format_exception(failed.error)) + f'"{failed.component}" cannot be opened')
        debugger.look_at(failed.error)
        return 1
    return 0 if debugger.was_left else _tell(outcome)


def _graph(
    letter: Letter, run: Run | None, target: str | None, parameters: list[str] | None, overrides: list[str]
) -> Graph:
    """The topology of the letter's run, or of the file that is given."""
    if target is None and run is None:
        fix = "name the file: squall dead debug TOPOLOGY NUMBER FILE"
        raise StateError(Defect("debug_no_file", "the log does not tell the topology's file", (), fix))
    file, name = split_target(target) if target is not None else ("", None)
    given = parameters
    if run is not None:
        file, name = (file, name) if target is not None else (run.file, run.name)
        given = run.parameters if parameters is None else parameters
    said = {key: value for key, value in load(overrides).items() if value != DEFAULTS[key]}
    settings = {**DEFAULTS, **(run.settings if run is not None else {}), **said}
    return validate(load_topology(file, name, given or []), settings)


def _check(number: int, letter: Letter, graph: Graph) -> None:
    """Whether the letter's input can be given to its component as it is now.

    Raises:
        ConfigError: `debug_unfit`.
    """
    spec = graph.components.get(letter.component)
    stream = f"{letter.source}/{letter.stream}"
    if spec is None:
        why, fix = f'the topology has no component "{letter.component}" any more', "name a file that has it"
    elif spec.kind is Kind.SPOUT:
        why, fix = "it failed where its spout emitted it, before any component had it", "squall dead show tells why"
    elif input_of(graph, letter) is None:
        why, fix = f'"{letter.component}" takes nothing of "{stream}" any more', "name a file where it does"
    elif not is_known(letter.values):
        why, fix = "a value of its input is of a type that is kept as text only", "give it a type that can be kept"
    elif len(letter.values) != len(graph.components[letter.source].streams[letter.stream].fields):
        why, fix = f'stream "{stream}" has other fields now', "name a file where it has those of the letter"
    else:
        return
    raise ConfigError(Defect("debug_unfit", f"letter {number} cannot be debugged: {why}", (), fix))


def _tell(outcome: Outcome) -> int:
    for stream, rows in outcome.emitted.items():
        for row in rows:
            typer.echo(f"would emit on {stream}: ({', '.join(map(shown, row))})")
    if outcome.error is not None:
        typer.echo(f"failed: {outcome.error.error.removeprefix('DeadLetter: ')}")
        return 1
    typer.echo("still holds its input: nothing acked it" if outcome.is_held else "ended well")
    return 0


class Debugger(pdb.Pdb):
    """Python's debugger, which remembers whether it was told to go on, and whether it was left while code ran."""

    def __init__(self) -> None:
        super().__init__(skip=["squall.*", "contextlib"])
        self.goes_on = self.was_left = False

    def set_continue(self) -> None:
        """Its user does not want to step any more."""
        self.goes_on = True
        super().set_continue()

    def look_at(self, error: BaseException) -> None:
        """Stops where the exception was raised."""
        self.reset()
        self.interaction(None, error.__traceback__)


class Debugged:
    """A component's function under the debugger, whatever it is: plain, a coroutine, a generator.

    With `step` it stops at the function's first line, else where an exception was raised.
    """

    def __init__(self, function: Callable[..., Any], debugger: Debugger, *, step: bool) -> None:
        self._function, self._debugger, self._step = function, debugger, step

    def __call__(self, *args: Any) -> Any:
        """Calls it; what it returns to be run later is run under the debugger too."""
        with self._watched():
            result = self._function(*args)
        if hasattr(result, "__await__"):
            return self._awaited(cast("Coroutine[Any, Any, Any]", result))
        return self._iterated(cast("Iterator[Any]", result)) if hasattr(result, "__next__") else result

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        with self._watched():
            return await coroutine

    def _iterated(self, outputs: Iterator[Any]) -> Generator[Any]:
        while True:
            with self._watched():
                try:
                    output = next(outputs)
                except StopIteration:
                    return
            yield output

    @contextmanager
    def _watched(self) -> Generator[None]:
        """Inside, the debugger stops; what is raised fails the input for good."""
        try:
            if self._step and not self._debugger.goes_on:
                self._debugger.reset()
                sys.settrace(self._debugger.trace_dispatch)
            yield
        except bdb.BdbQuit:
            self._debugger.was_left = True
            raise
        except DropTuple:
            raise
        except Exception as error:
            sys.settrace(None)
            error.__traceback__ = _own(error)
            typer.echo("".join(traceback.format_exception(error)).rstrip())
            self._debugger.look_at(error)
            raise DeadLetter(f"{type(error).__name__}: {error}") from error
        finally:
            sys.settrace(None)


def _own(error: Exception) -> Any:
    """The traceback without the frames of this file."""
    found = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename == __file__ and found.tb_next is not None:
        found = found.tb_next
    return found
