"""`examples/deduplication.py`: what is a duplicate, for how long, and what is kept for it."""

from __future__ import annotations

from pathlib import Path

from deduplication import Deduplicate, build
from squall import RetryTuple
from squall.testing import LocalCluster

Event = tuple[str, int, str]


def events(*ids: str, place: int = 0) -> list[Event]:
    return [(id, place, f"{id} at {place}") for place, id in enumerate(ids, place)]


def passed(cluster: LocalCluster) -> list[str]:
    return sorted(row[0] for row in cluster.emitted("unique"))


def test_the_first_of_an_id_passes_and_the_others_are_counted_as_dropped() -> None:
    with LocalCluster(build(), mock_sources={"webhooks": events("a", "b", "a", "a", "c", "b")}) as cluster:
        cluster.run_until_idle()
        assert passed(cluster) == ["a at 0", "b at 1", "c at 4"]
        assert cluster.metrics()["unique"]["dropped"] == 3
        assert len(cluster.acked("webhooks")) == 6
        assert cluster.dead_letters() == []


def test_an_id_is_forgotten_after_the_horizon_counted_from_its_first_event() -> None:
    with LocalCluster(build(), mock_sources={"webhooks": events("a")}) as cluster:
        cluster.advance(599)
        cluster.feed("webhooks", events("a", place=1))
        cluster.run_until_idle()
        assert passed(cluster) == ["a at 0"]
        cluster.advance(1)
        cluster.feed("webhooks", events("a", place=2))
        cluster.run_until_idle()
        assert passed(cluster) == ["a at 0", "a at 2"]


def test_memory_is_bounded_by_the_limit_and_what_is_forgotten_early_is_counted() -> None:
    ids = [f"id{number}" for number in range(1000)]
    with LocalCluster(build(limit=100), mock_sources={"webhooks": events(*ids)}) as cluster:
        cluster.run_until_idle()
        assert [len(cluster.task("unique", Deduplicate, index).seen) for index in (0, 1)] == [100, 100]
        assert cluster.metrics()["unique"]["user"]["forgotten early"] == 800
        cluster.feed("webhooks", events("id0", "id999", place=1000))
        cluster.run_until_idle()
        assert "id0 at 1000" in passed(cluster)
        assert "id999 at 1001" not in passed(cluster)


def test_memory_is_given_back_after_the_horizon() -> None:
    ids = [f"id{number}" for number in range(100)]
    with LocalCluster(build(), mock_sources={"webhooks": events(*ids)}) as cluster:
        cluster.advance(600)
        cluster.feed("webhooks", events(*(f"new{number}" for number in range(8)), place=100))
        cluster.run_until_idle()
        kept = [cluster.task("unique", Deduplicate, index).seen for index in (0, 1)]
        assert sorted(id for seen in kept for id in seen) == [f"new{number}" for number in range(8)]


def test_what_is_replayed_is_no_duplicate_of_itself() -> None:
    """The sink fails after the id was remembered; the event must come through at its second try, its copy must not."""
    with LocalCluster(build(), mock_sources={"webhooks": []}) as cluster:
        cluster.inject("sink", OSError("the disk is full"))
        cluster.feed("webhooks", events("a"))
        cluster.run_until_idle()
        assert cluster.failed("webhooks") == events("a")
        cluster.feed("webhooks", events("a", place=1))
        cluster.advance(1)
        assert passed(cluster) == ["a at 0", "a at 0"]
        assert sorted(cluster.acked("webhooks")) == [*events("a"), *events("a", place=1)]


def test_a_replay_does_not_make_the_horizon_longer() -> None:
    with LocalCluster(build(), mock_sources={"webhooks": events("a")}) as cluster:
        cluster.inject("sink", RetryTuple("the disk is full", after=300.0, counts=False))
        cluster.advance(599)
        assert passed(cluster) == ["a at 0", "a at 0"]
        cluster.advance(1)
        cluster.feed("webhooks", events("a", place=1))
        cluster.run_until_idle()
        assert passed(cluster) == ["a at 0", "a at 0", "a at 1"]


def test_the_sink_can_be_a_file(tmp_path: Path) -> None:
    output = tmp_path / "unique"
    with LocalCluster(build(output=output), mock_sources={"webhooks": events("a", "a", "a")}) as cluster:
        cluster.run_until_idle()
        assert output.read_text() == "a at 0\n"
