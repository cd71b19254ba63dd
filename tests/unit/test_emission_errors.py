"""What an error of emission says: which component, stream and field, and how to write what was meant."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest
from squall import Topology
from squall.planner.guesses import how_to_install
from squall.testing import LocalCluster


def letter(bolt: Callable[..., Any], outputs: tuple[str, ...], key: tuple[str, ...] = ()) -> str:
    """The traceback of the dead letter of a topology whose bolt is wrong."""
    topology = Topology("wrong")
    made = topology.bolt("make", bolt, outputs=outputs, retries=0).shuffle(
        topology.spout("s", lambda: iter(()), outputs=("x",))
    )
    if key:
        topology.bolt("use", lambda a: None, parallelism=2).fields(made, *key)
    with LocalCluster(topology, mock_sources={"s": ["a b"]}) as cluster:
        cluster.run_until_idle()
        return cluster.dead_letters()[0].traceback


@pytest.mark.parametrize(
    ("bolt", "outputs", "said"),
    [
        (lambda x: x.split(), ("a", "b"), 'emitted 1 value to stream "default", which has 2 fields'),
        (lambda x: x.split(), ("a", "b"), "emit a tuple for one row, `(a, b)`; a list is many outputs"),
        (lambda x: csv.reader([x]), ("a", "b"), "`csv.reader` gives them, want `map(tuple, ...)`"),
        (lambda x: tuple(x.split()), ("a",), "`((1, 2),)` is one value that is a tuple"),
        (lambda x: (1, 2, 3), ("a", "b"), "emit one value for each declared field"),
        (lambda x: x, (), "name the fields of what it emits: `outputs="),
    ],
)
def test_wrong_row_is_told_with_how_to_write_it(bolt: Any, outputs: tuple[str, ...], said: str) -> None:
    assert said in letter(bolt, outputs)


def test_key_without_a_stable_hash_is_told_with_whose_it_is() -> None:
    one = letter(lambda x: (object(), 1), ("a", "b"), ("a",))
    assert (
        'bolt "use" groups stream "make/default" by field "a": a value of type builtins.object is used as a key' in one
    )
    assert "value: <object object" in one
    two = letter(lambda x: (1, object()), ("a", "b"), ("a", "b"))
    assert 'bolt "use" groups stream "make/default" by fields "a", "b": ' in two


def test_module_of_an_extra_is_installed_by_it() -> None:
    assert how_to_install("pyarrow.parquet").endswith('pip install "squall[parquet]"')
