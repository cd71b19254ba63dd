"""What holds of expressions of taps: they mean what Python means by them, cost little, and tell nothing of secrets.

The first is asked of `eval`, the last of two tuples that differ in their secrets only: whatever is asked, the answer is
the same.
"""

from __future__ import annotations

import ast
import time
import warnings
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from laws.refusal import check_refusal
from laws.script import Script
from squall.errors import ConfigError
from squall.model.masking import Masker
from squall.runtime.where import compiled

MOST_S = 2.0
User = namedtuple("User", "name password")


@dataclass(frozen=True)
class Card:
    """Holds a secret by name."""

    number: int
    api_key: str


FIELDS = ("word", "count", "price", "tags", "point", "raw", "nothing", "flag", "big")
ROW = ("storm", 7, 2.5, ["a", "b"], {"x": 1, "y": "z"}, b"ab", None, True, 1 << 4000)
SECRET_FIELDS = ("word", "password", "user", "card", "headers", "deep")
MASKER = Masker()
WORDS = (
    *FIELDS,
    *SECRET_FIELDS,
    *(
        " and ",
        " or ",
        "not ",
        " in ",
        " is ",
        " == ",
        " != ",
        " < ",
        " >= ",
        " + ",
        " - ",
        " * ",
        " / ",
        " // ",
    ),
    *("(", ")", "[", "]", "{", "}", ",", ":", "'x'", "'password'", "'storm'", "b'ab'", "0", "1", "7", "2.5", "-1"),
    *(
        " % ",
        "10**9",
        "None",
        "True",
        "len(",
        "str(",
        "int(",
        "float(",
        "abs(",
        "round(",
        "min(",
        "max(",
        ".get(",
        ".find(",
    ),
    *(".startswith(", ".upper()", ".strip(", "...", "1e308", "'a'*9", "lambda: 1", ".__class__", "f'{word}'", ":="),
)


def _secret_row(secret: str) -> tuple[Any, ...]:
    headers = {"x": 1, "Authorization": secret, b"cookie": secret}
    return ("storm", secret, User("ann", secret), Card(5, secret), headers, [{"deep": (User(1, secret),)}, {1, 2}])


FIRST, SECOND = _secret_row("aaa"), _secret_row("zz")


def check(data: bytes) -> None:
    """The bytes are an expression, or choose its words."""
    script = Script(data)
    if script.byte() % 2:
        source = "".join(script.one_of(WORDS) for _ in range(min(60, len(data))))
    else:
        source = script.rest().decode("utf-8", "replace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python's compiler, for `1 is 1`
        _check_meaning(source)
        _check_secrets(source)


def _check_meaning(source: str) -> None:
    if (where := _compiled(source, FIELDS)) is None:
        return
    ours = _told(where, ROW)
    if not isinstance(ours, bool):
        return  # it refuses more than Python does, but to nobody's harm
    if any(isinstance(node, ast.Is | ast.IsNot) for node in ast.walk(ast.parse(source.strip(), mode="eval"))):
        return  # whether equal numbers are one object is a matter of Python's compiler
    names = dict(zip(FIELDS, ROW, strict=True))
    functions = {one.__name__: one for one in (len, str, int, float, abs, round, min, max)}
    meant = bool(eval(source.strip(), {"__builtins__": {}}, {**functions, **names}))
    assert ours == meant, source


def _check_secrets(source: str) -> None:
    if (where := _compiled(source, SECRET_FIELDS)) is not None:
        assert _told(where, FIRST) == _told(where, SECOND), source


def _compiled(source: str, fields: tuple[str, ...]) -> Callable[[tuple[Any, ...]], bool] | None:
    began_s = time.process_time()
    try:
        return compiled(source, fields, MASKER)
    except ConfigError as error:
        check_refusal(error)
        return None
    finally:
        assert time.process_time() - began_s < MOST_S, "it is understood soon"


def _told(where: Callable[[tuple[Any, ...]], bool], row: tuple[Any, ...]) -> bool | type[Exception]:
    """What a tap learns of a tuple: whether it fits, or of what type the exception is."""
    began_s = time.process_time()
    try:
        return where(row)
    except Exception as error:
        return type(error)
    finally:
        assert time.process_time() - began_s < MOST_S, "it is answered soon"
