"""What several workers answer to one command, as one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Answer = dict[str, Any]
REFUSALS = ("error", "defects")


def merged(command: str, answers: Mapping[int, Answer], figures: Answer) -> Answer:
    """One answer.

    Args:
        answers: those that came, by the number of the worker; at least one.
        figures: the figures of all workers as one, which stand for those of each.
    """
    in_order = [answers[number] for number in sorted(answers)]
    first = in_order[0]
    if refused := next((answer for answer in in_order if any(key in answer for key in REFUSALS)), None):
        return refused
    if len(in_order) == 1 and command != "metrics":
        return first
    match command:
        case "stacks":
            texts = (f"worker {number}:\n{answers[number]['stacks']}" for number in sorted(answers))
            return {**first, "stacks": "\n".join(texts)}
        case "replay":
            refused_letters = {number: why for answer in in_order for number, why in answer["refused"].items()}
            return {**first, "replayed": sum(answer["replayed"] for answer in in_order), "refused": refused_letters}
        case "metrics":
            return {"id": first.get("id"), **figures}
        case _:
            return first
