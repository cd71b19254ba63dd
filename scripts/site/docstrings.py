"""Our docstrings' own sections (`Delivery:`, `Bound:`, …) as paragraphs, before griffe reads the rest.

griffe knows `Args:`, `Returns:` and `Raises:`. Any other word with a colon and indented lines is a box to it, with the
first line as its title; ours are sentences.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

OWN = "In|Out|Delivery|Failure|Order|Files|Stores|Values|Answers|Batches|Bound|Metrics|Threading|Cost|Source|Ties"
KNOWN = "Args|Returns|Raises|Yields"
SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+)(: .*(?:\n\1[ \t]+\S.*)*)", re.MULTILINE)
SECTION = re.compile(rf"^({OWN}):[ \t]+(.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)


def with_one_name_each(found: re.Match[str]) -> str:
    """An argument's line `a, b: text` as two, which griffe can find in the signature."""
    return "\n".join(f"{found[1]}{name}{found[3]}" for name in found[2].split(", "))


def with_paragraphs(docstring: str) -> str:
    """The docstring with each of our own sections as a paragraph, and an empty line before the others."""
    before, args, after = docstring.partition("Args:\n")
    docstring = f"{before}{args}{SEVERAL.sub(with_one_name_each, after)}"
    text = SECTION.sub(lambda match: f"\n**{match[1]}:** {' '.join(match[2].split())}\n", docstring)
    return re.sub(rf"\n+^({KNOWN}):$", r"\n\n\1:", text, flags=re.MULTILINE)


class OwnSections(griffe.Extension):
    """Rewrites every docstring as it is found."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """One object was read."""
        if obj.docstring:
            obj.docstring.value = with_paragraphs(obj.docstring.value)
