"""Sources that senders come to pass the conformance kit, with senders that keep a record until they hear of its end."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from squall import Spout
from squall.connectors.http import HttpSpout
from squall.connectors.tcp import TcpFeeder, TcpSpout
from squall.connectors.unix import UnixSpout
from squall.errors import ClusterError
from squall.testing import conformance
from squall.testing.conformance import SourceSchedule, SourceUnderTest

SEED = 3
RECORDS = 100
AGAIN_AFTER_S = 0.05


@pytest.fixture
def port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def fed(make: Callable[[], Spout], feeder: TcpFeeder) -> SourceUnderTest:
    def put(numbers: Sequence[int]) -> None:
        for number in numbers:
            feeder.send(f"{number}")

    return SourceUnderTest(make=make, put=put, number_of=lambda row: int(row[0]), records=RECORDS, replay_max=None)


@pytest.fixture
def feeding() -> Iterator[Callable[[str], TcpFeeder]]:
    """Makes a feeder, which is let go at the end whatever it keeps."""
    made = list[TcpFeeder]()

    def feeder(address: str) -> TcpFeeder:
        made.append(TcpFeeder(address))
        return made[-1]

    yield feeder
    for one in made:
        with suppress(ClusterError):  # what a source was not to end is not receipted
            one.close(timeout=0)


@pytest.mark.parametrize("journal", [False, True], ids=["processed", "stored"])
@pytest.mark.parametrize("schedule", conformance.source_schedules(outage=False))
def test_tcp_spout(
    schedule: SourceSchedule, port: int, feeding: Callable[[str], TcpFeeder], tmp_path: Path, *, journal: bool
) -> None:
    def make() -> TcpSpout:
        if journal:
            return TcpSpout.listen(f"127.0.0.1:{port}", receipts="stored", journal=tmp_path / "journal")
        return TcpSpout.listen(f"127.0.0.1:{port}", receipts="processed")

    conformance.check_source(fed(make, feeding(f"127.0.0.1:{port}")), schedule, SEED)


@pytest.mark.parametrize("schedule", conformance.source_schedules(outage=False))
def test_unix_spout(schedule: SourceSchedule, feeding: Callable[[str], TcpFeeder], tmp_path: Path) -> None:
    path = tmp_path / "in"
    under_test = fed(lambda: UnixSpout.listen(path, receipts="processed"), feeding(f"unix:{path}"))
    conformance.check_source(under_test, schedule, SEED)


class Client:
    """Posts each batch of records, on a thread of its own, until it is answered by 200."""

    def __init__(self, port: int) -> None:
        self._port, self._is_over = port, threading.Event()

    def put(self, numbers: Sequence[int]) -> None:
        body = "".join(f"{number}\n" for number in numbers)
        threading.Thread(target=self._post, args=(body,), daemon=True).start()

    def _post(self, body: str) -> None:
        while not self._is_over.is_set():
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
                connection.request("POST", "/", body, {"content-type": "text/plain"})
                if connection.getresponse().status == 200:
                    return
            self._is_over.wait(AGAIN_AFTER_S)

    def close(self) -> None:
        self._is_over.set()


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(schedule, marks=[pytest.mark.servers] if schedule is SourceSchedule.RESTARTS else [])
        for schedule in conformance.source_schedules(outage=False)
    ],
)
def test_http_spout(schedule: SourceSchedule, port: int) -> None:
    """A spout that is closed with requests in its hands waits 5 s for their answers: restarts are not in each run."""
    client = Client(port)
    under_test = SourceUnderTest(
        make=lambda: HttpSpout.listen(f"127.0.0.1:{port}", receipts="processed"),
        put=client.put,
        number_of=lambda row: int(row[0]),
        ordered=False,
        replay_max=None,
        records=RECORDS,
    )
    try:
        conformance.check_source(under_test, schedule, SEED)
    finally:
        client.close()
