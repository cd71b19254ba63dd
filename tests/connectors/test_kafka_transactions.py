"""What the three calls of `KafkaSink` find in the marks, beside what the conformance kit looks at."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer
from servers import KafkaAddress, fresh
from squall.connectors.contract import Unavailable
from squall.connectors.kafka import transactions
from squall.connectors.kafka.client import Access
from squall.connectors.kafka.records import Record
from squall.connectors.kafka.transactions import Transactions, packed


def test_a_mark_is_found_behind_an_open_transaction_of_another_task(
    kafka: KafkaAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers of committed records see nothing behind it; an epoch must not be published twice for that."""
    topic, marks = kafka.topic("once"), fresh("marks")
    staged = packed([Record(topic, b"x", None, -1, 0, None)])

    def of_task(task: str) -> Transactions:
        return Transactions(Access("KafkaSink", kafka.address), marks, task)

    first = of_task("t/sink/0")
    assert first.committed() == 0
    other = Producer({"bootstrap.servers": kafka.address, "transactional.id": fresh("other")})
    other.init_transactions(10)
    other.begin_transaction()
    other.produce(marks, b'{"epoch": 9}', b"t/sink/1", 0)
    other.flush(10)
    first.commit(1, staged)
    monkeypatch.setattr(transactions, "CALL_S", 1.0)
    with pytest.raises(Unavailable, match="cannot be read to their end"):
        of_task("t/sink/0").committed()
    monkeypatch.undo()
    other.abort_transaction(10)
    assert of_task("t/sink/0").committed() == 1
    assert of_task("t/sink/1").committed() == 0
