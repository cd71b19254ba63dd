"""How servers in Java are run: with little memory, and quick to start.

A JVM spends its first seconds on loading classes and compiling them well. So each server is run once when it is
installed, and leaves its classes as it had them in memory, which later ones map (class data sharing); and compiles
quickly, not well, if nobody measures it. Together that is a third of the CPU time of a start of Kafka.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from servers import installing
from servers.server import Server

QUICK = ("-XX:TieredStopAtLevel=1",)


class JavaServer(Server):
    """A server in Java that keeps its classes in an archive."""

    compiling: ClassVar[Sequence[str]] = QUICK
    """Options of its compiler; none: what is best in the long run."""
    _is_learning = False

    def options(self) -> list[str]:
        """What its JVM is told."""
        if self._is_learning:
            return [*self.compiling, f"-XX:ArchiveClassesAtExit={self._archive('part')}"]
        shared = [f"-XX:SharedArchiveFile={self._archive()}"] if self._archive().exists() else []
        return [*self.compiling, *shared]

    @classmethod
    def install_classes(cls) -> None:
        """Has the archive made, if there is none."""
        if not cls._archive().exists():
            command = [sys.executable, "-m", "servers", "learn", cls.name]
            installing.step(f"starting {cls.title} once, so that it starts quickly", command)

    @classmethod
    def learn(cls) -> None:
        """Runs it once, and keeps the archive that it leaves."""
        server = cls()
        server._is_learning = True
        with server:
            server.stop()
        cls._archive("part").rename(cls._archive())

    @classmethod
    def _archive(cls, suffix: str = "jsa") -> Path:
        return installing.INSTALLED / cls.name / f"classes.{suffix}"


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
