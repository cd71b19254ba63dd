"""What the fuzzer found worth keeping of Python's targets, and what once broke a law; `fuzz/` has the targets."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "fuzz"
LAWS = sorted(path.stem for path in (FUZZ / "laws").glob("*.py") if path.stem not in ("script", "refusal"))


@pytest.mark.parametrize("law", LAWS)
def test_the_fuzzers_corpus_breaks_no_law(law: str) -> None:
    check = import_module(f"laws.{law}").check
    inputs = sorted((FUZZ / "corpus" / law).iterdir())
    assert len(inputs) > 10
    for path in inputs:
        try:
            check(path.read_bytes())
        except Exception as error:
            error.add_note(str(path))
            raise


def test_the_corpora_are_small() -> None:
    for corpus in (FUZZ / "corpus").iterdir():
        inputs = list(corpus.iterdir())
        assert len(inputs) <= 210, corpus
        assert max(path.stat().st_size for path in inputs) <= 4096, corpus
