"""From files, environment and command line to checked values.

Weakest first: default, `squall.yaml` (in the current folder, or the file that SQUALL_CONFIG names), environment
(`SQUALL_TOPOLOGY_RETRIES=5`), `-c KEY=VALUE`. What the topology's own code says is laid on top by the planner.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from squall.config.table import DEFAULTS, SETTINGS, Scope, Setting
from squall.errors import ConfigError, Defect, did_you_mean

FILE_NAME = "squall.yaml"
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
NOTHING = ("", "null", "none")


@dataclass(frozen=True, slots=True)
class Given:
    """A value and who said it."""

    key: str
    value: object
    source: str


def local_dir(settings: Mapping[str, Any]) -> Path:
    """The folder for runs, logs, dead letters and positions."""
    if configured := settings.get("storm.local.dir"):
        return Path(str(configured)).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "squall"


def load(overrides: Iterable[str] = (), *, options: Iterable[Given] = (), folder: Path | None = None) -> dict[str, Any]:
    """The settings of this machine and this command.

    Args:
        overrides: `KEY=VALUE` texts of the command line, strongest last.
        options: what other options of the command line say; stronger than `overrides`.
        folder: where `squall.yaml` is looked for; the current folder if not given.

    Raises:
        ConfigError: everything that is wrong, at once: unknown keys, wrong values, an unreadable file.
    """
    settings, defects = _said(overrides, options, folder or Path.cwd())
    if defects:
        raise ConfigError(*defects)
    return settings


def said_local_dir(overrides: Iterable[str]) -> Path:
    """The folder for logs as far as the settings can be read; what is wrong with them is not told here."""
    return local_dir(_said(overrides, (), Path.cwd())[0])


def _said(overrides: Iterable[str], options: Iterable[Given], folder: Path) -> tuple[dict[str, Any], list[Defect]]:
    """What all sources say, weakest first, and what is wrong with it."""
    given, defects = _file(folder)
    given += _environment()
    for text in overrides:
        key, equals, value = text.partition("=")
        if equals:
            given.append(Given(key.strip(), value.strip(), f"-c {text}"))
        else:
            fix = "write -c KEY=VALUE"
            defects.append(Defect("setting_syntax", f'"-c {text}" has no value', (), fix))
    settings = dict(DEFAULTS)
    for one in [*given, *options]:
        try:
            settings[one.key] = checked(one.key, one.value, one.source, Scope.LOCAL)
        except ConfigError as error:
            defects.extend(error.defects)
    return settings, defects


def checked(key: str, value: object, source: str, scope: Scope) -> Any:
    """The value of a setting as its type.

    Args:
        scope: where it was given: LOCAL (file, environment, command line), TOPOLOGY or COMPONENT.

    Raises:
        ConfigError: an unknown key (`setting_unknown`), a value that does not fit (`setting_invalid`), or a key that
            may not be given there (`setting_scope`).
    """
    row = SETTINGS.get(key)
    if row is None:
        near = did_you_mean(str(key), SETTINGS)
        fix = f'did you mean "{near}"?' if near else "see docs/settings.md for all keys"
        raise ConfigError(Defect("setting_unknown", f'there is no setting "{key}"', (("given by", source),), fix))
    if not row.scope.takes(scope):
        facts = (("given by", source), ("may be given for", row.scope.value))
        fix = f"give it for the topology: Topology(…, settings={{{key!r}: …}})"
        if row.scope is Scope.LOCAL:
            fix = f"give it in {FILE_NAME}, in the environment or by -c"
        raise ConfigError(Defect("setting_scope", f'setting "{key}" may not be given here', facts, fix))
    return _converted(row, value, source)


def _converted(row: Setting, value: object, source: str) -> Any:
    if row.default is None and (value is None or (isinstance(value, str) and value.lower() in NOTHING)):
        return None
    try:
        converted = _PARSERS[row.kind](value)
    except (ValueError, OverflowError):
        raise _invalid(row, value, source) from None
    if row.choices:
        converted = next((choice for choice in row.choices if choice.lower() == converted.lower()), converted)
    if not row.allows(converted):
        raise _invalid(row, value, source)
    return converted


def _flag(value: object) -> bool:
    if isinstance(value, str) and value.lower() in TRUE + FALSE:
        return value.lower() in TRUE
    if isinstance(value, bool):
        return value
    raise ValueError


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):  # YAML makes one of a bare port
        return str(value)
    raise ValueError


def _number(value: object) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool) and math.isfinite(float(value)):
        return float(value)
    raise ValueError


def _whole(value: object) -> int:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError


_PARSERS: Mapping[type, Callable[[object], Any]] = {bool: _flag, str: _text, float: _number, int: _whole}


def _invalid(row: Setting, value: object, source: str) -> ConfigError:
    facts = (("value", repr(value)), ("given by", source), ("meaning", row.doc))
    return ConfigError(Defect("setting_invalid", f'setting "{row.key}" has a wrong value', facts, f"give {row.wanted}"))


def _environment() -> list[Given]:
    """Variables that name a setting; one that only looks so is given too, so that a slip of the pen is told."""
    known = {_variable(key): key for key in SETTINGS}
    families = tuple(sorted({_variable(key.split(".")[0]) + "_" for key in SETTINGS}))
    return [
        Given(known.get(name, _guessed_key(name)), value, f"environment variable {name}")
        for name, value in sorted(os.environ.items())
        if name.startswith(families)
    ]


def _variable(key: str) -> str:
    return "SQUALL_" + key.replace(".", "_").upper()


def _guessed_key(variable: str) -> str:
    return variable.removeprefix("SQUALL_").replace("_", ".").lower()


def _file(folder: Path) -> tuple[list[Given], list[Defect]]:
    named = os.environ.get("SQUALL_CONFIG")
    path = Path(named) if named else folder / FILE_NAME
    if not named and not path.exists():
        return [], []
    import yaml

    def unreadable(why: str) -> tuple[list[Given], list[Defect]]:
        facts = (("file", str(path)), ("because", why))
        return [], [Defect("settings_file", "the settings file cannot be read", facts, "mend or remove the file")]

    try:
        text = path.read_text(encoding="utf-8")
        content: Any = yaml.safe_load(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        return unreadable(error.strerror or str(error))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return unreadable(" ".join(str(error).split()))
    if content is None:
        return [], []
    if not isinstance(content, dict) or not isinstance(node, yaml.MappingNode):
        return unreadable("it holds no mapping of keys to values")
    lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
    items = cast("dict[object, object]", content)
    return [Given(str(key), value, f"{path}:{lines.get(str(key), 1)}") for key, value in items.items()], []
