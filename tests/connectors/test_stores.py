"""Files of stores, read and written: S3 as moto emulates it, HDFS on real daemons, fsspec's memory."""

from __future__ import annotations

import gzip
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from servers import S3, Hdfs, S3Address
from squall import Bolt, Topology
from squall.connectors.contract import Unavailable
from squall.connectors.files import Csv, FileSink, FileSpout, JsonLines, Parquet, Rotation
from squall.connectors.files.reading.remote import Objects
from squall.connectors.files.store_sink import StoreFileSink
from squall.connectors.files.stores import Store, check_one_store, without_login
from squall.errors import ConfigError, StateError, TopologyError
from squall.runtime.failures import traceback_text
from squall.testing import LocalCluster

from tests.component.conftest import Squall, squall, wait_until

from .redis_places import Keep, rows_of, run_until

__all__ = ["squall"]
FIELDS = ["n", "name"]
ROWS = [(n, f"name {n}") for n in range(1000)]


@dataclass
class Place:
    """A folder of a store: its address, and a client of the test's own."""

    address: str
    fs: Any
    path: str
    storage: dict[str, Any] = field(default_factory=dict[str, Any])

    def names(self) -> list[str]:
        """The names of the files that are seen, those in folders too."""
        self.fs.invalidate_cache()
        found = [path.removeprefix(f"{self.path}/") for path in self.fs.find(self.path)]
        return sorted(name for name in found if not name.rpartition("/")[2].startswith("."))

    def write(self, name: str, data: bytes) -> None:
        self.fs.pipe_file(f"{self.path}/{name}", data)

    def read(self) -> bytes:
        """All that files hold, one after the other."""
        return b"".join(self.fs.cat_file(f"{self.path}/{name}") for name in self.names())


@pytest.fixture(params=["memory", "s3", pytest.param("webhdfs", marks=pytest.mark.servers)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "memory":
        name = uuid4().hex
        yield Place(f"memory://{name}", fsspec.filesystem("memory"), f"/{name}")
    elif request.param == "s3":
        yield s3_place(request.getfixturevalue("s3"))
    else:
        hdfs = request.getfixturevalue("hdfs")
        name = uuid4().hex
        fs = fsspec.filesystem("webhdfs", **hdfs.options)
        fs.makedirs(f"/{name}")
        yield Place(f"{hdfs.url}/{name}", fs, f"/{name}", {"user": hdfs.user})


def s3_place(s3: S3Address) -> Place:
    bucket = s3.bucket()
    fs = fsspec.filesystem("s3", **s3.options, use_listings_cache=False, skip_instance_cache=True)
    return Place(f"s3://{bucket}/data", fs, f"{bucket}/data", dict(s3.options))


def reading(spout: FileSpout, positions: dict[str, Any] | None = None) -> LocalCluster:
    topology = Topology("reading")
    topology.bolt("keep", Keep()).shuffle(topology.spout("files", spout))
    return LocalCluster(topology, simulated_time=False, positions=positions or {})


def writing(sink: Bolt, rows: list[Any] = ROWS, fields: Any = FIELDS) -> LocalCluster:
    topology = Topology("writing")
    topology.bolt("sink", sink).shuffle(topology.spout("rows", lambda: iter(()), outputs=fields))
    return LocalCluster(topology, mock_sources={"rows": rows}, simulated_time=False)


# -- read --------------------------------------------------------------------------------------------------------------


def test_objects_are_read_in_their_order(place: Place) -> None:
    place.write("in/1.jsonl", b'{"n": 1}\n{"n": 2}\n')
    place.write("in/2.jsonl.gz", gzip.compress(b'{"n": 3}\n'))
    place.write("in/.3.jsonl", b'{"n": 4}\n')
    place.write("other/4.jsonl", b'{"n": 5}\n')
    spout = FileSpout(f"{place.address}/in/*", format=JsonLines(fields=["n"]), storage=place.storage)
    with reading(spout) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) >= 3, "3 rows")
        assert rows_of(cluster) == [(1,), (2,), (3,)]


def test_parquet_and_headers_are_read(place: Place) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": list(range(5000)), "name": ["a"] * 5000}), sink, row_group_size=1000)
    place.write("a.parquet", sink.getvalue().to_pybytes())
    place.write("a.csv", b"n,name\n1,x\n")
    with reading(FileSpout(f"{place.address}/a.parquet", format=Parquet(), storage=place.storage)) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) >= 5000, "5000 rows")
        assert rows_of(cluster) == [(n, "a") for n in range(5000)]
    with reading(FileSpout(f"{place.address}/a.csv", format=Csv(), storage=place.storage)) as cluster:
        run_until(cluster, lambda: rows_of(cluster), "a row")
        assert rows_of(cluster) == [("1", "x")]


