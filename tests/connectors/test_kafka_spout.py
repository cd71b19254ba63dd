"""`KafkaSpout` against a broker: what it emits, commits, and goes on with."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from component.conftest import Running, Squall, squall, wait_until
from confluent_kafka import Producer
from servers import KafkaAddress

from .kafka_places import Noted, by_partition, committed, ended, errors, feed, metrics, wait_committed

__all__ = ["squall"]


@pytest.fixture
def noted(squall: Squall, kafka: KafkaAddress) -> Noted:
    return Noted(squall, kafka)


def test_records_have_keys_headers_times_and_tombstones(noted: Noted, kafka: KafkaAddress) -> None:
    topic, now_ms = kafka.topic("records"), int(time.time() * 1000)
    feed(kafka, topic, ["first", None, b"\xff\x00"], key="k", headers={"trace": b"7"}, timestamp=now_ms)
    fields = ("topic", "partition", "offset", "key", "value", "timestamp_ms", "headers")
    run = noted.run(f"KafkaSpout({topic!r}, servers=SERVERS, fields={fields})")
    rows = noted.wait(3, run)
    ended(run)
    common = [now_ms, [["trace", "7"]]]
    assert rows == [
        [topic, 0, 0, "k", "first", *common],
        [topic, 0, 1, "k", None, *common],
        [topic, 0, 2, "k", "\xff\x00", *common],
    ]


def test_what_ended_is_committed_and_the_next_run_goes_on(noted: Noted, kafka: KafkaAddress) -> None:
    topic = kafka.topic("goes-on", partitions=4)
    spout = f"KafkaSpout({topic!r}, servers=SERVERS, group={topic!r}, value='text')"
    for number in range(4):
        feed(kafka, topic, range(500), partition=number)
    run = noted.run(spout)
    noted.wait(2000, run)
    wait_until(lambda: metrics(run).get("lag") == 0)
    summary = ended(run)
    assert (summary["acked"], summary["failed"]) == (2000, 0)
    assert committed(kafka, topic, topic, 4) == dict.fromkeys(range(4), 500)
    feed(kafka, topic, range(500, 510), partition=1)
    again = noted.run(spout, parallelism=2)  # tasks of a group may come and go
    noted.wait(2010, again)
    ended(again)
    offsets = by_partition(noted.rows())
    assert {number: sorted(found) for number, found in offsets.items()} == {
        number: list(range(510 if number == 1 else 500)) for number in range(4)
    }


def test_what_cannot_be_decoded_is_a_dead_letter_and_has_ended(
    noted: Noted, kafka: KafkaAddress, squall: Squall
) -> None:
    """Poison records, tombstones too, neither stop nor hold back the spout (STORM-2994)."""
    topic = kafka.topic("poison")
    feed(kafka, topic, ['{"user": "a", "n": 1}', "no json", None, '{"user": "b", "n": 2}', '{"n": 3}'])
    json = "Json(outputs={'user': str, 'n': int})"
    run = noted.run(f"KafkaSpout({topic!r}, servers=SERVERS, group={topic!r}, value={json}, fields=('offset','value'))")
    assert noted.wait(3, run) == [[0, "a", 1], [2, None, None], [3, "b", 2]]
    wait_committed(kafka, topic, topic, 5)
    summary = ended(run)
    assert summary["dead"] == 2
    listed = squall.done("dead", "list", "noted")
    assert f"{topic}/0 at offset 1" in listed.out, listed.out + listed.err
    shown = squall.done("dead", "show", "noted", "1").out
    own = ["input: source/__record", f"topic = '{topic}'", "partition = 0", "offset = 1", "key = None"]
    assert all(one in map(str.strip, shown.splitlines()) for one in [*own, "value = b'no json'"]), shown
    assert "replayable: no, it is a record that could not be decoded" in shown
    refused = squall.done("dead", "replay", "noted", "1")
    assert refused.process.returncode == 1
    assert "letter 1 cannot be replayed: it is a record that could not be decoded" in refused.err


@pytest.mark.parametrize(("first", "expected"), [("latest", [3, 4]), ("earliest", [0, 1, 2, 3, 4])])
def test_where_a_partition_is_begun(noted: Noted, kafka: KafkaAddress, first: str, expected: list[int]) -> None:
    topic = kafka.topic("first")
    feed(kafka, topic, range(3))
    for group in (topic, None):  # None: the position is ours
        noted.forget()
        given = f"group={group!r}, first={first!r}, fields=('offset',), commit_every=0.2"
        run = noted.run(f"KafkaSpout({topic!r}, servers=SERVERS, {given})", name=f"first-{group is None}")
        wait_until(lambda run=run: metrics(run).get("partitions") == 1)
        if first == "latest" and group is not None:
            wait_until(lambda: committed(kafka, topic, topic) == {0: 3}, what="the end as begun")
        elif first == "latest":
            expected = [5, 6]
        feed(kafka, topic, range(2))
        rows = noted.wait(len(expected), run)
        ended(run)
        if first == "earliest" and group is None:
            assert rows[:5] == [[n] for n in range(5)]
        else:
            assert rows == [[n] for n in expected]


def test_a_pattern_finds_topics_that_come_later(noted: Noted, kafka: KafkaAddress) -> None:
    first = kafka.topic("seen")
    feed(kafka, first, ["a"])
    pattern = f"^{first}.*"
    given = f"pattern={pattern!r}, servers=SERVERS, refresh_every=0.5, fields=('topic','value')"
    spouts = {"group": f"KafkaSpout({given}, group={first!r})", "alone": f"KafkaSpout({given})"}
    runs = [noted.run(spout, name=name) for name, spout in spouts.items()]
    noted.wait(2, runs[0])
    later = kafka.topic(first + "-later")
    feed(kafka, later, ["b"])
    rows = noted.wait(4, runs[1])
    for run in runs:
        ended(run)
    assert sorted(rows) == [[first, "a"], [first, "a"], [later, "b"], [later, "b"]]


@pytest.mark.parametrize("group", [True, False])
def test_tasks_share_the_partitions_without_a_group(noted: Noted, kafka: KafkaAddress, group: bool) -> None:
    topic = kafka.topic("assigned", partitions=8)
    for number in range(8):
        feed(kafka, topic, range(50), partition=number)
    given = f"group={topic!r}, assigned=True" if group else "commit_every=0.2"
    spout = f"KafkaSpout({topic!r}, servers=SERVERS, {given})"
    run = noted.run(spout, parallelism=3)
    noted.wait(400, run)
    ended(run)
    for number in range(8):
        feed(kafka, topic, range(50, 53), partition=number)
    again = noted.run(spout, parallelism=3)
    noted.wait(424, again)
    ended(again)
    offsets = by_partition(noted.rows())
    assert {number: sorted(found) for number, found in offsets.items()} == {n: list(range(53)) for n in range(8)}
    if group:
        assert committed(kafka, topic, topic, 8) == dict.fromkeys(range(8), 53)


def test_gaps_of_transactions_and_of_compaction_are_stepped_over(noted: Noted, kafka: KafkaAddress) -> None:
    """STORM-2505, 2546, 2639: offsets that hold no record stopped commits."""
    topic = kafka.topic("gaps")
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": topic})
    producer.init_transactions(10)
    for number in range(6):
        producer.begin_transaction()
        producer.produce(topic, str(number))
        producer.flush(10)
        producer.abort_transaction(10) if number % 3 == 1 else producer.commit_transaction(10)
    run = noted.run(f"KafkaSpout({topic!r}, servers=SERVERS, group={topic!r}, value='text', fields=('offset','value'))")
    rows = noted.wait(4, run)
    wait_committed(kafka, topic, topic, 12)  # each transaction has a marker, the last one too
    wait_until(lambda: metrics(run).get("lag") == 0)
    ended(run)
    assert rows == [[0, "0"], [4, "2"], [6, "3"], [10, "5"]]


def test_a_wrong_topic_or_argument_ends_the_run(noted: Noted, kafka: KafkaAddress, squall: Squall) -> None:
    run = noted.run("KafkaSpout('nobody-has-this', servers=SERVERS)")
    assert run.end() == 1
    assert "kafka_topic_unknown" in run.out + run.err
    assert "nobody-has-this" in run.out + run.err


def test_a_wrong_password_ends_the_run_and_is_not_shown(noted: Noted, kafka: KafkaAddress, squall: Squall) -> None:
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "alice"}
    wrong = {**login, "sasl.password": "guessed-wrongly"}
    run = noted.run(f"KafkaSpout('t', servers={kafka.sasl_address!r}, options={wrong!r})")
    assert run.end() == 1
    told = run.out + run.err + "".join(path.read_text() for path in squall.state.rglob("*.log*"))
    assert "kafka_refused" in told
    assert "guessed-wrongly" not in told


def test_a_right_password_of_the_environment(
    noted: Noted, kafka: KafkaAddress, squall: Squall, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.topic("secret")
    feed(kafka, topic, ["in"])
    monkeypatch.setenv("KAFKA_PASSWORD", kafka.password)
    login = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": kafka.user,
        "sasl.password": "env:KAFKA_PASSWORD",
    }
    run = noted.run(f"KafkaSpout({topic!r}, servers={kafka.sasl_address!r}, options={login!r}, fields='value')")
    assert noted.wait(1, run) == [["in"]]
    ended(run)


@pytest.mark.servers
def test_a_broker_that_is_away_at_the_start_is_waited_for_and_told(noted: Noted) -> None:
    run = noted.run("KafkaSpout('t', servers='127.0.0.1:1', group='g')")
    wait_until(lambda: any("is not available" in error for error in errors(run)), what="the error")
    ended(run)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_that_come_and_go_lose_and_repeat_nothing(
    noted: Noted, kafka: KafkaAddress, squall: Squall, protocol: str
) -> None:
    """Partitions are given up when what is in flight of them has ended and is committed."""
    topic = kafka.topic("members", partitions=4)
    spout = f"KafkaSpout({topic!r}, servers=SERVERS, group={topic!r}, protocol={protocol!r})"
    for number in range(4):
        feed(kafka, topic, range(100), partition=number)
    first = noted.run(spout, name="first")
    noted.wait(400, first)
    second = noted.run(spout, name="second")

    def partitions(run: Running) -> float | None:
        return metrics(run).get("partitions")

    wait_until(lambda: partitions(second) == 2 and partitions(first) == 2, what="two partitions each")
    for number in range(4):
        feed(kafka, topic, range(100, 200), partition=number)
    noted.wait(800, second)
    ended(first)
    for number in range(4):
        feed(kafka, topic, range(200, 300), partition=number)
    noted.wait(1200, second)
    ended(second)
    offsets = by_partition(noted.rows())
    assert {number: sorted(found) for number, found in offsets.items()} == {n: list(range(300)) for n in range(4)}
    assert committed(kafka, topic, topic, 4) == dict.fromkeys(range(4), 300)


def test_at_most_once_and_none_try_nothing_again(noted: Noted, kafka: KafkaAddress) -> None:
    failing = """
    class Fails(Note):
        def process_batch(self, tuples: list[Tuple]):
            super().process_batch(tuples)
            raise ValueError("no")
    """
    for guarantee in ("at most once", "none"):
        noted.forget()
        topic = kafka.topic("once")
        feed(kafka, topic, range(200))
        given = f"group={topic!r}, guarantee={guarantee!r}, commit_every=0.2, fields=('offset',)"
        text = noted.text(f"KafkaSpout({topic!r}, servers=SERVERS, {given})", failing, name=guarantee.replace(" ", "-"))
        run = noted.squall.run(text.replace('bolt("note", Note)', 'bolt("note", Fails)'))
        noted.wait(200, run)
        wait_committed(kafka, topic, topic, 200)
        ended(run)
        assert noted.rows() == [[n] for n in range(200)]


def test_seek_while_it_runs(noted: Noted, kafka: KafkaAddress, squall: Squall) -> None:
    topic, now_s = kafka.topic("sought", partitions=2), time.time()
    for number in range(2):
        feed(kafka, topic, range(10), partition=number, timestamp=int(now_s * 1000) - 7_200_000)
        feed(kafka, topic, range(10), partition=number, timestamp=int(now_s * 1000))
    run = noted.run(f"KafkaSpout({topic!r}, servers=SERVERS, group={topic!r}, fields=('partition','offset'))")
    noted.wait(40, run)

    def seek(*arguments: str) -> str:
        noted.forget()
        done = squall.done("kafka", "seek", "noted", "source", *arguments)
        assert done.process.returncode == 0, done.err
        return done.out

    def records() -> float | None:
        return metrics(run).get("records")

    assert f"{topic}/1 goes on at offset 0" in seek("--to", "beginning")
    wait_until(lambda: records() == 80, what="all again")
    assert seek("--to", "offset:15", "--partition", "1") == f"{topic}/1 goes on at offset 15\n"
    wait_until(lambda: records() == 85, what="five again")
    assert f"{topic}/0 goes on at offset 10" in seek(
        "--to", f"time:{datetime.fromtimestamp(now_s - 3600, UTC).isoformat()}"
    )
    wait_until(lambda: records() == 105, what="the newer half again")
    assert f"{topic}/0 goes on at offset 20" in seek("--to", "end")
    wait_until(lambda: committed(kafka, topic, topic, 2) == {0: 20, 1: 20}, what="the end")
    for arguments, words in (
        (("source", "--to", "offset:99"), "has no offset 99"),
        (("source", "--to", "noon"), "is no place in a topic"),
        (("source", "--to", "end", "--partition", "7"), "no partition 7"),
        (("note", "--to", "end"), "answers no commands"),
        (("nobody", "--to", "end"), 'no component "nobody"'),
    ):
        refused = squall.done("kafka", "seek", "noted", *arguments)
        assert refused.process.returncode != 0
        assert words in refused.err
    ended(run)


@pytest.mark.servers
def test_too_much_uncommitted_pauses_a_partition_and_says_what_holds_it(noted: Noted, kafka: KafkaAddress) -> None:
    """STORM-2343: too much that is uncommitted stopped the spout for good, without a word."""
    topic = kafka.topic("held", partitions=2)
    for number in range(2):
        feed(kafka, topic, range(3000), partition=number)
    held = """
    class Holds(Bolt):
        manual_ack = True

        def open(self, context):
            self.held = None
            context.every(0.1, self.look)

        def process(self, tup: Tuple):
            if (tup["partition"], tup["offset"]) == (0, 5):
                self.held = tup
            else:
                self.ack(tup)

        def look(self):
            if self.held is not None and (HERE / "let-go").exists():
                self.ack(self.held)
                self.held = None
    """
    given = f"group={topic!r}, max_uncommitted=1000, commit_every=0.2, fields=('partition','offset')"
    text = noted.text(f"KafkaSpout({topic!r}, servers=SERVERS, {given})", held)
    run = noted.squall.run(text.replace('bolt("note", Note)', 'bolt("note", Holds)'))
    wait_until(lambda: committed(kafka, topic, topic, 2) == {0: 5, 1: 3000}, what="the other partition")
    wait_until(lambda: metrics(run).get("paused") == 1)
    wait_until(lambda: metrics(run).get("stalled") == 1, what="the stall")
    wait_until(lambda: errors(run), what="why")
    (Path(noted.squall.folder) / "let-go").touch()
    wait_until(lambda: committed(kafka, topic, topic, 2) == {0: 3000, 1: 3000}, what="the rest")
    wait_until(lambda: metrics(run).get("stalled") == 0)
    ended(run)
    assert "has not moved" in errors(run)[-1]
