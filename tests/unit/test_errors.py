"""How errors read, and what they hold."""

from __future__ import annotations

import pickle
from datetime import timedelta

import pytest
from squall import RetryTuple
from squall.errors import (
    MAX_LINE,
    ClusterError,
    ConfigError,
    Defect,
    SquallError,
    StateError,
    TopologyError,
    did_you_mean,
    emission_error,
)

DEFECT = Defect("some_code", 'bolt "count" is odd', (("declared", "word, lang"), ("at", "a.py:3")), "make it even")


def test_message_says_what_the_facts_the_fix_and_the_code() -> None:
    assert str(DEFECT).splitlines() == [
        'bolt "count" is odd',
        "  declared: word, lang",
        "  at: a.py:3",
        "  fix: make it even",
        "  code: some_code",
    ]


def test_all_defects_are_told_and_the_first_gives_the_code() -> None:
    error = TopologyError(DEFECT, Defect("other_code", "another"))
    assert str(error) == f"{DEFECT}\n\nanother\n  code: other_code"
    assert error.code == "some_code"


def test_a_place_is_told_once() -> None:
    assert Defect("c", "m").at("a.py:1").facts == (("at", "a.py:1"),)
    assert DEFECT.at("b.py:9") == DEFECT
    given = Defect("c", "m", (("given by", "squall.yaml:3"),))
    assert given.at("b.py:9") == given


@pytest.mark.parametrize("kind", [SquallError, TopologyError, ConfigError, ClusterError, StateError])
def test_errors_survive_a_copy_to_another_process(kind: type[SquallError]) -> None:
    copy = pickle.loads(pickle.dumps(kind(DEFECT)))
    assert type(copy) is kind
    assert copy.defects == (DEFECT,)
    assert str(copy) == str(DEFECT)


def test_cluster_errors_say_whether_to_retry() -> None:
    assert not ClusterError(DEFECT).retryable
    assert ClusterError(DEFECT, retryable=True).retryable


def test_emission_errors_are_topology_errors() -> None:
    error = emission_error("emit_arity", "too few", [("fields", "a, b")], "emit two")
    assert isinstance(error, TopologyError)
    assert error.defects == (Defect("emit_arity", "too few", (("fields", "a, b"),), "emit two"),)


def test_retry_tuple_takes_seconds_or_a_timedelta() -> None:
    assert RetryTuple("busy", after=timedelta(milliseconds=1500)).after == 1.5
    copy = pickle.loads(pickle.dumps(RetryTuple("busy", after=2, counts=False)))
    assert (str(copy), copy.after, copy.counts) == ("busy", 2, False)
    assert (RetryTuple().after, RetryTuple().counts) == (None, True)


@pytest.mark.parametrize(("name", "near"), [("wrd", "word"), ("wrod", "word"), ("lagn", "lang"), ("zzz", None)])
def test_the_nearest_name_is_proposed(name: str, near: str | None) -> None:
    assert did_you_mean(name, ["word", "lang"]) == near


@pytest.mark.parametrize("text", ["\0" * 2000, "\U000e0001" * 900, "x" * 5000, "\x1b" * 500 + "é" * 500])
def test_no_line_is_longer_than_it_may_be_whatever_is_told_of_its_characters(text: str) -> None:
    lines = str(Defect("some_code", text, (("value", text),), text)).split("\n")
    assert len(lines) == 4
    assert max(map(len, lines)) <= MAX_LINE + 60
    assert all(line.isprintable() for line in lines)
