"""A connector under a schedule, from its description to the report."""

from __future__ import annotations

from random import Random

from squall.errors import Defect, TopologyError
from squall.testing.conformance import epochs, sink_laws, sinks, source_laws, sources
from squall.testing.conformance.described import SinkUnderTest, SourceUnderTest
from squall.testing.conformance.epochs import EpochSchedule, EpochStage
from squall.testing.conformance.report import NonConformance, Report
from squall.testing.conformance.shown import Shown
from squall.testing.conformance.sink_laws import SinkSeen
from squall.testing.conformance.sinks import SinkSchedule, SinkStage
from squall.testing.conformance.source_laws import SourceSeen
from squall.testing.conformance.sources import SourceSchedule, SourceStage

SINK_AWAY = {SinkSchedule.DISCONNECT, SinkSchedule.AWAY_AT_THE_START}
SOURCE_AWAY = {SourceSchedule.DISCONNECT, SourceSchedule.AWAY_AT_THE_START}
NEXT_LIVES = {SourceSchedule.RESTARTS, SourceSchedule.KILLS}


def sink_schedules(*, poison: bool = True, outage: bool = True) -> tuple[SinkSchedule, ...]:
    """The schedules of a sink, to parametrize a test with.

    Args:
        poison: whether there is a row that the other system refuses.
        outage: whether the test can take the other system away.
    """
    left_out = {*(() if outage else SINK_AWAY), *(() if poison else (SinkSchedule.POISON,))}
    return tuple(schedule for schedule in SinkSchedule if schedule not in left_out)


def epoch_schedules(*, outage: bool = True) -> tuple[EpochSchedule, ...]:
    """The schedules of a sink that can be exactly once (`squall.connectors.contract.Transactional`).

    Args:
        outage: whether the test can take the other system away.
    """
    return tuple(schedule for schedule in EpochSchedule if outage or schedule is not EpochSchedule.AWAY_IN_COMMIT)


def source_schedules(*, outage: bool = True, keeps_place: bool = True) -> tuple[SourceSchedule, ...]:
    """The schedules of a source, to parametrize a test with.

    Args:
        outage: whether the test can take the other system away.
        keeps_place: whether a new instance goes on where the last one was.
    """
    left_out = {*(() if outage else SOURCE_AWAY), *(() if keeps_place else NEXT_LIVES)}
    return tuple(schedule for schedule in SourceSchedule if schedule not in left_out)


def check_sink(under_test: SinkUnderTest, schedule: SinkSchedule, seed: int = 0) -> Report:
    """Drives a sink through a schedule.

    Raises:
        NonConformance: it breaks laws.
        TopologyError: `conformance_description`: the schedule needs what the description does not have.
        Exception: what the description's own functions raised, or the sink when it was opened.
    """
    _need(schedule, "outage", under_test.outage, schedule in SINK_AWAY)
    _need(schedule, "poison", under_test.poison, schedule is SinkSchedule.POISON)
    seen = SinkSeen(
        keeps_order=under_test.ordered and schedule not in sinks.MIXES,
        may_repeat=schedule in sinks.REPEATS,
        upserts=under_test.upserts,
    )
    stage = SinkStage(under_test, Random(seed), seen, shown := Shown(under_test.secrets))
    with shown.listening():
        sinks.SCHEDULES[schedule](stage)
    seen.there = under_test.read_back()
    breaches = (*sink_laws.breaches(seen), *shown.breaches())
    return _judged(Report(stage.name, schedule, seed, len(seen.fed), stage.lives, breaches))


def check_epochs(under_test: SinkUnderTest, schedule: EpochSchedule, seed: int = 0) -> Report:
    """Drives the three calls of a sink that can be exactly once through a schedule.

    Raises:
        NonConformance: it breaks laws.
        TopologyError: `conformance_description`: the sink is not `Transactional`, or the schedule needs what the
            description does not have.
        Exception: what the description's own functions, or the three calls, raised.
    """
    _need(schedule, "outage", under_test.outage, schedule is EpochSchedule.AWAY_IN_COMMIT)
    stage = EpochStage(under_test, Random(seed), shown := Shown(under_test.secrets))
    with shown.listening():
        epochs.SCHEDULES[schedule](stage)
    breaches = (*stage.breaches(), *shown.breaches())
    return _judged(Report(stage.name, schedule, seed, stage.given, stage.lives, breaches))


def check_source(under_test: SourceUnderTest, schedule: SourceSchedule, seed: int = 0) -> Report:
    """Drives a source through a schedule.

    Raises:
        NonConformance: it breaks laws.
        TopologyError: `conformance_description`: the schedule needs what the description does not have.
        Exception: what the description's own functions raised, or the source when it was opened.
    """
    _need(schedule, "outage", under_test.outage, schedule in SOURCE_AWAY)
    _need(schedule, "keeps_place", under_test.keeps_place or None, schedule in NEXT_LIVES)
    seen = SourceSeen(
        keeps_order=under_test.ordered and schedule not in (SourceSchedule.RESTARTS, SourceSchedule.KILLS),
        may_repeat=schedule in sources.REPEATS,
        replay_max=under_test.replay_max,
    )
    stage = SourceStage(under_test, Random(seed), seen, shown := Shown(under_test.secrets))
    with shown.listening():
        sources.SCHEDULES[schedule](stage)
    breaches = (*source_laws.breaches(seen), *shown.breaches())
    return _judged(Report(stage.name, schedule, seed, len(seen.put), stage.lives, breaches))


def _judged(report: Report) -> Report:
    if report.breaches:
        raise NonConformance(report)
    return report


def _need(schedule: str, name: str, given: object, is_needed: bool) -> None:
    if is_needed and given is None:
        message = f'the schedule "{schedule}" needs `{name}`, which the description does not have'
        fix = f"give it, or leave the schedule out: …_schedules({name}=False)"
        raise TopologyError(Defect("conformance_description", message, (), fix))
