"""Handover alarms, all of it: starts Kafka, PostgreSQL and the topology, feeds them, shows and checks what comes out.

Usage: python examples/scenarios/run_telecom.py [--records 60000] [--senders 16] [--rate 6000]

While records come PostgreSQL is stopped for a moment: the senders feel it, and nothing is lost.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from statistics import quantiles
from typing import Any

from squall.connectors.tcp import Fixed, TcpFeeder
from stage import Kafka, Postgresql, Run, Stage, free_port
from telecom import ALARM_FROM, FAILED, RADIO_CAUSES, RECORD, WINDOW_MS, Handover

SUBSCRIBERS, TROUBLED = 1_000_000, 20
LASTS_MS = 20 * 60 * 1000
BEGAN_MS = 1_767_225_600_000
STOPPED_S = 3.0
FILLING = (*[b"column"] * 141, b".")


def packed(event: Handover) -> bytes:
    """A record as a probe sends it."""
    return RECORD.pack(event.imsi, event.serial, event.at_ms, 0, event.cell, event.cause, event.status, 1, *FILLING)


def events(count: int, random: Random) -> list[Handover]:
    """Handovers of 20 minutes; many of them are of few subscribers, who are in trouble."""
    made: list[Handover] = []
    for serial in range(count):
        imsi = random.randrange(TROUBLED) if random.random() < 0.3 else random.randrange(SUBSCRIBERS)
        at_ms = BEGAN_MS + serial * LASTS_MS // count
        status = FAILED if random.random() < 0.5 else 1
        made.append(Handover(imsi, serial, at_ms, random.randrange(5000), random.randrange(90, 120), status))
    return made


def expected(made: Sequence[Handover]) -> dict[int, int]:
    """The alarms that must come, by serial number: how many failures, counted in the plainest way."""
    seen, alarms = defaultdict[int, list[int]](list), dict[int, int]()
    for event in made:
        if event.status == FAILED and event.cause in RADIO_CAUSES:
            seen[event.imsi].append(event.at_ms)
            count = sum(then_ms > event.at_ms - WINDOW_MS for then_ms in seen[event.imsi])
            if count >= ALARM_FROM:
                alarms[event.serial] = count
    return alarms


class Probes:
    """Senders with a connection each; those of a subscriber come from one, in their order."""

    def __init__(self, address: str, made: Sequence[Handover], senders: int, rate_per_s: float) -> None:
        self.sent_s: dict[int, float] = {}
        self._feeders = [TcpFeeder(address, framing=Fixed(RECORD.size), window_records=200) for _ in range(senders)]
        parts = [[event for event in made if event.imsi % senders == number] for number in range(senders)]
        pause_s = senders / rate_per_s
        self._threads = [
            threading.Thread(target=self._feed, args=(feeder, part, pause_s), daemon=True)
            for feeder, part in zip(self._feeders, parts, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _feed(self, feeder: TcpFeeder, part: Sequence[Handover], pause_s: float) -> None:
        due_s = time.monotonic()
        for event in part:
            due_s = max(due_s + pause_s, time.monotonic() - 0.1)  # what was held up is not made up for at once
            time.sleep(max(0.0, due_s - time.monotonic()))
            self.sent_s[event.serial] = time.monotonic()
            feeder.send(packed(event))

    @property
    def ended(self) -> int:
        """Records that the topology has said to have ended."""
        return sum(feeder.receipted for feeder in self._feeders)

    @property
    def is_done(self) -> bool:
        """Whether all were sent."""
        return not any(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Waits until all have ended."""
        for feeder in self._feeders:
            feeder.flush(timeout=60)
            feeder.close()


class Listener:
    """Who listens to alarms: when each came."""

    def __init__(self, address: str, topic: str) -> None:
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        options = {"bootstrap.servers": address, "group.id": "operators", "fetch.wait.max.ms": 5}
        self._consumer = Consumer(options)
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        self.came_s: dict[int, float] = {}
        self.alarms: dict[int, dict[str, Any]] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._is_over.is_set():
            for message in self._consumer.consume(500, 0.05):
                if message.error() is None:
                    alarm = json.loads(message.value())
                    self.came_s.setdefault(alarm["serial"], time.monotonic())
                    self.alarms[alarm["serial"]] = alarm

    def close(self) -> None:
        """Listens no more."""
        self._is_over.set()
        self._thread.join()
        self._consumer.close()


