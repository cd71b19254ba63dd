"""`examples/async_enrichment.py`: the rate, the time-out and its retry, unknown customers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from async_enrichment import Directory, Enrich, build
from squall.testing import LocalCluster

ORDERS = [(f"o{number}", "c1", 1.0) for number in range(1, 41)]


def enriched(cluster: LocalCluster) -> list[str]:
    return [row[0] for row in cluster.emitted("enrich")]


def calls(cluster: LocalCluster) -> int:
    return cluster.task("enrich", Enrich).directory.calls


def test_an_order_gets_the_name_and_country_of_its_customer() -> None:
    with LocalCluster(build(), mock_sources={"orders": [("o1", "c6", 9.5)]}) as cluster:
        cluster.advance(0.021)
        assert cluster.emitted("enrich") == [("o1", 9.5, "Finn Olsen", "NO")]


@pytest.mark.parametrize("per_s", [10, 20])
def test_calls_keep_to_the_rate(per_s: int) -> None:
    with LocalCluster(build(per_s=per_s), mock_sources={"orders": ORDERS}) as cluster:
        cluster.run_until_idle()
        assert calls(cluster) == 1
        cluster.advance(0.52)
        assert calls(cluster) == 1 + int(0.52 * per_s)


def test_no_more_calls_wait_than_the_bolt_allows() -> None:
    with LocalCluster(build(), mock_sources={"orders": ORDERS}) as cluster:
        cluster.run_until_idle()
        assert cluster.metrics()["enrich"]["in_flight"] == Enrich.max_in_flight == 20


def test_orders_leave_as_they_came_whatever_the_calls_take(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow_at_first(self: Directory, customer: str) -> dict[str, str]:
        self.calls += 1
        await asyncio.sleep(0.2 / self.calls)
        return self.customers[customer]

    monkeypatch.setattr(Directory, "get", slow_at_first)
    with LocalCluster(build(), mock_sources={"orders": ORDERS}) as cluster:
        cluster.advance(0.19)
        assert enriched(cluster) == []
        cluster.advance(1)
        assert enriched(cluster) == [order for order, _, _ in ORDERS]


def test_a_call_that_takes_too_long_fails_and_is_tried_again() -> None:
    """Every sixteenth call is late: its order comes after the others, and none is lost or doubled."""
    with LocalCluster(build(), mock_sources={"orders": ORDERS}) as cluster:
        cluster.advance(10)
        assert [order for order, _, _ in cluster.failed("orders")] == ["o16", "o32"]
        in_time = [order for order, _, _ in ORDERS if order not in ("o16", "o32")]
        assert enriched(cluster) == [*in_time, "o16", "o32"]
        assert len(cluster.acked("orders")) == 40
        assert cluster.dead_letters() == []


def test_a_service_that_is_down_gives_up_after_four_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(self: Directory, customer: str) -> dict[str, str]:
        self.calls += 1
        raise ConnectionError("refused")

    monkeypatch.setattr(Directory, "get", down)
    with LocalCluster(build(), mock_sources={"orders": ORDERS[:1]}) as cluster:
        cluster.advance(60)
        assert calls(cluster) == 4
        assert [letter.attempts for letter in cluster.dead_letters()] == [4]


def test_an_unknown_customer_is_given_up_at_once_and_shown() -> None:
    with LocalCluster(build(), mock_sources={"orders": [("o1", "c99", 1.0), ("o2", "c1", 2.0)]}) as cluster:
        cluster.advance(1)
        assert cluster.emitted("not_enriched") == [("not enriched: o1: KeyError: 'c99'",)]
        assert [letter.attempts for letter in cluster.dead_letters()] == [1]
        assert enriched(cluster) == ["o2"]


def test_customers_come_from_the_file_that_is_given(tmp_path: Path) -> None:
    file = tmp_path / "customers.json"
    file.write_text('{"c1": {"name": "Zita", "country": "HU"}}')
    with LocalCluster(build(customers=file), mock_sources={"orders": ORDERS[:1]}) as cluster:
        cluster.advance(1)
        assert cluster.emitted("enrich") == [("o1", 1.0, "Zita", "HU")]
