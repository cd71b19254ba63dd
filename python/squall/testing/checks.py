"""What `LocalCluster` refuses of its arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from squall.config.load import checked
from squall.config.table import DEFAULTS, Scope
from squall.errors import ConfigError, Defect, TopologyError, did_you_mean
from squall.model.graph import DEAD_LETTERS, ComponentSpec, Graph, Kind
from squall.testing.simulation.faults import Faults
from squall.testing.sources import MockedSpout


def check_workers(workers: object, faults: object, *, simulated_time: bool) -> None:
    """Refuses what is no number of workers or no faults, and several workers or faults in real time."""
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        what, facts = "a cluster has one worker at least", (("workers", repr(workers)),)
    elif faults is not None and not isinstance(faults, Faults):
        what, facts = "`faults` are no Faults", (("faults", repr(faults)),)
    elif not simulated_time and (workers > 1 or faults is not None):
        what, facts = "several workers, and faults, are simulated: in real time there is one worker", ()
    else:
        return
    fix = "LocalCluster(topology, workers=3, faults=Faults(crash=0.05)), in simulated time"
    raise TopologyError(Defect("workers_invalid", what, facts, fix))


def checked_settings(given: Mapping[str, object]) -> dict[str, Any]:
    """All settings, with those that a test gives.

    Raises:
        ConfigError: all wrong ones.
    """
    settings, defects = dict(DEFAULTS), list[Defect]()
    for key, value in given.items():
        try:
            settings[key] = checked(key, value, "settings of LocalCluster", Scope.LOCAL)
        except ConfigError as error:
            defects += error.defects
    if defects:
        raise ConfigError(*defects)
    return settings


def refuse_sockets(spouts: Iterable[ComponentSpec]) -> None:
    """Refuses spouts that need the world (`simulated_world`)."""
    fix = "name it in mock_sources, or use LocalCluster(..., simulated_time=False)"
    defects = [
        Defect("simulated_world", f'spout "{spout.name}" {_does(spout)} in simulated time', (), fix) for spout in spouts
    ]
    if defects:
        raise TopologyError(*defects)


def _does(spout: ComponentSpec) -> str:
    return "listens on an address" if spout.listens else "connects to servers"


def mocked_spout(graph: Graph, name: str) -> MockedSpout:
    """The stand-in for a spout of this name (`mock_unknown`)."""
    spec = graph.components.get(name)
    if spec is not None and spec.kind is Kind.SPOUT and name != DEAD_LETTERS:
        return MockedSpout(name, spec.streams)
    known = [spout.name for spout in graph.spouts if spout.name != DEAD_LETTERS]
    near = did_you_mean(name, known)
    fix = f'did you mean "{near}"?' if near else "name a spout"
    message = f'mock_sources names "{name}", which is no spout'
    raise TopologyError(Defect("mock_unknown", message, (("spouts", ", ".join(known)),), fix))
