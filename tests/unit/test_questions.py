"""Commands that several workers answer as one, while some of them are lost."""

from __future__ import annotations

from typing import Any

from squall.engines.embedded.questions import Questions


def asked() -> tuple[Questions, list[dict[str, Any]]]:
    answered: list[dict[str, Any]] = []
    return Questions(answered.append, lambda _command: None), answered


def test_an_answer_waits_for_all_that_were_asked_and_live() -> None:
    questions, answered = asked()
    questions.ask({"id": 1, "cmd": "replay"}, (5, 6, 7))
    questions.answer(1, 5, {"id": 1, "replayed": 2, "refused": {}})
    questions.answer(1, 4, {"id": 1, "replayed": 9, "refused": {}})  # of an earlier life
    questions.lost(6)
    assert answered == []
    questions.answer(3, 7, {"id": 1, "replayed": 1, "refused": {"4": "why"}})
    assert answered == [{"id": 1, "replayed": 3, "refused": {"4": "why"}}]


def test_who_asks_while_there_is_no_worker_is_told_at_once() -> None:
    questions, answered = asked()
    questions.ask({"id": 1, "cmd": "stacks"}, ())
    questions.ask({"id": 2, "cmd": "stacks"}, (5,))
    questions.lost(5)
    assert [answer["id"] for answer in answered] == [1, 2]
    assert all("lost" in answer["error"] for answer in answered)


def test_a_life_that_comes_later_opens_the_taps_that_are_open_once() -> None:
    questions, _ = asked()
    tap = {"id": 1, "cmd": "tap", "component": "split"}
    questions.ask(tap, (5,))
    assert (questions.missed(5), questions.missed(6), questions.missed(6)) == ([], [tap], [])
    questions.untap(1)
    assert questions.missed(7) == []


def test_a_tap_that_a_worker_refuses_is_closed_in_the_others_and_opened_by_no_later_life() -> None:
    told: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []

    def tell(command: dict[str, Any]) -> None:
        told.append(command)
        questions.untap(command["tap"])

    questions = Questions(answered.append, tell)
    questions.ask({"id": 1, "cmd": "tap", "component": "split"}, (5, 6))
    questions.answer(1, 5, {"id": 1, "tap": {"component": "split"}})
    assert told == []
    questions.answer(2, 6, {"id": 1, "error": "no more taps"})
    assert (told, answered) == ([{"cmd": "untap", "tap": 1}], [{"id": 1, "error": "no more taps"}])
    assert questions.missed(7) == []
