"""What the view knows and shows, and what a key does to that: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

Event = dict[str, Any]
RAISED_FOR_S = 30.0
"""How long the log level stays raised."""


class Pane(Enum):
    """What is shown below the components."""

    ALL = "all"
    COMPONENT = "component"
    ERRORS = "errors"
    STACKS = "stacks"
    TAP = "tap"
    HELP = "help"


class Act(Enum):
    """What a key asks for that the view cannot do by itself."""

    QUIT = "quit"
    RAISE_LEVEL = "raise"
    RESTORE_LEVEL = "restore"
    STACKS = "stacks"
    TAP = "tap"


@dataclass(frozen=True, slots=True)
class Raised:
    """A log level that is raised until `until_s` on the monotonic clock; `before` is the one that comes back."""

    before: str
    until_s: float


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a run and how it is shown. `quits`: how one ends it where no keys are taken.

    `shown`: the report on the screen, the newest unless the view is paused. `chosen`: the component with the mark;
    `tapped`: the one whose tuples are shown.
    """

    topology: str
    quits: str
    started: Event | None = None
    newest: Event | None = None
    shown: Event | None = None
    draining: bool = False
    paused: bool = False
    pane: Pane = Pane.ALL
    chosen: str | None = None
    raised: Raised | None = None
    stacks: tuple[str, ...] = ()
    tapped: str | None = None
    tuples: tuple[str, ...] = ()
    note: str = ""

    @property
    def names(self) -> list[str]:
        """The user's components, in the order in which they are listed."""
        components = (self.shown or {}).get("components", {})
        return [name for name in components if not name.startswith("__")]


def told(known: Known, event: Event) -> Known:
    """After an event of the run."""
    match event["event"]:
        case "started":
            return replace(known, started=event)
        case "progress":
            shown = known.shown if known.paused else event
            return replace(known, newest=event, shown=shown, draining=event["phase"] == "draining")
        case "draining":
            return replace(known, draining=True)
        case _:
            return known


def pressed(known: Known, key: str, now_s: float) -> tuple[Known, Act | None]:
    """After a key, and what is to be done."""
    known = replace(known, note="")
    match key:
        case "q":
            return known, Act.QUIT
        case "p" | " ":
            shown = known.newest if known.paused else known.shown
            return replace(known, paused=not known.paused, shown=shown), None
        case "l":
            is_raised = known.raised is not None and known.raised.until_s > now_s
            return known, Act.RESTORE_LEVEL if is_raised else Act.RAISE_LEVEL
        case "s":
            return _switched(known, Pane.STACKS), None if known.pane is Pane.STACKS else Act.STACKS
        case "e":
            return _switched(known, Pane.ERRORS), None
        case "?" | "h":
            return _switched(known, Pane.HELP), None
        case "t":
            return _tapped(_switched(known, Pane.TAP), known.chosen)
        case _ if key.isdecimal() and known.pane is Pane.TAP and known.tapped is None:
            number = int(key)
            return _tapped(known, known.names[number - 1] if 0 < number <= len(known.names) else None)
        case "down" | "j":
            return _chosen(known, 1), None
        case "up" | "k":
            return _chosen(known, -1), None
        case "escape" | "enter":
            return replace(known, pane=Pane.ALL, chosen=None), None
        case _:
            return known, None


def _switched(known: Known, pane: Pane) -> Known:
    """The pane, or all of them again if it is open."""
    return replace(known, pane=Pane.ALL if known.pane is pane else pane)


def _tapped(known: Known, component: str | None) -> tuple[Known, Act | None]:
    """With this component's tuples, if the pane for them is open; None: one is to be chosen."""
    is_begun = known.pane is Pane.TAP and component is not None
    return replace(known, tapped=component if is_begun else None, tuples=()), Act.TAP if is_begun else None


def _chosen(known: Known, step: int) -> Known:
    names = known.names
    if not names:
        return known
    if known.chosen not in names:
        chosen = names[0] if step > 0 else names[-1]
    else:
        chosen = names[(names.index(known.chosen) + step) % len(names)]
    return replace(known, chosen=chosen, pane=Pane.COMPONENT)
