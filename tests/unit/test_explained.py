"""Every error code has a page, and every page a code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from squall.cli.explaining import explain_code, pages
from squall.errors import ConfigError

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r'(?:Defect|_fail|_defect)\(\s*(?:\n\s*)?"([a-z]+(?:_[a-z]+)+)"')
RUST = re.compile(r'make\(\s*(?:\n\s*)?"([a-z]+(?:_[a-z]+)+)"')


def codes() -> set[str]:
    found = {"code_unknown"}
    for path in (ROOT / "python").rglob("*.py"):
        found |= set(PYTHON.findall(path.read_text(encoding="utf-8")))
    for path in (ROOT / "crates").rglob("*.rs"):
        found |= set(RUST.findall(path.read_text(encoding="utf-8")))
    return found


def test_every_code_has_a_page() -> None:
    assert codes() - pages().keys() == set()


def test_every_page_is_of_a_code_that_is_used() -> None:
    text = "".join(
        p.read_text(encoding="utf-8") for d, e in (("python", "*.py"), ("crates", "*.rs")) for p in (ROOT / d).rglob(e)
    )
    assert {code for code in pages() if f'"{code}"' not in text and code != "code_unknown"} == set()


@pytest.mark.parametrize("code", sorted(pages()))
def test_a_page_says_what_why_and_what_to_do(code: str) -> None:
    page = pages()[code]
    assert page.startswith(f"# {code}\n")
    assert all(f"**{part}.**" in page for part in ("Why", "What to do", "Example"))


def test_an_unknown_code_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match='did you mean "grouping_field_missing"'):
        explain_code("grouping_field_mising")
