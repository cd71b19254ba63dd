"""What is known of a run at one moment: its newest events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Event = Mapping[str, Any]
PHASES = ("starting", "running", "draining", "ended")
OVER = ("ended", "killed")
"""Phases of a run without a worker."""


def _nothing() -> Event:
    return {}


@dataclass(frozen=True, slots=True)
class Reading:
    """The event that told how the run was started, and the newest that told how it stands.

    `stuck`: the components with a call that does not return, and for how long, in seconds.
    """

    started: Event = field(default_factory=_nothing)
    progress: Event = field(default_factory=_nothing)
    phase: str = PHASES[0]
    age_s: float = 0.0
    stuck: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def components(self) -> Mapping[str, Event]:
        """The components of the last report; those of squall's own too."""
        return self.progress.get("components", {})


class Newest:
    """Keeps what a run told last.

    Args:
        stuck: the components with a call that does not return now, and for how long in seconds.

    Threading: any thread may ask for a reading while another takes events in.
    """

    def __init__(self, stuck: Callable[[], Mapping[str, float]] = dict) -> None:
        self._stuck = stuck
        self._reading: Reading = Reading()

    def take(self, event: Event) -> None:
        """Takes an event in."""
        before = self._reading
        match event["event"]:
            case "started":
                self._reading = replace(before, started=event)
            case "progress":
                self._reading = replace(before, progress=event, phase=event["phase"])
            case "draining":
                self._reading = replace(before, phase="draining")
            case "summary":
                last = {**before.progress, **event, "at_epoch_ms": time.time() * 1000}
                self._reading = replace(before, progress=last, phase="ended")
            case _:
                pass

    def now(self) -> Reading:
        """What is known, and how old it is."""
        reading = self._reading
        told = reading.progress or reading.started
        of_workers = [worker.get("report_age_s", 0.0) for worker in reading.progress.get("workers", ())]
        age_s = max(0.0, time.time() - told["at_epoch_ms"] / 1000) + max(of_workers, default=0.0) if told else 0.0
        return replace(reading, age_s=age_s, stuck=self._stuck())
