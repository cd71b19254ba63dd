"""docs/connectors.md is what the catalogue says, and every connector is in it."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest
import squall.connectors
from squall.api.components import Bolt, Spout
from squall.connectors.catalogue import CONNECTORS, Connector
from squall.connectors.contract import Delivery
from squall.connectors.docs import page
from squall.planner.load import load_topology
from squall.planner.validate import validate

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "python/squall/connectors/examples"


def test_the_page_was_written_from_the_catalogue() -> None:
    assert (ROOT / "docs/connectors.md").read_text(encoding="utf-8") == page()


def public_components() -> set[type]:
    """The spouts and bolts of the modules that users import."""
    found = set[type]()
    for module in pkgutil.iter_modules(squall.connectors.__path__, "squall.connectors."):
        names = getattr(import_module(module.name), "__all__", ())
        found.update(value for name in names if inspect.isclass(value := getattr(import_module(module.name), name)))
    return {one for one in found if issubclass(one, Spout | Bolt)}


def test_every_public_spout_and_bolt_is_in_the_catalogue() -> None:
    assert public_components() - {one.load() for one in CONNECTORS} == set()


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda one: one.name)
def test_a_connector_says_what_it_promises_in_texts_that_fit_a_table(connector: Connector) -> None:
    says = connector.delivery
    assert isinstance(says, Delivery)
    for text in (says.guarantee, says.order, says.restart, says.tested):
        assert text
        assert len(text) < 250
        assert "|" not in text
        assert "\n" not in text


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda one: one.name)
def test_the_example_of_a_connector_is_short_and_valid(connector: Connector) -> None:
    path = EXAMPLES / f"{connector.example}.py"
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 30
    assert f"{connector.name}" in text
    validate(load_topology(str(path), None, []))


def test_every_example_is_of_a_connector() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__"} == {one.example for one in CONNECTORS}
