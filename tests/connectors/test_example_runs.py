"""The example of each connector does on a real server what its first line says, and so does that of the README."""

from __future__ import annotations

import gzip
import json
import socket
import sqlite3
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import psycopg
import pytest
from pyarrow import parquet
from redis import Redis
from servers import KafkaAddress, PostgresqlAddress, RedisAddress, S3Address, fresh
from squall.connectors.catalogue import CONNECTORS

from tests.component.conftest import Running, Squall, free_port, squall, wait_until
from tests.docs.documents import blocks_of

from .kafka_places import ended, feed, read

__all__ = ["squall"]

URL = "redis://127.0.0.1:6379/0"
CODE = {one.example: one.code() for one in CONNECTORS}


class Examples:
    """Runs examples at addresses of this session."""

    def __init__(self, squall: Squall) -> None:
        self.squall = squall

    def run(self, name: str, *changes: tuple[str, str], **more: Any) -> Running:
        """Starts one; `changes` put an address in the place of another."""
        text = CODE[name]
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return self.squall.start("run", self.squall.file(text, f"{name}.py"), "--json", **more)


@pytest.fixture
def examples(squall: Squall) -> Examples:
    return Examples(squall)


def done(run: Running, acked: int) -> None:
    """Waits for the end of a run that ends by itself."""
    assert run.end() == 0, run.err[-3000:]
    assert run.summary()["acked"] == acked
    assert run.summary()["dead"] == 0


def printed(run: Running, *rows: str) -> None:
    """Waits until rows were printed, whatever stands between their values (with `--json` it goes to standard error)."""

    def lines() -> set[str]:
        return {" ".join(line.split()) for line in run.err.splitlines()}

    wait_until(lambda: set(rows) <= lines(), what=f"output of {rows}")


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listening(run: Running, port: int) -> None:
    """Waits until a run takes connections."""
    wait_until(lambda: run.process.poll() is None and is_open(port), what="a listening port")


@pytest.fixture
def own_db(redis: RedisAddress) -> Iterator[tuple[str, Any]]:
    """A database of Redis that other tests do not use: its url and a client."""
    url = f"redis://{redis.address}/9"
    connection = Redis.from_url(url)
    connection.flushdb()
    yield url, connection
    connection.flushdb()


def test_kafka_spout_counts_words_and_goes_on_where_it_was(examples: Examples, kafka: KafkaAddress) -> None:
    topic = kafka.topic("sentences")
    changes = (("localhost:9092", kafka.address), ('"sentences", servers', f'"{topic}", servers'))
    feed(kafka, topic, ["to be or not to be"])
    run = examples.run("kafka_spout", *changes)
    printed(run, "to 2", "not 1")
    ended(run)
    feed(kafka, topic, ["that is"])
    run = examples.run("kafka_spout", *changes)
    printed(run, "that 1", "is 1")
    assert ended(run)["acked"] == 1


def test_kafka_sink_writes_alarms_by_their_device(examples: Examples, kafka: KafkaAddress) -> None:
    topic = kafka.topic("alarms", partitions=3)
    done(
        examples.run("kafka_sink", ("localhost:9092", kafka.address), ('"alarms", servers', f'"{topic}", servers')),
        10_000,
    )
    places: dict[bytes, set[int]] = {}
    found = read(kafka, topic)
    for message in found:
        places.setdefault(message.key(), set()).add(message.partition())
    assert sorted(json.loads(message.value())["number"] for message in found) == list(range(10_000))
    assert {len(partitions) for partitions in places.values()} == {1}


def test_sql_sink_keeps_the_newest_price_in_a_file_and_on_a_server(
    examples: Examples, postgresql: PostgresqlAddress
) -> None:
    done(examples.run("sql_sink"), 10_000)
    with sqlite3.connect(examples.squall.folder / "prices.db") as database:
        assert database.execute("SELECT count(*), max(price) FROM prices").fetchone() == (50, 99.99)
    table = fresh("prices")
    changes = (("sqlite:///prices.db", postgresql.url), ('"prices", upsert', f'"{table}", upsert'))
    done(examples.run("sql_sink", *changes), 10_000)
    with psycopg.connect(postgresql.dsn) as server:
        assert server.execute(f"SELECT count(*), max(price) FROM {table}").fetchone() == (50, 99.99)


