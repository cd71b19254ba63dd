"""The pytest plug-in: the fixture `local_cluster`.

pytest loads this module at every start, so it imports nothing of the runtime before the fixture is used; else starting
pytest would cost more, and a measurement of coverage would begin after squall was imported.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from squall import Topology
    from squall.testing.cluster import LocalCluster

_clusters = pytest.StashKey["list[LocalCluster]"]()
SHOWN = 20
"""Dead letters, and errors, that a failed test's report shows."""


@pytest.fixture
def local_cluster(request: pytest.FixtureRequest) -> Generator[Callable[..., LocalCluster]]:
    """Makes opened clusters, by the arguments of `LocalCluster`; all are closed at the end of the test.

    A test that fails shows the dead letters and errors of its clusters.
    """
    from squall.testing.cluster import LocalCluster

    made: list[LocalCluster] = request.node.stash.setdefault(_clusters, [])

    def make(
        topology: Topology,
        /,
        *,
        mock_sources: Mapping[str, Iterable[object]] | None = None,
        simulated_time: bool = True,
        seed: int = 0,
        settings: Mapping[str, object] | None = None,
    ) -> LocalCluster:
        cluster = LocalCluster(
            topology, mock_sources=mock_sources, simulated_time=simulated_time, seed=seed, settings=settings
        )
        made.append(cluster)
        cluster.open()
        return cluster

    yield make
    for cluster in reversed(made):
        cluster.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what went wrong inside the clusters to the report of a test that failed."""
    report = yield
    if report.when == "call" and report.failed and _clusters in item.stash:
        for cluster in item.stash[_clusters]:
            if text := _troubles(cluster):
                report.sections.append((f"squall topology {cluster.name!r}", text))
    return report


def _troubles(cluster: LocalCluster) -> str:
    letters, errors = cluster.dead_letters(), cluster.errors()
    lines = [str(letter) for letter in letters[:SHOWN]]
    if len(letters) > SHOWN:
        lines.append(f"… and {len(letters) - SHOWN} more dead letters")
    for report in errors[-SHOWN:]:
        lines += ["", f'error in `{report.where}` of "{report.component}" (task {report.task}):']
        lines.append(report.traceback.rstrip())
    return "\n".join(lines)
