"""Runs one of Python's fuzz targets with atheris: `python fuzz/target.py letters CORPUS… -max_total_time=60`.

What the law of a target says, and all that it calls of squall, is instrumented, so that inputs that come to new code
are kept.
"""

from __future__ import annotations

import sys
from importlib import import_module

import atheris


def main() -> None:
    """Feeds the law of the target that is named; the rest are options of libFuzzer."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["squall", "laws"]):
        law = import_module(f"laws.{name}")
    this = f"{sys.executable} {__file__} {name}"  # libFuzzer begins another process to merge corpora
    atheris.Setup([this, *options], law.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
