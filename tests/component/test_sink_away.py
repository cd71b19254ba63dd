"""A run whose sink waits for its other system: it is told, and the run ends when its drain is over."""

from __future__ import annotations

import time

from .conftest import Squall

TOPOLOGY = """
    from squall import Topology
    from squall.connectors.contract import Sink, Unavailable

    class Away(Sink):
        def where(self):
            return "the archive"

        def connect(self):
            raise Unavailable("no route to it")

        def disconnect(self):
            pass

    def rows():
        yield from range(5000)

    topology = Topology("away")
    topology.bolt("sink", Away).shuffle(topology.spout("rows", rows, outputs=("n",)))
"""


def test_a_run_ends_though_its_sink_still_waits(squall: Squall) -> None:
    """Nothing has failed: all of it is pending, and the worker says so before it ends by itself."""
    began_s = time.monotonic()
    run = squall.run(TOPOLOGY, "--for", "1s", "--drain", "1s")
    assert run.end() == 1
    assert time.monotonic() - began_s < 15
    summary = run.summary()
    assert summary["pending"] == summary["emitted"] > 0
    assert (summary["failed"], summary["dead"]) == (0, 0)
    assert "approximate" not in summary
    assert "the archive is not available: no route to it" in str(run.events("progress"))