def test_sql_spout_shows_rows_that_are_there_and_those_that_come(examples: Examples) -> None:
    folder = ("gettempdir()", repr(str(examples.squall.folder)))
    run = examples.run("sql_spout", folder)
    printed(run, "1 door open", "2 lamp broken")
    with sqlite3.connect(examples.squall.folder / "squall-alarms.db") as database:
        database.execute("INSERT INTO alarms VALUES (3, 'fire')")
    printed(run, "3 fire")
    ended(run)
    run = examples.run("sql_spout", folder)
    with sqlite3.connect(examples.squall.folder / "squall-alarms.db") as database:
        database.execute("INSERT INTO alarms VALUES (4, 'water')")
    printed(run, "4 water")
    assert ended(run)["acked"] == 1


def test_sql_lookup_adds_names(examples: Examples) -> None:
    run = examples.run("sql_lookup", ("gettempdir()", repr(str(examples.squall.folder))))
    done(run, 100)
    printed(run, "0 Ann", "1 Bob", "3 None")


def test_redis_stream_sink_adds_entries(examples: Examples, own_db: tuple[str, Any]) -> None:
    url, redis = own_db
    done(examples.run("redis_stream_sink", (URL, url)), 1000)
    assert redis.xlen("readings") == 1000


def test_redis_stream_spout_adds_up_orders(examples: Examples, own_db: tuple[str, Any]) -> None:
    url, redis = own_db
    run = examples.run("redis_stream_spout", ("create=True", f"create=True, url={url!r}"))
    run.event("progress")
    for euros in ("3.50", "1.25"):
        redis.xadd("orders", {"article": "tea", "euros": euros})
    printed(run, "tea 4.75")
    ended(run)


def test_redis_store_keeps_last_readings_and_the_sensors(examples: Examples, own_db: tuple[str, Any]) -> None:
    url, redis = own_db
    changes = (('"at"])', f'"at"]), url={url!r}'), ('value="sensor")', f'value="sensor"), url={url!r}'))
    done(examples.run("redis_store", *changes), 1000)
    assert redis.hgetall("last:sensor-5") == {b"degrees": b"24.875", b"at": b"999"}
    assert redis.scard("sensors") == 7


def test_redis_lookup_adds_names_and_says_none_of_whom_nobody_knows(
    examples: Examples, own_db: tuple[str, Any]
) -> None:
    url, redis = own_db
    redis.hset("customer:c1", mapping={"name": "Ann", "city": "Ulm"})
    run = examples.run("redis_lookup", ("ttl=60", f"ttl=60, url={url!r}"))
    done(run, 10)
    printed(run, "1 Ann Ulm", "2 None None")


