"""Our docstrings' own sections (`Delivery:`, `Bound:`, …) as paragraphs, before griffe reads the rest.

griffe knows `Args:`, `Returns:` and `Raises:`. Any other word with a colon and indented lines is a box to it, with the
first line as its title; ours are sentences.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

OWN = "In|Out|Delivery|Failure|Order|Files|Answers|Batches|Bound|Metrics|Threading|Cost|Source|Ties"
KNOWN = "Args|Returns|Raises|Yields"
SECTION = re.compile(rf"^({OWN}):[ \t]+(.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)


def with_paragraphs(docstring: str) -> str:
    """The docstring with each of our own sections as a paragraph, and an empty line before the others."""
    text = SECTION.sub(lambda match: f"\n**{match[1]}:** {' '.join(match[2].split())}\n", docstring)
    return re.sub(rf"\n+^({KNOWN}):$", r"\n\n\1:", text, flags=re.MULTILINE)


class OwnSections(griffe.Extension):
    """Rewrites every docstring as it is found."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """One object was read."""
        if obj.docstring:
            obj.docstring.value = with_paragraphs(obj.docstring.value)
