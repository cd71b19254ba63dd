"""How servers in Java are run: little memory, quick to start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def java(
    heap: str,
    libraries: Path,
    main: str,
    *arguments: str,
    options: Sequence[str] = (),
    before: Sequence[Path] = (),
) -> list[str]:
    """A command that runs a class of the archives in a folder; what is in `before` is looked through first."""
    frugal = (f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseSerialGC", "-Djava.awt.headless=true")
    path = ":".join(str(place) for place in (*before, *sorted(libraries.glob("*.jar"))))
    return ["java", *frugal, *options, "-cp", path, main, *arguments]
