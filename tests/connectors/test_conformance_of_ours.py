"""The connectors that need no server of their own pass the conformance kit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from component.receiver import Receiver
from component.test_http_sink import OK, Answer, Service, serving
from squall.connectors.files import FileSink, FileSpout, JsonLines, Rotation
from squall.connectors.http import HttpSink
from squall.connectors.tcp import TcpSink
from squall.testing import conformance
from squall.testing.conformance import SinkSchedule, SinkUnderTest, SourceSchedule, SourceUnderTest

SEED = 3


def unwritable(number: int) -> tuple[int, object]:
    return number, object()


@pytest.mark.parametrize("rotate", [None, Rotation(rows=7)], ids=["appended", "rotated"])
@pytest.mark.parametrize("schedule", conformance.sink_schedules(outage=False))
def test_file_sink(schedule: SinkSchedule, rotate: Rotation | None, tmp_path: Path) -> None:
    def numbers() -> list[int]:
        """Of whole lines; rows of files that are not published yet lie in hidden ones."""
        texts = [path.read_text() for path in tmp_path.iterdir()]
        lines = [line for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [json.loads(line)["number"] for line in lines]

    under_test = SinkUnderTest(
        make=lambda: FileSink(tmp_path / "rows.jsonl", format=JsonLines(), rotate=rotate),
        read_back=numbers,
        poison=unwritable,
        ordered=rotate is None,
    )
    conformance.check_sink(under_test, schedule, SEED)


@pytest.mark.parametrize("schedule", conformance.sink_schedules())
def test_tcp_sink_with_receipts(schedule: SinkSchedule) -> None:
    @contextmanager
    def stopped() -> Iterator[None]:
        receiver.stop()
        yield
        receiver.start()

    with Receiver() as receiver:
        under_test = SinkUnderTest(
            make=lambda: TcpSink(receiver.address, encoder="json", receipts=True),
            read_back=lambda: [json.loads(record)["number"] for record in receiver.records],
            poison=unwritable,
            outage=stopped,
        )
        conformance.check_sink(under_test, schedule, SEED)


@pytest.mark.parametrize("batch", [1, 10])
@pytest.mark.parametrize("schedule", conformance.sink_schedules())
def test_http_sink(schedule: SinkSchedule, batch: int) -> None:
    def answer(body: object) -> Answer:
        if is_away:
            return 503, {"retry-after": "0"}, "come again"
        rows = body if isinstance(body, list) else [body]
        return (422, {}, "no text") if any(row["text"] is None for row in rows) else OK

    @contextmanager
    def away() -> Iterator[None]:
        is_away.append(True)
        yield
        is_away.clear()

    def numbers() -> list[int]:
        return [row["number"] for body in service.bodies for row in (body if isinstance(body, list) else [body])]

    is_away: list[bool] = []
    with serving(Service(answer=answer)) as service:
        under_test = SinkUnderTest(
            make=lambda: HttpSink(service.url, batch=batch),
            read_back=numbers,
            poison=lambda number: (number, None),
            outage=away,
            ordered=False,
            rows=100,
        )
        conformance.check_sink(under_test, schedule, SEED)


@pytest.mark.parametrize("schedule", conformance.source_schedules(outage=False))
def test_file_spout(schedule: SourceSchedule, tmp_path: Path) -> None:
    file = tmp_path / "records.txt"
    file.touch()

    def put(numbers: list[int]) -> None:
        with file.open("a") as records:
            records.writelines(f"{number}\n" for number in numbers)

    under_test = SourceUnderTest(
        make=lambda: FileSpout(file, follow=True, look_every=0.05),
        put=put,
        number_of=lambda row: int(row[0]),
    )
    conformance.check_source(under_test, schedule, SEED)
