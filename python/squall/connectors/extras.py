"""Packages that only some connectors need: a missing one is told when the topology is built, not when it runs."""

from __future__ import annotations

from importlib.util import find_spec

from squall.errors import Defect, TopologyError


def need(extra: str, package: str, who: str) -> None:
    """Refuses to go on without a package; does not import it.

    Raises:
        TopologyError: `extra_missing`.
    """
    if find_spec(package) is None:
        message = f"{who} needs the package {package}, which is not installed"
        raise TopologyError(Defect("extra_missing", message, (), f'pip install "squall[{extra}]"'))
