"""The order in which a graph is run: topological, with the edges that close its loops found and left out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

Edge = tuple[str, str]


def closing_edges(names: Sequence[str], edges: Sequence[Edge]) -> frozenset[Edge]:
    """The edges that lead back to a component on the way, walking in the order of declaration."""
    after: dict[str, dict[str, None]] = {name: {} for name in names}  # as ordered sets
    for source, target in edges:
        if source in after:
            after[source][target] = None
    closing: set[Edge] = set()
    state: dict[str, int] = {}
    for start in names:
        if state.get(start):
            continue
        state[start] = 1
        stack = [(start, iter(after[start]))]
        while stack:
            name, targets = stack[-1]
            for target in targets:
                if state.get(target) == 1:
                    closing.add((name, target))
                elif not state.get(target):
                    state[target] = 1
                    stack.append((target, iter(after[target])))
                    break
            else:
                state[name] = 2
                stack.pop()
    return frozenset(closing)


def topological(names: Sequence[str], edges: Sequence[Edge]) -> list[str]:
    """The names so that each comes after what feeds it; ties in the order given. The edges close no loop."""
    waiting = {name: 0 for name in names}
    targets: dict[str, list[str]] = {name: [] for name in names}
    for source, target in dict.fromkeys(edges):
        if source in waiting and target in waiting:
            waiting[target] += 1
            targets[source].append(target)
    ready = deque(name for name in names if not waiting[name])
    order: list[str] = []
    while ready:
        name = ready.popleft()
        order.append(name)
        for target in targets[name]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return order


def reached(starts: Iterable[str], edges: Sequence[Edge]) -> set[str]:
    """The starts and all that their edges lead to."""
    after: dict[str, list[str]] = {}
    for source, target in edges:
        after.setdefault(source, []).append(target)
    found, waiting = set(starts), list(starts)
    while waiting:
        for target in after.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found
