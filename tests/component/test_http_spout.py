"""`HttpSpout` in real runs, with real clients."""

from __future__ import annotations

import os
import signal
import ssl
import threading
from collections.abc import Iterator

import httpx
import pytest
import trustme

from .conftest import NO_SECOND_LIFE, Running, Squall, wait_until

TOPOLOGY = """
    import os, time
    from squall import Topology
    from squall.connectors.files import FileSink
    from squall.connectors.http import HttpSpout
    from squall.connectors.tcp import Tls

    def careful(record: str) -> str:
        if record == "bad":
            raise ValueError("it is bad")
        while os.path.exists("wait"):
            open("waits", "w").close()
            time.sleep(0.01)
        return record

    topology = Topology("receiving")
    records = topology.spout("records", HttpSpout.listen("127.0.0.1:0", {options}))
    taken = topology.bolt("careful", careful, outputs=("record",), retries=0).shuffle(records)
    topology.bolt("file", FileSink("out")).shuffle(taken)
"""


def url_of(run: Running) -> str:
    return f"http://{run.event('started')['listening']['records']}/"


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=20, trust_env=False) as client:
        yield client


def posted(client: httpx.Client, url: str, text: str) -> httpx.Response:
    return client.post(url, content=text, headers={"content-type": "text/plain"})


def lines(squall: Squall) -> list[str]:
    path = squall.folder / "out"
    return path.read_text().splitlines() if path.exists() else []


def test_records_come_in_and_a_run_that_ends_keeps_what_it_answered_for(squall: Squall, client: httpx.Client) -> None:
    """Interrupted while the topology is behind: what was answered by 202 and waits in the queue is processed too."""
    run = squall.run(TOPOLOGY.format(options=""))
    url = url_of(run)
    assert posted(client, url, "first").status_code == 202
    wait_until(lambda: lines(squall) == ["first"], what="the first record")
    (squall.folder / "wait").touch()
    answers = [posted(client, url, "\n".join(f"{n}-{i}" for i in range(500))) for n in range(8)]
    assert {answer.status_code for answer in answers} == {202}
    run.interrupt()
    wait_until(lambda: "draining" in run.out, what="the drain")
    (squall.folder / "wait").unlink()
    assert run.end() == 0
    assert sorted(lines(squall)) == sorted(["first", *(f"{n}-{i}" for n in range(8) for i in range(500))])
    assert run.summary()["acked"] == 4001


def test_processed_receipts_wait_for_the_ends_of_all_records(squall: Squall, client: httpx.Client) -> None:
    run = squall.run(TOPOLOGY.format(options='receipts="processed"'))
    url = url_of(run)
    assert posted(client, url, "one\ntwo\nbad\n").json() == {"records": 3, "dead": 1}
    assert lines(squall) == ["one", "two"]
    (squall.folder / "wait").touch()
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(posted(client, url, "three")))
    waiting.start()
    wait_until((squall.folder / "waits").exists, what="the request")
    run.interrupt()
    assert answers == []
    (squall.folder / "wait").unlink()
    waiting.join()
    assert answers[0].json() == {"records": 1, "dead": 0}
    assert run.end() == 0
    assert lines(squall) == ["one", "two", "three"]


def test_a_topology_that_is_behind_answers_busy_and_takes_again_later(squall: Squall, client: httpx.Client) -> None:
    (squall.folder / "wait").touch()
    run = squall.run(TOPOLOGY.format(options="max_queued=10"), "-c", "topology.max.spout.pending=5")
    url = url_of(run)
    taken: list[str] = []

    def is_busy() -> bool:
        answer = posted(client, url, str(len(taken)))
        taken.extend([str(len(taken))] if answer.status_code == 202 else [])
        return answer.status_code == 503 and answer.headers["retry-after"] == "1"

    wait_until(is_busy, what="an answer of 503")
    assert len(taken) <= 5 + 10
    (squall.folder / "wait").unlink()
    wait_until(lambda: posted(client, url, "later").status_code == 202, what="room")
    run.interrupt()
    assert run.end() == 0
    assert set(lines(squall)) == {*taken, "later"}


def test_a_worker_that_is_killed_answers_nothing_so_that_clients_send_again(
    squall: Squall, client: httpx.Client
) -> None:
    (squall.folder / "wait").touch()
    run = squall.run(TOPOLOGY.format(options='receipts="processed"'), *NO_SECOND_LIFE)
    url = url_of(run)
    errors: list[httpx.HTTPError] = []

    def post() -> None:
        try:
            posted(client, url, "one")
        except httpx.HTTPError as error:
            errors.append(error)

    waiting = threading.Thread(target=post)
    waiting.start()
    wait_until((squall.folder / "waits").exists, what="the request")
    os.kill(run.worker_pid(), signal.SIGKILL)
    waiting.join()
    assert len(errors) == 1
    assert run.end() == 1


TLS = 'tls=Tls("server.pem", "server.key", client_ca="ca.pem")'


@pytest.fixture
def authority(squall: Squall) -> trustme.CA:
    """Whose certificates are in the folder of the run."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(squall.folder / "ca.pem"))
    issued.private_key_pem.write_to_path(str(squall.folder / "server.key"))
    for certificate in issued.cert_chain_pems:
        certificate.write_to_path(str(squall.folder / "server.pem"), append=True)
    return authority


def test_encrypted_requests_come_from_clients_with_a_certificate_only(squall: Squall, authority: trustme.CA) -> None:
    run = squall.run(TOPOLOGY.format(options=f'{TLS}, receipts="processed"'))
    url = url_of(run).replace("http:", "https:")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with httpx.Client(timeout=20, trust_env=False, verify=context) as nobody, pytest.raises(httpx.TransportError):
        posted(nobody, url, "no")
    authority.issue_cert("client").configure_cert(context)
    with httpx.Client(timeout=20, trust_env=False, verify=context) as client:
        assert posted(client, url, "one\ntwo").json() == {"records": 2, "dead": 0}
        assert f"'a record' {url}" in client.get(url).text
    run.interrupt()
    assert run.end() == 0
    assert lines(squall) == ["one", "two"]


@pytest.mark.usefixtures("authority")
@pytest.mark.parametrize("named", ["missing.pem", "ca.pem"], ids=["no file", "no key"])
def test_files_that_tls_cannot_use_are_named(squall: Squall, named: str) -> None:
    run = squall.run(TOPOLOGY.format(options=TLS.replace("server.key", named)))
    assert run.end() == 1
    assert "code: tls_unusable" in run.err
    assert f"{named}: " in run.err


def test_a_record_that_is_dropped_has_ended(squall: Squall, client: httpx.Client) -> None:
    run = squall.run(TOPOLOGY.format(options='receipts="processed"').replace("retries=0", 'on_error="drop"'))
    assert posted(client, url_of(run), "one\nbad").json() == {"records": 2, "dead": 0}
    run.interrupt()
    assert run.end() == 0
    assert lines(squall) == ["one"]


def test_a_port_that_is_taken_is_told_before_the_run(squall: Squall) -> None:
    run = squall.run(TOPOLOGY.format(options=""))
    address = run.event("started")["listening"]["records"]
    second = squall.start("run", squall.file(TOPOLOGY.format(options="").replace("127.0.0.1:0", address), "second.py"))
    assert second.end() == 2 or second.process.returncode == 1
    assert "port_taken" in second.err
    run.interrupt()
    assert run.end() == 0
