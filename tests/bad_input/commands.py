"""Every command with its options and arguments, as the program itself declares them; a new one is here by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from squall.cli.app import tree

from .values import DURATIONS, NUMBERS, ODD_NAMES, RATIOS, TEXTS

VALID: Mapping[str, str] = {
    "FILE[:NAME]": "defective.py",
    "TOPOLOGY": "nowhere",
    "COMPONENT[:STREAM]": "count",
    "LOGGER=LEVEL[:DURATION]": "root=DEBUG",
    "CODE": "no_such_code",
    "NUMBER": "1",
    "DIR": "good.py",
    "ADDRESS": "127.0.0.1:1",
    "FILE": "missing.txt",
}
"""Arguments that a command takes and then finds nothing for, so that it would be refused all the same."""
BAD: Mapping[str, Mapping[str, str]] = {
    "DURATION": DURATIONS,
    "ADDRESS": {**TEXTS, "no port": "127.0.0.1", "port": "127.0.0.1:65536", "letters": "127.0.0.1:http"},
    "HOW": TEXTS,
    "SHARE": RATIOS,
    "N": {name: text for name, text in NUMBERS.items() if name not in ("zero", "other digits", "digits", "fraction")},
    "NUMBER": {name: text for name, text in NUMBERS.items() if name not in ("other digits", "digits")},
    "KEY=VALUE": {**TEXTS, "no value": "topology.retries", "no key": "=3", "unknown": "topology.retires=3"},
    "LEVEL": TEXTS,
    "LOGGER=LEVEL[:DURATION]": {**TEXTS, "no level": "root=", "time": "root=DEBUG:", "never": "root=DEBUG:1e9s"},
    "STATE": TEXTS,
    "DIR": {name: TEXTS[name] for name in TEXTS if name not in (*ODD_NAMES, "script")},
}
"""Values that each kind of parameter refuses whatever else is said."""


@dataclass(frozen=True)
class Parameter:
    """An option, or an argument (`flag` empty)."""

    flag: str
    metavar: str
    is_switch: bool
    is_required: bool


@dataclass(frozen=True)
class Command:
    """A command with its words, as `("dead", "list")`."""

    words: tuple[str, ...]
    parameters: tuple[Parameter, ...]

    @property
    def id(self) -> str:
        return " ".join(self.words)

    def line(self, **instead: str) -> list[str]:
        """The words of a call that would be right, with other values for some arguments by their metavars."""
        given = [
            instead.get(one.metavar, VALID.get(one.metavar, "x"))
            for one in self.parameters
            if not one.flag and one.is_required
        ]
        return [*self.words, *given]


def _parameter(param: Any) -> Parameter:
    is_option = param.param_type_name == "option"
    flag = max(param.opts, key=len) if is_option else ""
    return Parameter(flag, param.metavar or param.name.upper(), getattr(param, "is_flag", False), param.required)


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[Command]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from _walk(below, (*words, name))
    else:
        yield Command(words, tuple(map(_parameter, command.params)))


COMMANDS = list(_walk(tree(), ()))
