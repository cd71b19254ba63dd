"""`examples/log_analytics.py`: when an alert comes and goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from log_analytics import build
from squall.testing import complete_topology

BEGAN = datetime(2025, 5, 12, 10, tzinfo=UTC)


def line(second: int, status: int, section: str = "cart") -> str:
    at = BEGAN + timedelta(seconds=second)
    return f'203.0.113.9 - - [{at:%d/%b/%Y:%H:%M:%S} +0000] "GET /{section}/x HTTP/1.1" {status} 12 "-" "curl"\n'


def alerts(lines: list[str]) -> list[str]:
    return [row[0] for row in complete_topology(build(), {"lines": lines})["watch"] if "requests failed" in row[0]]


def test_an_alert_comes_with_the_request_that_passes_the_limit() -> None:
    ok, failed = [line(second, 200) for second in range(19)], [line(second, 503) for second in range(19, 24)]
    assert alerts(ok + failed[:4]) == []
    assert alerts(ok + failed) == ["2025-05-12 10:00:23+00:00: cart RAISED, 21% of 24 requests failed"]


def test_an_alert_comes_once_and_is_cleared_when_the_window_has_passed_it() -> None:
    """Failures at 20–29 s; the last ones leave the window of a minute so that less than 10 % is left at 87 s."""
    lines = [line(second, 500 if 20 <= second < 30 else 200) for second in range(100)]
    assert alerts(lines) == [
        "2025-05-12 10:00:24+00:00: cart RAISED, 20% of 25 requests failed",
        "2025-05-12 10:01:24+00:00: cart cleared, 8% of 60 requests failed",
    ]


def test_a_few_requests_raise_nothing() -> None:
    assert alerts([line(second, 500) for second in range(19)]) == []


def test_sections_are_watched_apart() -> None:
    lines = [line(second, status, section) for second in range(30) for section, status in (("a", 200), ("b", 500))]
    assert [text.split()[2] for text in alerts(lines)] == ["b"]


def test_every_readable_request_is_counted_and_the_others_are_shown() -> None:
    lines = [line(0, 200), "rubbish\n", line(1, 500), line(2, 404), line(3, 200, section="")]
    rows = complete_topology(build(), {"lines": lines})
    assert rows["parse/unreadable"] == [("unreadable: rubbish",)]
    assert sorted(rows["watch"]) == [("cart: 3 requests, 1 failed",), ("home: 1 requests, 0 failed",)]
