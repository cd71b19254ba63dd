"""ARCHITECTURE.md names rooms that exist, and every package of connectors."""

from __future__ import annotations

import re

from .documents import ROOT

TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
CONNECTORS = ROOT / "python/squall/connectors"


def rooms(section: str) -> list[str]:
    """What the second column of a section's table names."""
    body = TEXT.partition(f"## {section}\n")[2].partition("\n## ")[0]
    cells = [line.rsplit("|", 2)[1] for line in body.splitlines() if line.startswith("| ")]
    return re.findall(r"`([^`]+)`", "".join(cells))


def test_every_room_of_connectors_exists() -> None:
    named = rooms("Connectors")
    assert len(named) > 40
    assert [name for name in named if not (CONNECTORS / name).exists()] == []


def test_every_connector_has_its_room() -> None:
    """A file that stands alone, or the folder that it is in."""
    named = rooms("Connectors")
    there = {path.name for path in CONNECTORS.iterdir() if not path.name.startswith("_")}
    assert there - {name.partition("/")[0] for name in named} == set()
