"""Secrets kept out of sight: values are hidden by the names that they have, wherever people look at tuples.

A name is taken for a secret's by its words, whatever its case and style: `api_key`, `userApiKey` and `X-Api-Key` hold
the words of `api key`; `tokenizer` does not hold `token`. What a value looks like is not asked: a guess would hide what
is none and show what is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

HIDDEN = "***"
"""What is shown in place of a secret."""
SECRET_NAMES = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "access_key",
    "private_key",
    "authorization",
    "credential",
    "cookie",
    "session_id",
)
"""Names of secrets by default; the setting `topology.mask.fields` adds to them and takes away."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_NAME = re.compile(r"""(?<![\w-])([\w-]{1,60})['"]?\s{0,4}[=:]\s{0,4}""")
_VALUE = re.compile(r"""'[^']*'?|"[^"]*"?|(?:(?:Bearer|Basic)\s+)?[^\s,;&)}\]]*""", re.IGNORECASE)


class Masker:
    """Tells which names are those of secrets.

    Args:
        names: more of them; one that begins with `-` is no secret's, although it is by default.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        given = [name.strip() for name in names]
        shown = {_folded(name[1:]) for name in given if name.startswith("-")}
        hidden = {_folded(name) for name in (*SECRET_NAMES, *(name for name in given if not name.startswith("-")))}
        self._secret = tuple(sorted(hidden - shown - {""}))
        self._run_together = frozenset(name.replace("_", "") for name in self._secret)
        self.hides = lru_cache(maxsize=1024)(self._hides)
        """Whether a value of this name is hidden; `hides(name: str) -> bool`."""

    @classmethod
    def of(cls, setting: str | None) -> Masker:
        """The masker that `topology.mask.fields` describes."""
        return cls((setting or "").split(","))

    def _hides(self, name: str) -> bool:
        folded = _folded(name[:200])
        words = folded.split("_")
        return any(f"_{secret}_" in f"_{folded}_" for secret in self._secret) or any(
            word in self._run_together for word in words
        )

    def in_text(self, text: str) -> str:
        """A text without the secrets that it names: `User(name='ann', password='x')`, `token=abc`, `"pwd": "x"`."""
        parts: list[str] = []
        at = 0
        for named in _NAME.finditer(text):
            if named.start() >= at and self.hides(named[1]):
                parts += text[at : named.end()], HIDDEN
                value = _VALUE.match(text, named.end())
                at = value.end() if value else named.end()
        return "".join([*parts, text[at:]])


def _folded(name: str) -> str:
    """The words of a name, in lower case, in the singular, with one line between."""
    words = [word.lower() for word in _WORD.findall(name)]
    return "_".join(word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word for word in words)
