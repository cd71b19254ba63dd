"""The expressions of `squall tap --where`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squall.errors import ConfigError
from squall.model.masking import Masker
from squall.runtime.where import MAX_BITS, MAX_CHARS, MAX_TEXT, Where, compiled

FIELDS = ("word", "count", "user", "tags")
ROW = ("tea", 7, {"name": "ann", "password": "pw"}, ["a", "b"])


def matches(source: str, row: tuple[Any, ...] = ROW) -> bool:
    return compiled(source, FIELDS)(row)


@pytest.mark.parametrize(
    "source",
    [
        "count > 5 and word.startswith('t')",
        "count == 7 or word > 3",
        "not count < 7",
        "5 < count <= 7 != 8",
        "word in ('tea', 'rum')",
        "'x' not in tags",
        "user['name'] == 'ann'",
        "user.get('age') is None",
        "user.get('age', 3) == 3",
        "tags[-1] == 'b' and tags[:1] == ['a']",
        "word[1:] + '!' == 'ea!'",
        "len(word) * 2 - count % 4 // 1 == 3",
        "-count + 7 == 0 and +count == 7",
        "abs(-3) == 3 and round(2.567, 1) == 2.6 and min(3, 2, 4) == 2 and max(1, 2) == 2",
        "int('12') + float('0.5') == 12.5 and str(count) == '7'",
        "word.upper() == 'TEA' and ' x '.strip() == 'x' and word.find('a') == 2 and '7'.isdigit()",
        "count in {1, 7}",
        "count",
        " count == 7 ",
        "count / 2 == 3.5",
    ],
)
def test_expressions_that_match(source: str) -> None:
    assert matches(source)
    assert not matches(f"not ({source})")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "count >",
        "count = 5",
        "count ** 2",
        "count << 2",
        "__import__('os')",
        "word.__class__",
        "word.format(count)",
        "word.replace('a', 'b')",
        "word.upper",
        "[x for x in tags]",
        "lambda: 1",
        "f'{word}'",
        "word[::2]",
        "(n := 5)",
        "print(word)",
        "len(obj=word)",
        "{'a': 1} == user",
        "...",
        "1j == count",
        "word if count else tags",
        "*tags",
        "(lambda: 1)()",
        "word;count",
        "\0",
        "(" * 300 + "1" + ")" * 300,
        "-" * 900 + "1",
        " or ".join(["count"] * 150) + " or " + " or ".join(["count"] * 100),
        "count == 1" + " " * MAX_CHARS + "or 1",
    ],
)
def test_what_is_not_foreseen_is_an_error(source: str) -> None:
    with pytest.raises(ConfigError) as raised:
        compiled(source, FIELDS)
    assert raised.value.code == "expression_invalid"


def test_errors_name_what_was_meant() -> None:
    with pytest.raises(ConfigError, match='did you mean "count"') as raised:
        compiled("cuont > 5", FIELDS)
    assert raised.value.code == "expression_field_unknown"
    with pytest.raises(ConfigError, match="did you mean startswith"):
        compiled("word.strtswith('a')", FIELDS)


@pytest.mark.parametrize(
    "source",
    [
        "word % 5",
        "word * 1000000",
        "1000000 * word",
        "'%1000000000d' % count",
        "tags * 5",
        "tags + tags",
        "user['nothing']",
        "word.startswith(5)",
        "word > 3",
        "count / 0",
        "count['a']",
        "count in 5",
        "min(tags)",
        "str(tags)",
        "int('x')",
        "round(count, 100000000)",
    ],
)
def test_what_does_not_fit_a_tuple_raises_an_exception(source: str) -> None:
    with pytest.raises(Exception, match=r"."):
        matches(source)


def test_texts_and_integers_stay_small() -> None:
    long = "x" * MAX_TEXT
    for source in ("word + word", "word.upper()", "word[1:] + '.'", "str(word + '.')"):
        with pytest.raises(TypeError):
            matches(source, (long + "x", 0, {}, []))
    with pytest.raises(TypeError):
        matches("count * count * count * count * count", ("", 2**MAX_BITS - 1, {}, []))
    with pytest.raises(TypeError):
        matches("str(count)", ("", 10**100_000, {}, []))


def test_an_expression_sees_no_secrets() -> None:
    assert matches("user['password'] == '***' and user.get('password') == '***'")
    assert compiled("token == '***'", ("token",), Masker())(("abc",))
    assert compiled("iban == '***'", ("iban",), Masker(["iban"]))(("abc",))


def test_looking_for_a_key_does_not_add_it() -> None:
    counts = defaultdict[str, int](int)
    with pytest.raises(KeyError):
        matches("user['x'] == 0", ("", 0, counts, []))
    assert counts == {}


def test_an_endless_iterator_is_not_looked_into() -> None:
    def endless():
        while True:
            yield 1

    with pytest.raises(TypeError):
        matches("5 in user", ("", 0, endless(), []))


ATOMS = st.sampled_from(
    ["word", "count", "user", "tags", "'a'", "5", "2.5", "None", "True", "b'x'", "''", "10**9", "nope"]
)
COMPOUND = ["({} and {})", "({} or {})", "({} == {})", "({} < {})", "({} in {})", "({} + {})", "({} * {})", "({} % {})"]
COMPOUND += ["({} // {})", "{}[{}]", "[{}, {}]", "{}.get({})", "{}.find({})", "max({}, {})", "({} if {} else 1)"]
SOURCES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds(lambda form, a, b: form.format(a, b), st.sampled_from(COMPOUND), inner, inner),
        st.builds(
            lambda form, a: form.format(a),
            st.sampled_from(["not {}", "-{}", "len({})", "str({})", "int({})", "{}.upper()", "{}.evil()", "{}[1:]"]),
            inner,
        ),
    ),
    max_leaves=40,
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        st.integers(4000, 6000).map(lambda bits: 1 << bits),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=3), inner), st.tuples(inner, inner)),
    max_leaves=10,
)


@settings(deadline=None)
@given(
    source=st.one_of(SOURCES, st.text(), st.text(alphabet="()[]{}'\"wordcount<>=+-*/%.,: 015")),
    row=st.tuples(VALUES, VALUES, VALUES, VALUES),
)
def test_any_text_is_an_expression_or_an_error_and_comes_to_an_end(source: str, row: tuple[Any, ...]) -> None:
    """It raises only its own error when it is made, and for a tuple nothing that would tell of too much memory."""
    try:
        where = compiled(source, FIELDS)
    except ConfigError as error:
        told = error.code
    else:
        told = told_of(where, row)
    assert told in ("yes", "no", "raised", "expression_invalid", "expression_field_unknown")


def told_of(where: Where, row: tuple[Any, ...]) -> str:
    try:
        return "yes" if where(row) else "no"
    except (ConfigError, MemoryError):
        raise
    except Exception:
        return "raised"


class Login(NamedTuple):
    name: str
    password: str


@pytest.mark.parametrize("key", ["1", "-1"])
def test_a_named_part_of_a_tuple_is_hidden_by_its_number_too(key: str) -> None:
    row = ("tea", 7, Login("ann", "pw"), [])
    assert not matches(f"user[{key}] == 'pw'", row)
    assert matches(f"user[{key}] == '***' and user[0] == 'ann'", row)


@dataclass(frozen=True)
class Account:
    login: Login
    token: str


SECRETIVE = (
    "tea",
    7,
    {"name": "ann", "login": Login("ann", "pw"), b"password": "pw", "account": Account(Login("ann", "pw"), "t")},
    [Login("ann", "pw")],
)


@pytest.mark.parametrize(
    "guess",
    [
        "user['login'] == ('ann', 'pw')",
        "user['login'] < ('ann', 'px') and user['login'] > ('ann', 'pv')",
        "('ann', 'pw') in tags",
        "tags == [('ann', 'pw')]",
        "tags[0] in {('ann', 'pw'), 5}",
        "user['login'] in [('ann', 'pw')]",
        "user['login'][1:] == ('pw',)",
        "user['login'][1:][0] == 'pw'",
        "min(user['login'], ('ann', 'pw')) == max(user['login'], ('ann', 'pw'))",
        "(1, (user['login'],)) == (1, (('ann', 'pw'),))",
        "user[b'password'] == 'pw'",
    ],
)
def test_no_guess_at_a_secret_is_answered(guess: str) -> None:
    assert not matches(guess, SECRETIVE)


@pytest.mark.parametrize(
    "source",
    [
        "user['login'] == ('ann', '***')",
        "('ann', '***') in tags",
        "user['login'][:1] == ('ann',)",
        "user['login'] == tags[0]",
        "user['account'] == user['account']",
        "'name' in user and user == user and user['login'] != word",
    ],
)
def test_what_is_not_secret_of_a_value_is_compared(source: str) -> None:
    assert matches(source, SECRETIVE)


def test_values_with_other_secrets_are_the_same_to_an_expression() -> None:
    same = ("", {"a": [Account(Login("ann", "pw"), "t")]}, {"a": [Account(Login("ann", "other"), "u")]}, [])
    assert matches("count == user", same)
    assert not matches("count == user", (*same[:2], {"a": [Account(Login("bob", "other"), "u")]}, []))


def test_what_goes_around_in_circles_is_not_compared() -> None:
    around: list[Any] = []
    around.append(around)
    with pytest.raises(TypeError):
        matches("user == 5", ("", 0, around, []))
