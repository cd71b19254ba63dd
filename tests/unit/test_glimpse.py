"""What people who look at tuples see of values."""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from squall.model.masking import HIDDEN, Masker
from squall.runtime.glimpse import MAX_CHARS, MAX_ROW_CHARS, glimpse, row_glimpse

MASKER = Masker()
Point = namedtuple("Point", "x api_key")


@dataclass
class Login:
    name: str
    password: str
    hidden: str = field(default="h", repr=False)


class Opaque:
    def __init__(self, password: str) -> None:
        self.password = password

    def __repr__(self) -> str:
        return f"<Opaque password={self.password!r}\x1b[31m\nn=5>"


class Raises:
    def __repr__(self) -> str:
        raise ValueError


def seen(value: object, name: str = "x") -> Any:
    return glimpse(name, value, MASKER)


@pytest.mark.parametrize("value", [None, True, 5, 2.5, "tea", [1, "a"], (1, 2), {"a": [1]}, [], {}])
def test_plain_values_are_shown_as_they_are(value: object) -> None:
    assert seen(value) == value
    assert repr(seen(value)) == repr(value)


def test_secrets_are_hidden_at_any_depth() -> None:
    value = {"a": [{"password": "s3cret"}], "b": Login("ann", "s3cret"), "c": Point(1, "s3cret"), "d": Opaque("s3cret")}
    for text in (repr(seen(value)), json.dumps(seen(value))):
        assert "s3cret" not in text
        assert text.count(HIDDEN) == 4
    assert seen(["s3cret"], "userTokens") == HIDDEN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Login("ann", "x"), f"Login(name='ann', password={HIDDEN})"),
        (Point(1, 2), f"Point(x=1, api_key={HIDDEN})"),
        ({1}, "{1}"),
        (b"ab", "b'ab'"),
        (float("nan"), "nan"),
        (10**1000, "<int of 3322 bits>"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (Opaque("x"), f"<Opaque password={HIDDEN}\\x1b[31m n=5>"),
        (Raises(), "<Raises, whose repr raised ValueError>"),
    ],
)
def test_other_values_are_told_by_their_text(value: object, text: str) -> None:
    assert repr(seen(value)) == text


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        b"x" * 10**6,
        ["x" * 500] * 100,
        {i: "x" for i in range(10**5)},
        list(range(10**5)),
        [[[["y" * 9999]]]],
    ],
    ids=["text", "bytes", "texts", "dict", "list", "nested"],
)
def test_a_long_value_is_cut_and_says_so(value: object) -> None:
    text = repr(seen(value))
    assert len(text) < 2 * MAX_CHARS
    assert "…" in text


def test_values_of_a_wide_tuple_share_their_room() -> None:
    names = tuple(f"f{i}" for i in range(200))
    shown = row_glimpse(names, ("x" * 5000,) * 200, MASKER)
    assert sum(len(text) for text in shown) < 1.1 * MAX_ROW_CHARS


def test_a_value_that_holds_itself_is_shown() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert len(repr(seen(ring))) < 100


VALUES = st.recursive(
    st.one_of(
        st.none(), st.integers(), st.floats(), st.text(), st.binary(), st.dates(), st.decimals(), st.complex_numbers()
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.dates()), inner),
        st.frozensets(st.text()),
    ),
)


@given(VALUES)
def test_every_value_can_be_shown_to_people_and_programs(value: object) -> None:
    shown = seen(value)
    json.loads(json.dumps(shown, allow_nan=False))
    assert len(repr(shown)) < 8 * MAX_CHARS
