"""A graph as lines of text, with the rates on its edges.

Where it fits it is a tree from left to right; a component with several parents stands in full under the first, and as
a dim name under the others. A graph that is too wide becomes chains, one for each path that was not told yet, broken
where the screen ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from squall.cli.view.words import per_s
from squall.model.graph import DEAD_LETTERS

LONGEST_NAME = 24
LARGEST_TREE = 60
"""Components from which on a graph is told in chains at once: no screen is wide enough for its tree."""
Style = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Edge:
    """A way between two components: what is written on it, and where it leads."""

    label: str
    target: str


@dataclass(frozen=True, slots=True)
class Node:
    """A component where it stands in the tree; `again`: it stands in full elsewhere."""

    name: str
    again: bool
    edges: tuple[tuple[str, Node], ...]


class Drawing:
    """Draws one graph.

    Args:
        shape: the `graph` of a `started` event.
        components: the figures of a `progress` event, for the rates; empty: none are shown.
        style: of a component's name.
    """

    def __init__(self, shape: Mapping[str, Any], components: Mapping[str, Any], style: Style) -> None:
        self._tasks = {name: one["tasks"] for name, one in shape["components"].items()}
        spouts = [name for name in self._tasks if shape["components"][name]["kind"] == "spout"]
        self._spouts = sorted(spouts, key=lambda name: name == DEAD_LETTERS)
        self._after = {name: _edges(name, shape["components"], components) for name in self._tasks}
        self._style = style

    def lines(self, width: int) -> list[Text]:
        """The drawing, at most `width` columns wide if names allow it."""
        if len(self._tasks) > LARGEST_TREE:
            return self._chains(width)
        seen: set[str] = set()
        trees = [self._tree(name, seen) for name in self._spouts]
        lines = [line for tree in trees for line in self._block(tree)]
        return lines if all(line.cell_len <= width for line in lines) else self._chains(width)

    def _name(self, name: str, again: bool = False) -> Text:
        if name == DEAD_LETTERS:
            return Text("dead letters", "dim italic")
        short = name if cell_len(name) <= LONGEST_NAME else set_cell_size(name, LONGEST_NAME - 1) + "…"
        if again:
            return Text(short, "dim")
        times = f" ×{self._tasks[name]}" if self._tasks[name] > 1 else ""
        return Text.assemble((short, self._style(name)), (times, "dim"))

    # -- as a tree -----------------------------------------------------------------------------------------------

    def _tree(self, name: str, seen: set[str]) -> Node:
        if name in seen:
            return Node(name, True, ())
        seen.add(name)
        edges = [(edge.label, self._tree(edge.target, seen)) for edge in self._after[name]]
        return Node(name, False, tuple(edges))

    def _block(self, node: Node) -> list[Text]:
        """The lines of a component and all that comes after it."""
        name = self._name(node.name, node.again)
        if not node.edges:
            return [name]
        widest = max(cell_len(label) for label, _ in node.edges)
        lines: list[Text] = []
        for number, (label, child) in enumerate(node.edges):
            first, last = number == 0, number == len(node.edges) - 1
            fork = "─" if first and last else "┬─" if first else "╰─" if last else "├─"
            start = Text.assemble(name, " ─") if first else Text(" " * (name.cell_len + 2))
            arrow = Text.assemble(fork, "─" * (widest - cell_len(label)), (label, "cyan"), "─▶ ")
            head, *below = self._block(child)
            lines.append(Text.assemble(start, arrow, head))
            stem = Text(" " * (name.cell_len + 2) + (" " if last else "│"))
            gap = " " * (arrow.cell_len - 1)
            lines += [Text.assemble(stem, gap, line) for line in below]
        return lines

    # -- as chains -----------------------------------------------------------------------------------------------

    def _chains(self, width: int) -> list[Text]:
        lines: list[Text] = []
        begun: set[str] = set()
        starts: list[tuple[str, int]] = [(name, 0) for name in reversed(self._spouts)]
        while starts:
            name, number = starts.pop()
            parts = [self._name(name, again=name in begun)]
            while number < len(edges := self._after[name]):
                if number == 0:
                    begun.add(name)
                    starts += [(name, other) for other in range(len(edges) - 1, 0, -1)]
                edge = edges[number]
                known = edge.target in begun
                parts.append(Text.assemble(" ──", (edge.label, "cyan"), "─▶ ", self._name(edge.target, again=known)))
                name, number = edge.target, 0
                if known:
                    break
            lines += _wrapped(parts, width)
        return lines


def _wrapped(parts: list[Text], width: int) -> list[Text]:
    """A chain broken where the next part has no place any more."""
    lines = [parts[0]]
    for part in parts[1:]:
        if lines[-1].cell_len + part.cell_len > width:
            lines.append(Text("  "))
        lines[-1] = Text.assemble(lines[-1], part)
    return lines


def _edges(source: str, shape: Mapping[str, Any], components: Mapping[str, Any]) -> list[Edge]:
    """The edges that leave a component, one for each target."""
    found: list[Edge] = []
    for target, spec in shape.items():
        inputs = [one for one in spec["inputs"] if one["source"] == source]
        if inputs:
            rates: Mapping[str, float] = components.get(target, {}).get("inputs_per_s", {})
            known = [rates[key] for one in inputs if (key := f"{source}/{one['stream']}") in rates]
            streams = [one["stream"] for one in inputs]
            parts = [] if streams == ["default"] or source == DEAD_LETTERS else [", ".join(streams)]
            parts += ["↺"] if any(one["closes_loop"] for one in inputs) else []
            parts += [per_s(sum(known))] if known else []
            found.append(Edge(" ".join(parts), target))
    return found
