"""Every command with arguments and options that no one means: refused in one reason, with nothing half done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .commands import BAD, COMMANDS, Command, Parameter
from .law import CommandLine, Refusal
from .values import TEXTS

Case = tuple[Command, list[str]]


FEW = 4
"""Values that are tried where another command has the same parameter, so that the same code reads it."""


def tried() -> Iterator[tuple[Command, Parameter, str, str]]:
    """Each parameter that takes a value with each bad value of its kind, or with each text if it takes any."""
    seen: set[tuple[str, str]] = set()
    for command in COMMANDS:
        for one in command.parameters:
            if one.is_switch:
                continue
            values = list(BAD.get(one.metavar, TEXTS).items())
            known = (one.flag, one.metavar) in seen
            seen.add((one.flag, one.metavar))
            for name, text in values[:FEW] if known else values:
                yield command, one, name, text


def arguments() -> dict[str, Case]:
    """Each argument with what it refuses."""
    return {
        f"{command.id}: {one.metavar} {name}": (command, _with(command, one, text))
        for command, one, name, text in tried()
        if not one.flag and (command.words, name) != (("new",), "up")  # a folder above may be written to
    }


def _with(command: Command, parameter: Parameter, text: str) -> list[str]:
    line = ["--"] if text.startswith("-") else []
    given = command.line(**{parameter.metavar: text})
    if not parameter.is_required:
        given.append(text)
    words = len(command.words)
    return [*given[:words], *line, *given[words:]]


def options() -> dict[str, Case]:
    """Each option with what it refuses."""
    return {
        f"{command.id}: {one.flag} {name}": (command, [*command.line(), one.flag, text])
        for command, one, name, text in tried()
        if one.flag
    }


def shapes() -> dict[str, Case]:
    """Calls of the wrong shape: options that are not there, values and arguments that lack or are too many."""
    found: dict[str, Case] = {}
    for command in COMMANDS:
        line = command.line()
        wrong = {
            "unknown option": [*line, "--no-such-option"],
            "unknown short option": [*line, "-Z"],
            "unknown option with a value": [*line, "--no-such-option=1"],
            "option behind --": [*line, "--", "--x", "--y", "--z"],
            "many arguments": [*line, *["x"] * 200],
            "empty option": [*line, "--", "", "", ""],
        }
        if line != [*command.words]:
            wrong["no arguments"] = list(command.words)
        for one in command.parameters:
            if one.is_switch:
                wrong[f"{one.flag} with a value"] = [*line, f"{one.flag}=yes"]
            elif one.flag:
                wrong[f"{one.flag} without a value"] = [*line, one.flag]
        found |= {f"{command.id}: {name}": (command, words) for name, words in wrong.items()}
    return found


def unknown_commands() -> dict[str, Case]:
    nothing = Command((), ())
    return {f"{where}{name}": (nothing, [*words, text]) for where, words in (("", []), ("dead ", ["dead"]))
            for name, text in TEXTS.items()}  # fmt: skip


ARGUMENTS, OPTIONS, SHAPES, UNKNOWN = arguments(), options(), shapes(), unknown_commands()
CASES = [*ARGUMENTS, *OPTIONS, *SHAPES, *(f"no command: {name}" for name in UNKNOWN)]


@pytest.mark.parametrize(("command", "line"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_argument_is_refused(command_line: CommandLine, command: Command, line: list[str]) -> None:
    command_line.refuses(*line)


@pytest.mark.parametrize(("command", "line"), OPTIONS.values(), ids=OPTIONS)
def test_option_is_refused(command_line: CommandLine, command: Command, line: list[str]) -> None:
    refusal = command_line.refuses(*line)
    flag = line[-2]
    if any(one.flag == flag and one.metavar in BAD for one in command.parameters):
        told_of_itself(refusal, flag)


def told_of_itself(refusal: Refusal, flag: str) -> None:
    """It is this option that is told, and none of the other things that are wrong with the call."""
    assert refusal.status == 2
    assert flag in refusal.err


@pytest.mark.parametrize(("command", "line"), SHAPES.values(), ids=SHAPES)
def test_call_of_the_wrong_shape_is_refused(command_line: CommandLine, command: Command, line: list[str]) -> None:
    assert command_line.refuses(*line).status == 2


@pytest.mark.parametrize(("command", "line"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_command_is_refused(command_line: CommandLine, command: Command, line: list[str]) -> None:
    assert command_line.refuses(*line).codes == ["usage_invalid"]
