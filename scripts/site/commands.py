"""Writes the reference of the commands: `python scripts/site/commands.py > docs/reference/commands.md`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from squall.cli.app import tree

HEAD = """# Commands

Written from the commands' own help by `python scripts/site/commands.py > docs/reference/commands.md`.
"""


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it; a group before its commands."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{path} {name}")


def told(help_text: str) -> list[str]:
    """The help as paragraphs; commands that it shows become blocks of code."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(help_text).split("\n\n"):
        text = " ".join(paragraph.split())
        example = re.fullmatch(r"(?:(.*): )?(squall .*)", text)
        if example:
            lines += [f"{example[1]}:", ""] if example[1] else []
            lines += ["```console", f"$ {example[2]}", "```", ""]
        else:
            lines += [text, ""]
    return lines


def table(title: str, parameters: list[Any], context: Any) -> list[str]:
    """A table of arguments or options."""
    records = [record for parameter in parameters if (record := parameter.get_help_record(context))]
    cells = [[" ".join(cell.split()).replace("|", "\\|").replace("] [", "; ") for cell in record] for record in records]
    rows = (f"| `{re.sub(' <.*>', '', name)}` | {text} |" for name, text in cells)
    return [f"| {title} | |", "|---|---|", *rows, ""] if records else []


def section(path: str, command: Any) -> list[str]:
    """One command: its help, its usage, its arguments and options."""
    context = command.make_context(path, [], resilient_parsing=True)
    lines = [f"## {path}", "", *told(command.help or "")]
    if hasattr(command, "commands"):
        return lines
    usage = " ".join(command.collect_usage_pieces(context))
    lines += ["```text", f"{path} {usage}", "```", ""]
    for title, kind in (("Argument", "argument"), ("Option", "option")):
        lines += table(title, [one for one in command.params if one.param_type_name == kind], context)
    return lines


def page() -> str:
    """The whole page."""
    lines = [line for path, command in commands(tree(), "squall") for line in section(path, command)]
    return HEAD + "\n" + "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
