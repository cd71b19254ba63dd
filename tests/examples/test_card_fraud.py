"""`examples/card_fraud.py`: the join, its waits, and blocked cards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from card_fraud import Decide, build
from squall.testing import LocalCluster

Row = tuple[str, str, float]


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """Longer than the message time-out of 30 s, so that what is held must be kept from it."""
    with LocalCluster(build(wait=timedelta(minutes=2)), mock_sources={"events": []}) as cluster:
        yield cluster


@pytest.fixture
def feed(cluster: LocalCluster) -> Callable[..., Any]:
    def feed(stream: str, *rows: Row) -> list[Any]:
        fed = cluster.feed("events", rows, stream=stream, ids=[f"{stream} {row[0]}" for row in rows])
        cluster.run_until_idle()
        return fed

    return feed


def verdicts(cluster: LocalCluster) -> list[tuple[Any, ...]]:
    return [row[:2] for row in cluster.emitted("decide")]


@pytest.mark.parametrize("first", ["payment", "confirmation"])
def test_a_payment_is_approved_by_its_confirmation_in_either_order(
    cluster: LocalCluster, feed: Callable[..., Any], first: str
) -> None:
    feed(first, ("p1", "4711", 20.0))
    cluster.advance(100)
    assert verdicts(cluster) == []
    assert cluster.acked("events") == []
    feed("confirmation" if first == "payment" else "payment", ("p1", "4711", 20.0))
    assert cluster.emitted("decide") == [("approved", "p1", "4711", 20.0)]
    assert sorted(cluster.acked("events")) == ["confirmation p1", "payment p1"]
    assert cluster.failed("events") == []


def test_a_payment_without_confirmation_is_refused_after_the_wait(
    cluster: LocalCluster, feed: Callable[..., Any]
) -> None:
    """Held for four times the message time-out, and not failed by it."""
    feed("payment", ("p1", "4711", 20.0))
    cluster.advance(119.9)
    assert verdicts(cluster) == []
    cluster.advance(0.2)
    assert verdicts(cluster) == [("REFUSED", "p1")]
    assert cluster.acked("events") == ["payment p1"]
    assert cluster.failed("events") == []


def test_a_confirmation_of_nothing_is_let_go(cluster: LocalCluster, feed: Callable[..., Any]) -> None:
    feed("confirmation", ("p1", "4711", 20.0))
    cluster.advance(121)
    assert verdicts(cluster) == []
    assert cluster.acked("events") == ["confirmation p1"]


def test_a_card_with_two_refused_payments_is_blocked_and_no_other(
    cluster: LocalCluster, feed: Callable[..., Any]
) -> None:
    feed("payment", ("p1", "4711", 1.0), ("p2", "4711", 2.0), ("p3", "5020", 3.0))
    cluster.advance(121)
    feed("payment", ("p4", "4711", 4.0), ("p5", "5020", 5.0))
    feed("confirmation", ("p5", "5020", 5.0))
    assert sorted(verdicts(cluster)) == [
        ("BLOCKED", "p4"),
        ("REFUSED", "p1"),
        ("REFUSED", "p2"),
        ("REFUSED", "p3"),
        ("approved", "p5"),
    ]


def test_when_a_verdict_is_not_taken_both_halves_are_tried_again(
    cluster: LocalCluster, feed: Callable[..., Any]
) -> None:
    cluster.inject("print", OSError("the disk is full"))
    feed("payment", ("p1", "4711", 20.0))
    feed("confirmation", ("p1", "4711", 20.0))
    assert sorted(cluster.failed("events")) == ["confirmation p1", "payment p1"]
    cluster.advance(1)
    assert verdicts(cluster) == [("approved", "p1")] * 2
    assert sorted(cluster.acked("events")) == ["confirmation p1", "payment p1"]


def test_a_refusal_that_is_replayed_counts_once(cluster: LocalCluster, feed: Callable[..., Any]) -> None:
    cluster.inject("print", OSError("the disk is full"))
    feed("payment", ("p1", "4711", 20.0))
    cluster.advance(300)
    assert verdicts(cluster) == [("REFUSED", "p1")] * 2
    feed("payment", ("p2", "4711", 20.0))
    feed("confirmation", ("p2", "4711", 20.0))
    assert verdicts(cluster)[-1] == ("approved", "p2")


def test_a_refused_payment_that_is_replayed_does_not_block_itself() -> None:
    with LocalCluster(build(strikes=1), mock_sources={"events": []}) as cluster:
        cluster.inject("print", OSError("the disk is full"))
        cluster.feed("events", [("p1", "4711", 20.0)], stream="payment")
        cluster.advance(10)
        assert verdicts(cluster) == [("REFUSED", "p1")] * 2


def test_a_replayed_payment_waits_for_its_whole_time(cluster: LocalCluster, feed: Callable[..., Any]) -> None:
    """Approved at 100 s, but the verdict is not taken, and the confirmation does not come again."""
    feed("payment", ("p1", "4711", 20.0))
    cluster.advance(100)
    cluster.inject("print", OSError("the disk is full"))
    feed("confirmation", ("p1", "4711", 20.0))
    cluster.inject("decide", ValueError("lost"), times=4, when=lambda tup: tup.stream == "confirmation")
    cluster.advance(119)
    assert verdicts(cluster) == [("approved", "p1")]
    cluster.advance(2)
    assert verdicts(cluster) == [("approved", "p1"), ("REFUSED", "p1")]


def test_nothing_is_kept_of_what_was_decided(cluster: LocalCluster, feed: Callable[..., Any]) -> None:
    feed("payment", *((f"p{number}", "4711", 1.0) for number in range(100)))
    feed("confirmation", *((f"p{number}", "4711", 1.0) for number in range(100)))
    assert len(verdicts(cluster)) == 100
    assert [cluster.task("decide", Decide, index).held for index in (0, 1)] == [{}, {}]
    assert cluster.metrics()["decide"]["held"] == 0