def test_a_run_goes_on_where_the_last_one_stopped_and_a_changed_object_is_told(place: Place) -> None:
    place.write("1.txt", b"a\nb\n")
    place.write("2.txt", b"c\n")
    given: dict[str, Any] = {"follow": True, "look_every": 0.1, "storage": place.storage}
    with reading(FileSpout(f"{place.address}/*.txt", **given)) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) == 3, "3 rows")
        place.write("3.txt", b"d\n")
        run_until(cluster, lambda: len(rows_of(cluster)) == 4, "a new object")
        cluster.run_until_idle()
        position = cluster.position("files")
    time.sleep(1.1)  # where a version is the time of a change, that has whole seconds
    place.write("2.txt", b"c2\nc3\n")
    with reading(FileSpout(f"{place.address}/*.txt", **given), {"files": position}) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) == 2, "the changed object")
        assert rows_of(cluster) == [("c2",), ("c3",)]
        assert "2.txt" in str(cluster.errors())
        assert "has changed" in str(cluster.errors())


def test_nothing_there_is_an_error_when_it_opens(place: Place) -> None:
    with pytest.raises(StateError, match="file_not_found"):
        reading(FileSpout(f"{place.address}/none/*.txt", storage=place.storage)).__enter__()
    place.write("in/a.txt", b"a\n")
    with pytest.raises(StateError, match="is a folder"):
        reading(FileSpout(f"{place.address}/in", storage=place.storage)).__enter__()


# -- written -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("part.jsonl", {"format": JsonLines()}),
        ("part.jsonl.gz", {"format": JsonLines()}),
        ("part.parquet", {"format": Parquet()}),
    ],
)
def test_rows_are_acked_when_their_file_is_there(place: Place, name: str, options: dict[str, Any]) -> None:
    sink = FileSink(
        f"{place.address}/out/{name}", rotate=Rotation(rows=600, idle=0.5), storage=place.storage, **options
    )
    with writing(sink) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 600, "the first file")
        assert len(place.names()) == 1
        run_until(cluster, lambda: len(cluster.acked("rows")) == 1000, "the second file")
    assert len(place.names()) == 2
    suffix = name.removeprefix("part")
    format = Parquet() if "parquet" in name else JsonLines(fields=FIELDS)
    with reading(FileSpout(f"{place.address}/out/*{suffix}", format=format, storage=place.storage)) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) >= 1000, "all rows")
        assert rows_of(cluster) == ROWS


def test_rows_are_parted_by_fields(place: Place) -> None:
    rows = [("de", 1), ("fr", 2), ("de", 3)]
    sink = FileSink(
        f"{place.address}/{{country}}/part.csv", format=Csv(), rotate=Rotation(idle=0.2), storage=place.storage
    )
    with writing(sink, rows, ["country", "n"]) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 3, "all rows")
    assert [name.partition("/")[0] for name in place.names()] == ["de", "fr"]
    assert b"de,1\nde,3\n" in place.read().replace(b"\r", b"")


def test_what_is_held_is_bounded(place: Place) -> None:
    sink = FileSink(f"{place.address}/part.txt", held_max=100, rotate=Rotation(idle=60), storage=place.storage)
    with writing(sink, ROWS[:250]) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) >= 200, "two files")
        assert len(place.names()) >= 2


RUN = """
    import time
    from squall import Topology
    from squall.connectors.files import FileSink, Rotation

    def numbers():
        for n in range({count}):
            yield n
            if n % 100 == 0:
                time.sleep({pause})

    topology = Topology("writing")
    source = topology.spout("numbers", numbers, outputs=("n",))
    sink = FileSink({address!r}, rotate=Rotation(rows={rows}, idle=60), storage={storage!r})
    topology.bolt("sink", sink).shuffle(source)
"""


def test_end_of_a_run_finishes_all_files_at_once(s3: S3Address, squall: Squall) -> None:
    place = s3_place(s3)
    address = f"{place.address}/part.txt"
    run = squall.run(RUN.format(count=1500, pause=0, address=address, rows=1000, storage=place.storage))
    assert run.end() == 0
    assert run.summary()["acked"] == 1500
    assert place.read().split() == [b"%d" % n for n in range(1500)]
    assert b"squall-secret" not in (run.out + run.err).encode()


def test_killed_worker_leaves_no_half_file_and_its_rows_come_again(s3: S3Address, squall: Squall) -> None:
    place = s3_place(s3)
    address = f"{place.address}/part.txt"
    run = squall.run(RUN.format(count=6000, pause=0.05, address=address, rows=1000, storage=place.storage))
    pid = run.worker_pid()
    wait_until(place.names, what="the first file")
    os.kill(pid, signal.SIGKILL)
    assert run.end(60) == 0
    assert set(place.read().split()) == {b"%d" % n for n in range(6000)}
    assert all(len(place.fs.cat_file(f"{place.path}/{name}").split()) == 1000 for name in place.names()[:-2])


