"""What importing squall costs."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "asyncio",
    "socket",
    "ssl",
    "subprocess",
    "multiprocessing",
    "json",
    "msgspec",
    "pydantic",
    "rich",
    "typer",
    "yaml",
}
ROOMS = {"cli", "connectors", "testing", "engines", "runtime", "planner", "config"}


def loaded_by(statement: str) -> set[str]:
    """Top-level modules, and rooms of squall, that a fresh interpreter has only after the statement."""
    code = (
        f"import sys; before = set(sys.modules); {statement}; new = sorted(set(sys.modules) - before); "
        "import json; print(json.dumps(new))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


def test_import_squall_loads_no_room_that_a_topology_file_does_not_need() -> None:
    loaded = loaded_by("import squall")
    assert "squall.api" in loaded
    assert not loaded & {f"squall.{room}" for room in ROOMS}


def test_import_squall_loads_nothing_heavy() -> None:
    assert not {name.partition(".")[0] for name in loaded_by("import squall")} & HEAVY


def test_a_connector_is_loaded_by_those_who_name_it() -> None:
    loaded = loaded_by("from squall.connectors.tcp import TcpSpout")
    assert not loaded & {"squall.connectors.files", "squall.runtime", "squall.engines", "typer", "pydantic"}
