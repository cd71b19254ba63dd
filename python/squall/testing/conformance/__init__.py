"""Drives a source or a sink, squall's or your own, through nasty schedules, and says which laws it breaks.

Say how one is made and how its other system is seen from outside; each schedule is a test of its own:

    import pytest
    from squall.testing import conformance

    @pytest.mark.parametrize("schedule", conformance.sink_schedules())
    def test_the_sink_conforms(schedule, table):
        under_test = conformance.SinkUnderTest(
            make=lambda: TableSink(table.url),
            read_back=table.numbers,               # of the rows that are there now, in the order of the place
            poison=lambda number: (number, None),  # a row that is refused for good
            outage=table.unavailable,              # a context manager: the other system is away within
        )
        conformance.check_sink(under_test, schedule, seed=1)

`check_source` with `SourceUnderTest` does the same for a source, `check_epochs` for the three calls of a sink that can
be exactly once. A check that fails raises `NonConformance`, whose text names the laws, what broke them, the schedule
and the seed.

Everything happens in real time, in a `LocalCluster`. A killed instance is one of a forked process that is killed, so
what `make` and `read_back` use must be outside of the process: a file, a server.
"""

from squall.testing.conformance.checks import (
    check_epochs,
    check_sink,
    check_source,
    epoch_schedules,
    sink_schedules,
    source_schedules,
)
from squall.testing.conformance.described import SinkUnderTest, SourceUnderTest
from squall.testing.conformance.epochs import EpochSchedule
from squall.testing.conformance.report import Breach, NonConformance, Report
from squall.testing.conformance.sinks import SinkSchedule
from squall.testing.conformance.sources import SourceSchedule

__all__ = [
    "Breach",
    "EpochSchedule",
    "NonConformance",
    "Report",
    "SinkSchedule",
    "SinkUnderTest",
    "SourceSchedule",
    "SourceUnderTest",
    "check_epochs",
    "check_sink",
    "check_source",
    "epoch_schedules",
    "sink_schedules",
    "source_schedules",
]