def play(stage: Stage, count: int, senders: int, rate_per_s: float) -> None:
    """The whole scenario."""
    stage.say(f"making {count:,} records of {RECORD.size} bytes")
    made = events(count, Random(7))
    alarms = expected(made)
    kafka, postgresql = stage.server(Kafka), stage.server(Postgresql)
    topic, address = kafka.topic("alarms"), f"127.0.0.1:{free_port()}"
    run = stage.run("telecom.py", listen=address, kafka=kafka.address, topic=topic, postgresql=postgresql.url)
    listener = Listener(kafka.address, topic)
    probes = Probes(address, made, senders, rate_per_s)
    stage.say(f"{senders} senders begin, {rate_per_s:,.0f} records a second")
    stood_still, stopped_s = _feed(stage, run, probes, listener, postgresql, count)
    probes.close()
    run.until(lambda: len(listener.alarms) >= len(alarms), "the last alarm")
    summary = run.stop()
    listener.close()
    _judge(stage, summary, listener, rows(postgresql.dsn), alarms, count)
    stage.check("senders stood still while PostgreSQL did not answer, and went on then", True, stood_still)
    took = [1000 * (came_s - probes.sent_s[serial]) for serial, came_s in listener.came_s.items() if came_s < stopped_s]
    percentiles = quantiles(took, n=100)
    stage.say(
        f"from a record to its alarm, before the stop: p50 {percentiles[49]:.1f} ms, p99 {percentiles[98]:.1f} ms"
    )


def _feed(
    stage: Stage, run: Run, probes: Probes, listener: Listener, postgresql: Postgresql, count: int
) -> tuple[bool, float]:
    """Shows how it goes, and stops PostgreSQL once: whether the senders stood still then, and when that began."""
    stood_still, stopped_s = False, 0.0
    while not probes.is_done:
        time.sleep(1)
        ended = probes.ended
        stage.say(f"records sent {len(probes.sent_s):,}, ended {ended:,}; alarms heard {len(listener.alarms):,}")
        if not stopped_s and ended > count // 2:
            stage.say(f"PostgreSQL is stopped for {STOPPED_S:.0f} s")
            stopped_s = time.monotonic()
            postgresql.suspend()
            time.sleep(STOPPED_S - 0.5)
            before = len(probes.sent_s)
            time.sleep(0.5)
            stood_still = before == len(probes.sent_s) < count
            stage.say(f"records sent {len(probes.sent_s):,}, ended {probes.ended:,}; PostgreSQL goes on")
            postgresql.resume()
        assert run.process.poll() is None, "squall runs"
    return stood_still, stopped_s


def rows(dsn: str) -> dict[int, int]:
    """The alarms in the database."""
    import psycopg

    with psycopg.connect(dsn) as database:
        return dict(database.execute("SELECT serial, failures FROM alarms").fetchall())


def _judge(
    stage: Stage,
    summary: dict[str, Any],
    listener: Listener,
    stored: dict[int, int],
    alarms: dict[int, int],
    count: int,
) -> None:
    heard = {serial: alarm["failures"] for serial, alarm in listener.alarms.items()}
    stage.check(f"{count:,} records ended, none was lost", count, summary["acked"])
    stage.check("no dead letters", 0, summary["dead"])
    stage.check(f"{len(alarms):,} alarms in Kafka, each with its count", True, heard == alarms)
    stage.check(f"{len(alarms):,} rows in PostgreSQL, each with its count", True, stored == alarms)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--senders", type=int, default=16)
    parser.add_argument("--rate", type=float, default=6_000, help="records a second, of all senders")
    options = parser.parse_args()
    with Stage() as stage:
        play(stage, options.records, options.senders, options.rate)
        return 0 if stage.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
