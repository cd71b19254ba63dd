"""Sections of a page that different benchmarks write, each between its own marks."""

from __future__ import annotations

from pathlib import Path


def marks(name: str) -> tuple[str, str]:
    """What stands before and after a section."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def put(path: Path, name: str, section: str) -> None:
    """Writes a section where its marks are, or at the end of the page."""
    begin, end = marks(name)
    text = path.read_text(encoding="utf-8")
    if begin not in text:
        text += f"\n{begin}\n{end}\n"
    head, _, rest = text.partition(begin)
    tail = rest.partition(end)[2]
    path.write_text(f"{head}{begin}\n\n{section}\n{end}{tail}", encoding="utf-8")


def kept(path: Path, name: str) -> str:
    """A section with its marks, as the page has it; empty if it has none."""
    begin, end = marks(name)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    inside = text.partition(begin)[2].partition(end)[0]
    return f"{begin}{inside}{end}" if inside else ""
