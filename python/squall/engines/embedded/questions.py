"""Commands that all workers answer, as one answer; taps, which lives of workers that come later open too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Answer = dict[str, Any]
Command = dict[str, Any]
REFUSALS = ("error", "defects")


@dataclass
class _Question:
    """A command that not all workers have answered. `of`: the incarnations that have not."""

    command: str
    of: set[int]
    answers: dict[int, Answer] = field(default_factory=dict[int, Answer])


class Questions:
    """What was asked and not answered yet.

    Args:
        answered: gets each answer, when all have given theirs or are gone.
        tell: gives all workers a command that needs no answer, and tells of it here (`untap`).
    """

    def __init__(self, answered: Callable[[Answer], None], tell: Callable[[Command], None]) -> None:
        self._answered, self._tell = answered, tell
        self._questions: dict[int, _Question] = {}
        self._taps: dict[int, tuple[Command, set[int]]] = {}
        """Open taps, with the incarnations that know of them."""

    def ask(self, request: Command, incarnations: Iterable[int]) -> None:
        """A command with an `id` goes to these lives of workers."""
        of = set(incarnations)
        self._questions[request["id"]] = _Question(str(request.get("cmd")), of)
        if request.get("cmd") == "tap":
            self._taps[request["id"]] = request, {*of}
        self._close(request["id"])  # at once, if there is no worker now

    def untap(self, number: int) -> None:
        """A tap is closed."""
        self._taps.pop(number, None)

    def missed(self, incarnation: int) -> list[Command]:
        """The taps that a new life does not know of yet."""
        missed = [known for known in self._taps.values() if incarnation not in known[1]]
        for _, told in missed:
            told.add(incarnation)
        return [request for request, _ in missed]

    def answer(self, worker: int, incarnation: int, answer: Answer) -> None:
        """A worker has answered."""
        question = self._questions.get(answer["id"])
        if question is None or incarnation not in question.of:
            return
        question.of.discard(incarnation)
        question.answers[worker] = answer
        self._close(answer["id"])

    def lost(self, incarnation: int) -> None:
        """A life is over: nothing more comes from it."""
        for number, question in list(self._questions.items()):
            question.of.discard(incarnation)
            self._close(number)

    def _close(self, number: int) -> None:
        question = self._questions[number]
        if question.of:
            return
        del self._questions[number]
        answers = question.answers or {0: {"id": number, "error": "the worker was lost and has not come back yet"}}
        answer = merged(question.command, answers)
        if number in self._taps and "tap" not in answer:  # some may have opened what others refuse
            self._tell({"cmd": "untap", "tap": number})
        self._answered(answer)


def merged(command: str, answers: Mapping[int, Answer]) -> Answer:
    """One answer.

    Args:
        answers: those that came, by the number of the worker; at least one.
    """
    in_order = [answers[number] for number in sorted(answers)]
    first = in_order[0]
    if refused := next((answer for answer in in_order if any(key in answer for key in REFUSALS)), None):
        return refused
    if len(in_order) == 1:
        return first
    match command:
        case "stacks":
            texts = (f"worker {number}:\n{answers[number]['stacks']}" for number in sorted(answers))
            return {**first, "stacks": "\n".join(texts)}
        case "component":
            return {**first, "answers": [one for answer in in_order for one in answer["answers"]]}
        case "replay":
            refused_letters = {number: why for answer in in_order for number, why in answer["refused"].items()}
            return {**first, "replayed": sum(answer["replayed"] for answer in in_order), "refused": refused_letters}
        case _:
            return first
