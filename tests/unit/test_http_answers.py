"""What the answer to a request of an `HttpSink` means, and what the sink refuses to be given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from squall.connectors.http import HttpSink, HttpSpout
from squall.connectors.http.answers import Failed, Refused, Taken, Wait, meaning, retry_after_s, shown
from squall.errors import TopologyError

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((200, 201, 202, 204), Taken()),
        ((429, 503), Wait(7.0)),
        ((408, 425, 500, 502, 504), Failed()),
        ((301, 304, 400, 401, 404, 409, 413, 422), Refused()),
    ],
)
def test_what_an_answer_means(statuses: tuple[int, ...], expected: object) -> None:
    assert {meaning(status, {"retry-after": "7"}, NOW) for status in statuses} == {expected}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("", 1.0),
        ("soon", 1.0),
        ("-5", 1.0),
        ("99999999", 3600.0),
        ("Thu, 26 Nov 2026 12:01:30 GMT", 90.0),
        ("Thu, 26 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:37", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float) -> None:
    assert retry_after_s(text, NOW) == seconds


def test_an_answer_is_shown_in_one_short_line() -> None:
    assert shown(400, "a\n b\t c") == "400 a b c"
    assert shown(404, "") == "404"
    assert len(shown(400, "x" * 10_000)) < 320


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("example.org/x", {}),
        ("ftp://example.org", {}),
        ("http:///x", {}),
        ("http://h/{a.b}", {}),
        ("http://h/{a:5}", {}),
        ("http://h/{", {}),
        ("http://h/", {"method": "GET"}),
        ("http://h/", {"batch": 0}),
        ("http://h/", {"max_in_flight": 1.5}),
        ("http://h/", {"timeout": 0}),
    ],
)
def test_options_of_no_use_are_refused_when_the_topology_is_built(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(TopologyError, match="http_option"):
        HttpSink(url, **options)


def test_missing_packages_are_told_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squall.connectors.extras.find_spec", lambda _name: None)
    for make in (lambda: HttpSink("http://h/"), lambda: HttpSpout.listen("127.0.0.1:0")):
        with pytest.raises(TopologyError, match=r'pip install "squall\[http\]"'):
            make()
