"""docs/settings.md is what the table of settings says."""

from __future__ import annotations

from pathlib import Path

from squall.config.docs import page


def test_the_page_was_written_from_the_table() -> None:
    assert (Path(__file__).parents[2] / "docs/settings.md").read_text(encoding="utf-8") == page()
