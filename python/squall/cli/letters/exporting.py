"""`squall dead export`: letters for other programs."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

import typer

from squall.cli.letters.choosing import Filter, Letters
from squall.cli.letters.viewing import as_json
from squall.engines.embedded.runs import usable
from squall.errors import ConfigError, Defect
from squall.runtime.stored import Stored

FORMATS = ("jsonl", "csv")


def export_letters(base: Path, topology: str, wanted: Filter, file: Path | None, format_: str | None) -> None:
    """Writes letters, with their values, to a file or to standard output.

    A file is there as a whole or not at all.
    """
    write = _writer(file, format_)
    chosen = wanted.taken(Letters(base, topology).read())
    if file is None:
        write(sys.stdout, _progress(chosen))
        return
    part = file.with_name(f".{file.name}.part")
    with usable(file):
        try:
            with part.open("w", encoding="utf-8", newline="") as out:
                write(out, _progress(chosen))
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
    typer.echo(f"letters written to {file}: {len(chosen):,}")


def _writer(file: Path | None, format_: str | None) -> Callable[[TextIO, Iterable[Stored]], None]:
    name = format_ if format_ is not None else ("csv" if file is not None and file.suffix == ".csv" else "jsonl")
    if name not in FORMATS:
        message = f'"--format {name}" is no format of an export'
        raise ConfigError(Defect("export_format", message, (("formats", ", ".join(FORMATS)),), "name one of these"))
    return _write_csv if name == "csv" else _write_lines


def _progress(letters: list[Stored]) -> Iterable[Stored]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(letters, "exporting", console=console, transient=True, disable=not console.is_terminal)


def _write_lines(out: TextIO, letters: Iterable[Stored]) -> None:
    out.writelines(json.dumps(as_json(stored, None, whole=True)) + "\n" for stored in letters)


def _write_csv(out: TextIO, letters: Iterable[Stored]) -> None:
    """One column for each field of a letter; values in the words of JSON."""
    writer: csv.DictWriter[str] | None = None
    for stored in letters:
        row = {name: _cell(value) for name, value in as_json(stored, None, whole=True).items()}
        if writer is None:
            writer = csv.DictWriter(out, list(row))
            writer.writeheader()
        writer.writerow(row)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
