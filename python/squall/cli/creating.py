"""`squall new`: a project that runs, is tested and type-checks, to begin from."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import typer

from squall import _core
from squall.errors import ClusterError, ConfigError, Defect, TopologyError
from squall.planner.validate import checked_name

SUFFIX = ".txt"
"""Of the files in `project`: else tools would take them for parts of squall."""
HIDDEN = {"gitignore": ".gitignore"}
HARMLESS = {".git"}
"""What a folder may hold that is as good as empty."""


def new_project(folder: Path, name: str | None) -> None:
    """Writes the files of a project, and says what to do next.

    Raises:
        ConfigError: `folder_not_empty`.
        TopologyError: `name_invalid`.
        ClusterError: `project_unwritable`.
    """
    called = name if name is not None else folder.resolve().name
    if defect := checked_name("topology", called):
        fix = defect.fix if name is not None else f"{defect.fix}; or name it: --name NAME"
        raise TopologyError(replace(defect, fix=fix))
    _refuse_what_is_there(folder)
    words = {
        "{{name}}": called,
        "{{quoted}}": json.dumps(called, ensure_ascii=False),  # as Python writes it, too: a name has no odd characters
        "{{shell}}": shlex.quote(called),
        "{{slug}}": _slug(called),
        "{{version}}": _core.BUILD["version"],
    }
    try:
        written = [_write(folder / path, text, words) for path, text in files().items()]
    except OSError as error:
        facts = (("path", str(error.filename or folder)), ("because", error.strerror or str(error)))
        fix = "name a folder that can be written to"
        raise ClusterError(Defect("project_unwritable", "the project cannot be written", facts, fix)) from None
    typer.echo(f'made "{called}": {", ".join(str(path.relative_to(folder)) for path in written)}')
    enter = f"cd {shlex.quote(str(folder))} && " if folder.resolve() != Path.cwd() else ""
    typer.echo(f"next:\n  {enter}squall run topology.py --for 10s\n  pytest\n  squall check topology.py")


def files() -> dict[str, str]:
    """The text of each file of a project, by its path there."""
    found: dict[str, str] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            name = entry.name.removesuffix(SUFFIX)
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            elif name != entry.name:
                found[prefix + HIDDEN.get(name, name)] = entry.read_text(encoding="utf-8")

    walk(resources.files("squall.cli") / "project", "")
    return found


def _slug(name: str) -> str:
    """The name as Docker takes it."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower()).strip("-") or "topology"


def _refuse_what_is_there(folder: Path) -> None:
    try:
        there = sorted({entry.name for entry in folder.iterdir()} - HARMLESS)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        there = ["a file of this name"]
    if there:
        facts = (("holds", ", ".join(there[:5]) + (f" and {len(there) - 5} more" if len(there) > 5 else "")),)
        fix = "name a folder that is not there yet, or an empty one"
        raise ConfigError(Defect("folder_not_empty", f'"{folder}" is not empty', facts, fix))


def _write(path: Path, text: str, words: dict[str, str]) -> Path:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
