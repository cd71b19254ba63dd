"""Hints for people whose topology runs, and could run better: each once for a component.

A call on the loop's thread holds up every other component. One that computes is right there; one that waits is not, and
the two look alike from outside, so this asks rather than tells.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from squall.model.graph import ComponentSpec, Kind, Mode

log = logging.getLogger("squall.worker")
SLOW_MS = 50.0
"""Mean of a call on the loop from which it is worth a hint."""
SPENT_MS = 1000.0
"""What the calls must have taken together: a slow first call is nothing."""


class Hints:
    """What was hinted at so far."""

    def __init__(self, specs: Iterable[ComponentSpec]) -> None:
        self._unhinted = {spec.name for spec in specs if spec.kind is Kind.BOLT and spec.mode is Mode.LOOP}

    def look(self, components: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes the figures of a report, in which components without a task in this worker are not."""
        for name in slow_on_loop(self._unhinted, components):
            self._unhinted.discard(name)
            mean_ms = components[name]["execute_ms"]["mean"]
            log.warning(
                'event=slow_on_loop mean_ms=%.0f hint="each call holds up all other components: if it waits (I/O, a '
                'sleep, a lock), say blocking = True or make it async def"',
                mean_ms,
                extra={"component": name, "task": "-"},
            )


def slow_on_loop(names: Iterable[str], components: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those whose calls take long and have taken long together."""
    return [
        name
        for name in names
        if name in components
        and (mean_ms := components[name]["execute_ms"]["mean"]) > SLOW_MS
        and mean_ms * components[name]["executed"] > SPENT_MS
    ]
