"""The page that lists what is tried: one row an entry point, with the number of cases."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from . import (
    test_command_line,
    test_connectors,
    test_definitions,
    test_graphs,
    test_names,
    test_processes,
    test_running,
    test_settings,
    test_wires,
)

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "bad-input.md"
AT_LEAST = 500
MODULES: dict[str, ModuleType] = {
    "Command line": test_command_line,
    "Processes": test_processes,
    "Commands to a run, dead letters": test_running,
    "Names": test_names,
    "Definitions": test_definitions,
    "Graphs": test_graphs,
    "Connectors": test_connectors,
    "Settings": test_settings,
    "Sockets and HTTP": test_wires,
}


def test_each_case_has_a_name_of_its_own() -> None:
    for name, module in MODULES.items():
        assert len(set(module.CASES)) == len(module.CASES), name


def test_there_are_at_least_five_hundred() -> None:
    assert sum(len(module.CASES) for module in MODULES.values()) >= AT_LEAST


def test_the_page_lists_each_entry_point_and_promises_no_more_cases_than_there_are() -> None:
    rows = re.findall(r"^\| ([A-Z][^|]*) \| ([\d,]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    promised = {name: int(count.replace(",", "")) for name, count in rows}
    assert promised.keys() == MODULES.keys()
    for name, module in MODULES.items():
        assert len(module.CASES) >= promised[name], name
