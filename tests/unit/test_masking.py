"""Which names are those of secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from squall.model.masking import HIDDEN, Masker


@pytest.mark.parametrize(
    "name",
    [
        "password", "PASSWORD", "userPassword", "user_passwords", "db-password", "passwd", "secret", "clientSecret",
        "token", "accessToken", "JWTToken", "apiKey", "api_key", "API-Key", "APIKEY", "X-Api-Key", "Authorization",
        "credentials", "Set-Cookie", "cookies", "sessionId", "privateKey", "AWS_SECRET_ACCESS_KEY",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert Masker().hides(name)


@pytest.mark.parametrize(
    "name", ["word", "tokenizer", "secretary", "passport", "key", "api", "author", "address", "", "名"]
)
def test_names_that_only_look_like_it(name: str) -> None:
    assert not Masker().hides(name)


def test_the_setting_adds_names_and_takes_some_away() -> None:
    masker = Masker.of("iban, cardNumber,-token")
    assert [masker.hides(name) for name in ("IBAN", "card_number", "token", "password")] == [True, True, False, True]
    assert Masker.of(None).hides("token")
    assert Masker.of("").hides("token")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("User(name='ann', password='x y')", f"User(name='ann', password={HIDDEN})"),
        ('{"token": "a,b", "n": 5}', f'{{"token": {HIDDEN}, "n": 5}}'),
        ("http://h/?token=abc&n=1", f"http://h/?token={HIDDEN}&n=1"),
        ("url=http://h/?api_key=abc", f"url=http://h/?api_key={HIDDEN}"),
        ("Authorization: Bearer abc, n=1", f"Authorization: {HIDDEN}, n=1"),
        ("nothing of the kind: 5", "nothing of the kind: 5"),
        ("password=", f"password={HIDDEN}"),
        ("password='cut", f"password={HIDDEN}"),
    ],
)
def test_a_text_that_names_secrets(text: str, shown: str) -> None:
    assert Masker().in_text(text) == shown


@given(st.text(), st.text())
def test_any_text_can_be_masked(name: str, text: str) -> None:
    masker = Masker()
    masker.hides(name)
    assert HIDDEN in masker.in_text(f"{text} password={text}")