def test_store_file_sink_makes_parquet_objects_of_json_lines(
    examples: Examples, s3: S3Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_KEY", s3.key)
    monkeypatch.setenv("S3_SECRET", s3.secret)
    bucket, store = s3.bucket("orders"), fsspec.filesystem("s3", **s3.options)
    rows = "".join(json.dumps({"order": number, "euros": number / 2}) + "\n" for number in range(100))
    store.pipe(f"{bucket}/in/1.jsonl.gz", gzip.compress(rows.encode()))
    run = examples.run("store_file_sink", ("http://127.0.0.1:5000", s3.url), ("s3://orders/", f"s3://{bucket}/"))
    wait_until(lambda: run.events("progress") and run.events("progress")[-1]["emitted"] == 100, what="100 rows")
    assert ended(run)["acked"] == 100
    store.invalidate_cache()
    tables = [parquet.read_table(store.open(name)) for name in store.glob(f"{bucket}/out/*.parquet")]
    assert sorted(row["order"] for table in tables for row in table.to_pylist()) == [*range(100)]


def test_file_sink_writes_a_folder_a_country(examples: Examples) -> None:
    done(examples.run("file_sink"), 10_000)
    files = [*examples.squall.folder.glob("orders/*/*.csv")]
    assert {path.parent.name for path in files} == {"de", "fr", "pl"}
    lines = [line for path in files for line in path.read_text().splitlines()[1:]]
    assert sorted(int(line.partition(",")[0]) for line in lines) == [*range(10_000)]


def test_file_spout_counts_levels(examples: Examples) -> None:
    (examples.squall.folder / "logs").mkdir()
    (examples.squall.folder / "logs/a.log").write_text("INFO a\nERROR b\nINFO c\n")
    run = examples.run("file_spout")
    done(run, 3)
    printed(run, "INFO 2", "ERROR 1")


def test_http_spout_answers_when_an_order_is_processed(examples: Examples) -> None:
    port = free_port()
    run = examples.run("http_spout", ("127.0.0.1:8080", f"127.0.0.1:{port}"))
    listening(run, port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/orders", b'{"total": 9}', timeout=10) as answer:
        assert answer.status == 200
    printed(run, "{'total': 9}")
    ended(run)


def test_http_sink_posts_ten_alarms_at_a_time(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALARMS_TOKEN", "very-secret")
    posted: list[Any] = []

    class Alarms(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Authorization"] == "Bearer very-secret"
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Alarms) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = examples.run("http_sink", ("127.0.0.1:8081", f"127.0.0.1:{server.server_port}"))
        done(run, 100)
        server.shutdown()
    assert sorted(alarm["number"] for request in posted for alarm in request) == [*range(100)]
    assert "very-secret" not in run.out + run.err


def test_tcp_spout_counts_words(examples: Examples) -> None:
    port = free_port()
    run = examples.run("tcp_spout", ("127.0.0.1:9999", f"127.0.0.1:{port}"))
    listening(run, port)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"to be or not to be\n")
        printed(run, "to 2", "or 1")
    ended(run)


def test_tcp_sink_sends_readings(examples: Examples) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        run = examples.run("tcp_sink", ("127.0.0.1:9998", f"127.0.0.1:{server.getsockname()[1]}"))
        connection, _ = server.accept()
        with connection, connection.makefile() as lines:
            found = [json.loads(line) for line in lines]
    done(run, 1000)
    assert found[-1] == {"sensor": "sensor-5", "degrees": 24.875}
    assert len(found) == 1000


def test_unix_spout_shows_lines(examples: Examples) -> None:
    path = examples.squall.folder / "squall.sock"
    run = examples.run("unix_spout", ("/tmp/squall.sock", str(path)))
    wait_until(path.exists, what="a socket")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"hello\n")
    printed(run, "hello")
    ended(run)


def test_udp_spout_shows_log_lines(examples: Examples) -> None:
    port = free_port()
    run = examples.run("udp_spout", ("127.0.0.1:5140", f"127.0.0.1:{port}"))
    run.event("progress")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"<13>hello", ("127.0.0.1", port))
    printed(run, "<13>hello")
    ended(run)


def test_udp_sink_sends_counts(examples: Examples) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(30)
        run = examples.run("udp_sink", ("127.0.0.1:8125", f"127.0.0.1:{collector.getsockname()[1]}"))
        assert collector.recv(100) == b"orders:0|c"
        done(run, 1000)


def test_stdin_spout_shouts(examples: Examples) -> None:
    with subprocess.Popen(["echo", "hello"], stdout=subprocess.PIPE) as echo:
        run = examples.run("stdin_spout", stdin=echo.stdout)
        done(run, 1)
    printed(run, "HELLO")


def test_print_prints_squares(examples: Examples) -> None:
    run = examples.run("print")
    done(run, 10)
    printed(run, "9 81")


def test_every_example_was_run() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in CODE if f'examples.run("{name}"' not in text} == set()


def test_orders_of_the_readme_come_from_kafka_into_a_table(
    squall: Squall, kafka: KafkaAddress, postgresql: PostgresqlAddress
) -> None:
    [code] = [block.code for block in blocks_of("README.md") if "KafkaSpout" in block.code]
    assert len(code.splitlines()) < 30
    topic, table = kafka.topic("orders"), fresh("orders")
    code = code.replace('"orders", servers', f'"{topic}", servers').replace('"orders", upsert', f'"{table}", upsert')
    orders = [{"id": f"o{number}", "article": "tea", "pieces": number, "euros": 0.5} for number in range(10)]
    feed(kafka, topic, [*map(json.dumps, orders), "no order", json.dumps(orders[3] | {"pieces": 100})])
    file = squall.file(code)
    run = squall.start("run", file, "--json", "-p", f"kafka={kafka.address}", "-p", f"url={postgresql.url}")
    wait_until(lambda: run.events("progress") and run.events("progress")[-1]["acked"] >= 11, what="11 orders")
    assert ended(run)["dead"] == 1
    with psycopg.connect(postgresql.dsn) as server:
        rows = server.execute(f"SELECT id, total FROM {table} ORDER BY id").fetchall()
    assert rows == [(f"o{number}", 50.0 if number == 3 else number / 2) for number in range(10)]
