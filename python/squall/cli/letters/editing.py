"""Other values for the root of a letter: from `--set`, or from an editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any, cast

import yaml

from squall.errors import ConfigError, Defect, did_you_mean
from squall.runtime.letter_codec import is_known, shown
from squall.runtime.plain_values import from_text, like, plain
from squall.runtime.stored import Stored

HEAD = """\
# Dead letter {number}: what spout "{spout}" emits again on stream "{stream}".
# Change values, save and leave. Types are kept where they can be; leave without a change to do nothing.
#
# {error}

"""


def changed_by(stored: Stored, settings: list[str]) -> tuple[Any, ...]:
    """The root's values with `FIELD=VALUE` settings applied.

    Raises:
        ConfigError: `edit_invalid`.
    """
    values = dict(zip(names_of(stored), stored.root_values or (), strict=True))
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(_invalid(stored, f'"--set {setting}" sets nothing', "write --set FIELD=VALUE"))
        if name not in values:
            raise ConfigError(_unknown(stored, name))
        values[name] = from_text(values[name], text)
    return tuple(values.values())


class _Dumper(yaml.SafeDumper):
    """Text with line ends that are not a line feed is quoted: unquoted they are read again as a space."""


def _text(dumper: Any, text: str) -> yaml.ScalarNode:
    style = '"' if any(end in text for end in "\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(row: dict[str, Any]) -> str:
    """Plain values as YAML that is read again as they are."""
    return yaml.dump(row, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def edited(stored: Stored) -> tuple[Any, ...] | None:
    """The root's values as they come from the user's editor; None if nothing was changed.

    Raises:
        ConfigError: `edit_invalid`: what was saved does not fit; it is kept in a file.
    """
    names_of(stored)
    letter = stored.letter
    head = HEAD.format(number=stored.number, spout=letter.spout, stream=letter.spout_stream, error=letter.error)
    row = {name: plain(value) for name, value in zip(names_of(stored), stored.root_values or (), strict=True)}
    fd, name = tempfile.mkstemp(prefix=f"letter-{stored.number}-", suffix=".yaml")
    path = Path(name)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(head + as_yaml(row))
    _open_editor(stored, path)
    values = _read(stored, path)
    path.unlink()
    return None if values == stored.root_values and changes(stored, values) == [] else values


def changes(stored: Stored, values: tuple[Any, ...]) -> list[str]:
    """What differs from the values that a replay would emit now, one line a field."""
    lines: list[str] = []
    for name, old, new in zip(names_of(stored), stored.root_values or (), values, strict=True):
        if type(old) is type(new) and old == new:
            continue
        types = "" if type(old) is type(new) else f"  ({type(old).__name__} becomes {type(new).__name__})"
        lines.append(f"{name}: {shown(old)} → {shown(new)}{types}")
    return lines


def names_of(stored: Stored) -> tuple[str, ...]:
    """The fields of the root's values.

    Raises:
        ConfigError: `edit_invalid`: its spout kept them, the log did not.
    """
    if stored.root_values is None:
        message = f"letter {stored.number} has no values to edit: its spout replays by itself"
        raise ConfigError(Defect("edit_invalid", message, (), "let the spout emit it again"))
    return stored.letter.root_names()


def _open_editor(stored: Stored, path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        status = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    except OSError as error:
        status = error.strerror
    if status:
        path.unlink()
        fix = f"name another editor: EDITOR=nano squall dead edit …, or use --set with squall dead replay ({editor})"
        message = f'editor "{editor}" ended with {status}'
        raise ConfigError(_invalid(stored, message, fix))


def _read(stored: Stored, path: Path) -> tuple[Any, ...]:
    kept = f"mend it and take the values over with --set; what you wrote is in {path}"
    try:
        row: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"what was saved for letter {stored.number} is no YAML"
        facts = (("because", " ".join(str(error).split())),)
        raise ConfigError(Defect("edit_invalid", message, facts, kept)) from None
    names = names_of(stored)
    if not isinstance(row, dict):
        raise ConfigError(_invalid(stored, f"what was saved for letter {stored.number} has no fields", kept))
    given = cast("dict[Any, Any]", row)
    if given.keys() != set(names):
        missing = [name for name in names if name not in given]
        more = [str(name) for name in given if name not in names]
        facts = (("missing", ", ".join(missing) or "none"), ("unknown", ", ".join(more) or "none"))
        message = f"what was saved for letter {stored.number} has other fields"
        raise ConfigError(Defect("edit_invalid", message, facts, kept))
    values = tuple(like(old, given[name]) for name, old in zip(names, stored.root_values or (), strict=True))
    if not is_known(values):
        message = f"letter {stored.number} still has a value that was kept as text only"
        raise ConfigError(_invalid(stored, message, f"give it a value; {kept}"))
    return values


def _unknown(stored: Stored, name: str) -> Defect:
    names = names_of(stored)
    near = did_you_mean(name, names)
    fix = f'did you mean "{near}"?' if near else "name one of these"
    return _invalid(stored, f'the root of letter {stored.number} has no field "{name}"', fix)


def _invalid(stored: Stored, message: str, fix: str) -> Defect:
    return Defect("edit_invalid", message, (("fields", ", ".join(names_of(stored))),), fix)