def test_a_call_waits_for_the_store_while_that_is_asked_and_not_while_it_encodes(
    s3: S3Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Semantics 16. When it opens, and for each file; what is left by an exception waits no more."""
    said = list[tuple[str, str]]()
    sinks = list[StoreFileSink]()

    def spy(name: str) -> None:
        original = getattr(StoreFileSink, name)

        def spied(self: StoreFileSink, *args: Any) -> Any:
            said.append((name, self.waits_for()))
            sinks.append(self)
            return original(self, *args)

        monkeypatch.setattr(StoreFileSink, name, spied)

    for name in ("_check", "_add", "_sealed", "_upload"):
        spy(name)
    place = s3_place(s3)
    sink = FileSink(f"{place.address}/part.txt.gz", rotate=Rotation(rows=1000), storage=place.storage)
    with writing(sink) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 1000, "all rows")
    asks = {"_check": place.address, "_add": "", "_sealed": "", "_upload": place.address}
    assert set(said) == set(asks.items())
    assert sinks[-1].waits_for() == ""
    with pytest.raises(ConfigError, match="file_store_refused"):
        writing(FileSink("s3://no-such-bucket/part.txt", storage=place.storage)).__enter__()
    assert said[-1] == ("_check", "s3://no-such-bucket")
    assert sinks[-1].waits_for() == ""


# -- faults ------------------------------------------------------------------------------------------------------------


def test_wrong_bucket_and_secret_are_errors_when_it_opens(s3: S3Address) -> None:
    storage = dict(s3.options)
    with pytest.raises(ConfigError, match="file_store_refused"):
        writing(FileSink("s3://no-such-bucket/part.txt", storage=storage)).__enter__()
    with pytest.raises(ConfigError, match="file_store_refused"):
        reading(FileSpout("s3://no-such-bucket/*.txt", storage=storage)).__enter__()
    with pytest.raises(ConfigError, match="secret_missing"):
        writing(FileSink("s3://b/part.txt", storage={**storage, "secret": "env:NO_SUCH"})).__enter__()


def test_wrong_secret_is_an_error_when_it_opens_and_never_shown(own_s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    place = s3_place(own_s3)
    monkeypatch.setenv("STORE_SECRET", "hush-hush-hush")
    storage = {**place.storage, "secret": "env:STORE_SECRET"}
    address = f"{own_s3.url}/moto-api/reset-auth"
    request = urllib.request.Request(address, data=b"0", headers={"content-type": "text/plain"}, method="POST")
    urllib.request.urlopen(request, timeout=10).close()
    sink = FileSink(f"{place.address}/part.txt", storage=storage)
    spout = FileSpout(f"{place.address}/*.txt", storage=storage)
    for opens in (lambda: writing(sink), lambda: reading(spout)):
        with pytest.raises(ConfigError, match="file_store_refused") as caught:
            opens().__enter__()
        assert "hush" not in str(caught.value)
    assert "hush" not in repr((vars(sink), vars(spout)))


def test_storage_of_no_use_is_refused() -> None:
    for make in (
        lambda: FileSink("out.txt", storage={"key": "a"}),
        lambda: FileSink("s3://b/out.txt", storage="secret-secret"),  # pyright: ignore[reportArgumentType]
        lambda: FileSpout(["a.txt", "s3://b/a.txt"]),
        lambda: FileSink("s3://b/out.txt", held_max=0),
    ):
        with pytest.raises(TopologyError, match="file_option") as caught:
            make()
        assert "secret-secret" not in str(caught.value)


def test_uploads_that_were_killed_are_removed_and_those_of_others_are_not(s3: S3Address) -> None:
    place = s3_place(s3)
    bucket = place.path.partition("/")[0]
    for key in ("data/part-20260101T000000000-0.txt", "data/part-20260101T000000000-1.txt", "data/other.txt"):
        place.fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    with writing(FileSink(f"{place.address}/part.txt", storage=place.storage), []):
        left = place.fs.call_s3("list_multipart_uploads", Bucket=bucket)["Uploads"]
    assert sorted(upload["Key"] for upload in left) == ["data/other.txt", "data/part-20260101T000000000-1.txt"]


@pytest.mark.servers
def test_large_file_is_uploaded_in_parts(s3: S3Address) -> None:
    place = s3_place(s3)
    rows = [(n, "x" * 1_000_000) for n in range(40)]
    sink = FileSink(f"{place.address}/part.txt", rotate=Rotation(rows=40), storage=place.storage)
    with writing(sink, rows) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) == 40, "all rows")
    (name,) = place.names()
    assert "-" in place.fs.info(f"{place.path}/{name}")["ETag"], "an ETag of parts"
    assert len(place.read()) == sum(len(text) + len(str(n)) + 2 for n, text in rows)


def disturbed(server: S3) -> threading.Thread:
    def act() -> None:
        server.suspend()
        threading.Event().wait(4)
        server.resume()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.servers
@pytest.mark.parametrize("disturb", ["kill", "suspend"])
def test_hdfs_that_dies_or_is_silent_is_waited_for(own_hdfs: Hdfs, disturb: str) -> None:
    """For 30 s, both its daemons: nothing is lost, nothing fails, and no half file is ever seen."""
    fs = fsspec.filesystem("webhdfs", **own_hdfs.options)
    place = Place(f"{own_hdfs.url}/data", fs, "/data", {"user": own_hdfs.user})
    rows = [(n, f"name {n}") for n in range(6000)]

    def act() -> None:
        if disturb == "kill":
            own_hdfs.kill()
            own_hdfs.start()
        else:
            own_hdfs.suspend()
            threading.Event().wait(30)
            own_hdfs.resume()

    sink = FileSink(f"{place.address}/part.txt", rotate=Rotation(rows=100), storage=place.storage)
    with writing(sink, rows) as cluster:
        thread = threading.Thread(target=act)
        run_until(cluster, lambda: len(cluster.acked("rows")) >= 500, "the first files", 60)
        thread.start()
        run_until(cluster, lambda: len(cluster.acked("rows")) == 6000, "all rows", 120)
        thread.join()
        assert cluster.failed("rows") == cluster.dead_letters() == []
    assert sorted(place.read().split(b"\n"))[1:] == sorted(b"%d\tname %d" % (n, n) for n, _ in rows)
    thread = threading.Thread(target=act)
    with reading(FileSpout(f"{place.address}/*.txt", storage=place.storage)) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) >= 100, "the first rows", 60)
        thread.start()
        run_until(cluster, lambda: len(rows_of(cluster)) >= 6000, "all rows", 120)
        thread.join()
        assert cluster.dead_letters() == []
        assert len(rows_of(cluster)) == 6000


@pytest.mark.servers
def test_store_that_is_silent_is_waited_for(own_s3: S3) -> None:
    """Longer than a request may take: nothing is lost, and nothing fails."""
    place = s3_place(own_s3)
    storage = {
        **place.storage,
        "config_kwargs": {"connect_timeout": 1, "read_timeout": 1, "retries": {"max_attempts": 1}},
    }
    sink = FileSink(f"{place.address}/part.txt", rotate=Rotation(rows=100), storage=storage)
    with writing(sink) as cluster:
        thread = disturbed(own_s3)
        run_until(cluster, lambda: len(cluster.acked("rows")) == 1000, "all rows", 60)
        thread.join()
        assert cluster.failed("rows") == cluster.dead_letters() == []
    assert sorted(place.read().decode().split("\n")) == ["", *sorted(f"{n}\t{name}" for n, name in ROWS)]
    spout = FileSpout(f"{place.address}/*.txt", storage=storage)
    with reading(spout) as cluster:
        thread = disturbed(own_s3)
        run_until(cluster, lambda: len(rows_of(cluster)) >= 1000, "all rows", 60)
        thread.join()
        assert cluster.dead_letters() == []
        assert len(rows_of(cluster)) == 1000


def test_what_a_client_raises_is_shown_without_secrets_its_traceback_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """WebHDFS has its token in the address that a lost connection is told with."""
    monkeypatch.setenv("STORE_TOKEN", "hush-hush-hush")
    client = Store.of("FileSink", "memory://out/part.txt", {"token": "env:STORE_TOKEN"}).connect("FileSink")

    def lost() -> None:
        raise ConnectionError("http://namenode/out?delegation=hush-hush-hush cannot be reached")

    with pytest.raises(Unavailable, match=r"delegation=\*\*\* cannot be reached") as caught:
        client.call(lost)
    assert "hush" not in traceback_text(caught.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sftp://me:hush@host/in/a@b.csv", "sftp://host/in/a@b.csv"),
        ("s3://bucket/a@b.csv", "s3://bucket/a@b.csv"),
        ("/in/a@b.csv", "/in/a@b.csv"),
    ],
)
def test_an_address_is_shown_without_its_login(address: str, shown: str) -> None:
    assert without_login(address) == shown
    with pytest.raises(TopologyError, match="make it") as caught:
        check_one_store("FileSpout", (address, "memory://in/b.csv", "/in/c.csv"), None)
    assert "hush" not in str(caught.value)


def test_no_object_that_matches_is_told_without_a_login() -> None:
    objects = Objects(Store.of("FileSpout", "memory://me:hush@in/*.csv", None))
    with pytest.raises(StateError, match=r'no object matches "memory://in/\*\.csv"'):
        objects.check_patterns(["memory://me:hush@in/*.csv"], follow=False)
