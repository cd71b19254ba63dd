"""The comparison of what documents show with what programs say: loose, but not blind."""

from __future__ import annotations

import pytest

from .documents import missing


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (["a 2.0 s  …  end"], "a 31.5 s  what ever  end"),
        (["2026-01-02 03:04:05 x", "y"], "2027-11-12 13:14:15 x\nother\ny"),
    ],
)
def test_what_is_shown_is_compared_loosely(shown: list[str], text: str) -> None:
    assert missing(shown, text) is None


@pytest.mark.parametrize(("shown", "text"), [(["failed 0"], "failed 1"), (["a", "b"], "b\na"), (["a", "a"], "a")])
def test_what_differs_is_found(shown: list[str], text: str) -> None:
    assert missing(shown, text) is not None
