"""Values that are no part of a topology: they are read where it runs, and shown nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping

from squall.errors import ConfigError, Defect

PREFIX = "env:"


def resolved(values: Mapping[str, str], who: str) -> dict[str, str]:
    """The values; each `env:NAME` in them, alone or after a word such as `Bearer`, is the environment's.

    White space around what the environment has is left out: a file that it was read from ends with a line feed.

    Raises:
        ConfigError: `secret_missing` or `secret_unusable`.
    """
    return {name: " ".join(_resolved(word, name, who) for word in value.split(" ")) for name, value in values.items()}


def _resolved(word: str, name: str, who: str) -> str:
    if not word.startswith(PREFIX):
        return word
    variable = word.removeprefix(PREFIX)
    if variable not in os.environ:
        message = f"the environment variable {variable} is not set"
        raise ConfigError(Defect("secret_missing", message, (("wanted by", f"{who}, {name}"),), f"export {variable}=…"))
    value = os.environ[variable].strip()
    if not (value.isascii() and value.isprintable()):  # else the client's error would show it
        message = f"the environment variable {variable} is no text that a header can have"
        fix = "give it printable ASCII characters, in one line"
        raise ConfigError(Defect("secret_unusable", message, (("wanted by", f"{who}, {name}"),), fix))
    return value
