"""The pytest plug-in: the fixtures `local_cluster` and `squall_seed`, the mark `squall_seeds`.

pytest loads this module at every start, so it imports nothing of the runtime before the fixture is used; else starting
pytest would cost more, and a measurement of coverage would begin after squall was imported.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from squall import Topology
    from squall.testing.cluster import LocalCluster
    from squall.testing.simulation.faults import Faults

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
        workers: int = 1,
        faults: Faults | None = None,
    ) -> LocalCluster:
        cluster = LocalCluster(
            topology,
            mock_sources=mock_sources,
            simulated_time=simulated_time,
            seed=seed,
            settings=settings,
            workers=workers,
            faults=faults,
        )
        made.append(cluster)
        cluster.open()
        return cluster

    yield make
    for cluster in reversed(made):
        cluster.close()


@pytest.fixture
def squall_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run of a test with the mark `squall_seeds`; 0 without it."""
    return getattr(request, "param", 0)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the mark."""
    config.addinivalue_line(
        "markers",
        "squall_seeds(count): run the test with each seed from 0 to count - 1, which the fixture squall_seed gives",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run for each seed."""
    mark = metafunc.definition.get_closest_marker("squall_seeds")
    if mark is None:
        return
    count: object = mark.args[0] if len(mark.args) == 1 and not mark.kwargs else None
    test = metafunc.definition.nodeid
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        given = ", ".join([*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items())])
        fix = "give it one whole number from 1: @pytest.mark.squall_seeds(200)"
        raise _refused(f"{test} has the mark squall_seeds({given})", fix)
    if "squall_seed" not in metafunc.fixturenames:
        fix = "give it an argument `squall_seed`, and LocalCluster(…, seed=squall_seed)"
        raise _refused(f"{test} has the mark squall_seeds and does not use the fixture squall_seed", fix)
    metafunc.parametrize("squall_seed", range(count), indirect=True, ids=lambda seed: f"seed={seed}")


def _refused(what: str, fix: str) -> pytest.UsageError:
    from squall.errors import Defect

    return pytest.UsageError(str(Defect("seeds_invalid", what, (), fix)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what went wrong inside the clusters, and how to see it again, to the report of a test that failed."""
    report = yield
    if report.when == "call" and report.failed and item.get_closest_marker("squall_seeds") is not None:
        report.sections.append(("squall seed", f"the same history again: pytest {_argument(item)}"))
    if report.when == "call" and report.failed and _clusters in item.stash:
        for cluster in item.stash[_clusters]:
            if text := _troubles(cluster):
                report.sections.append((f"squall topology {cluster.name!r}", text))
    return report


def _argument(item: pytest.Item) -> str:
    """What runs the test again from the folder that pytest was started in; its id is relative to another one."""
    _, separator, name = item.nodeid.partition("::")
    return shlex.quote(os.path.relpath(item.path, item.config.invocation_params.dir) + separator + name)


def _troubles(cluster: LocalCluster) -> str:
    letters, errors = cluster.dead_letters(), cluster.errors()
    lines = [str(letter) for letter in letters[:SHOWN]]
    if len(letters) > SHOWN:
        lines.append(f"… and {len(letters) - SHOWN} more dead letters")
    for report in errors[-SHOWN:]:
        lines += ["", f'error in `{report.where}` of "{report.component}" (task {report.task}):']
        lines.append(report.traceback.rstrip())
    return "\n".join(lines)
