"""Where a secret may show: what a connector logs, raises and reports, and what it says of itself."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from urllib.parse import quote

from squall.model.masking import HIDDEN
from squall.runtime.watch import waited_for
from squall.testing.cluster import LocalCluster
from squall.testing.conformance.report import Breach

LAW = "no_secret_shows"
SAYS = (
    "No secret that the connector was given is in its log, its errors, its dead letters, or in what it says of itself."
)
AROUND = 60
"""Characters before and behind a secret that are told, to find the place."""


class Shown(logging.Handler):
    """Looks for secrets in what it is given, and in what is logged while it listens.

    Args:
        secrets: none is shorter than a few characters: it would be found anywhere.
    """

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__(logging.INFO)
        self._secrets = [form for secret in secrets for form in {secret, quote(secret, safe="")}]
        self._found = dict[str, str]()

    @contextmanager
    def listening(self) -> Generator[None]:
        """Within it what is logged is looked at, from the level of a run on, and what is raised."""
        root = logging.getLogger()
        level = root.level
        if self._secrets:
            root.setLevel(min(level, logging.INFO))
            root.addHandler(self)
        try:
            yield
        except Exception as error:
            self.note("what it raised", "".join(traceback.format_exception(error)))
            if not self._found:
                raise
        finally:
            root.removeHandler(self)
            root.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Looks at a line of the log."""
        self.note("its log", self.format(record))

    def look(self, instances: Iterable[object], cluster: LocalCluster) -> None:
        """Looks at connectors, and at what the cluster that they run in was told."""
        if not self._secrets:
            return
        for instance in instances:
            self.note("its repr", repr(instance))
            self.note("what it says it waits for", waited_for(instance))
        for report in cluster.errors():
            self.note("an error that was reported", str(report))
        for letter in cluster.dead_letters():
            self.note("a dead letter", str(letter))

    def note(self, place: str, text: str) -> None:
        """Looks at a text; of each place the first one with a secret is kept."""
        for secret in self._secrets:
            before, found, behind = text.partition(secret)
            if found:
                told = f"{before[-AROUND:]}{HIDDEN}{behind[:AROUND]}"
                for other in self._secrets:
                    told = told.replace(other, HIDDEN)
                self._found.setdefault(place, told)

    def breaches(self) -> tuple[Breach, ...]:
        """The law, if it does not hold."""
        facts = "; ".join(f"one is in {place}: {text!r}" for place, text in self._found.items())
        return (Breach(LAW, SAYS, facts),) if facts else ()
