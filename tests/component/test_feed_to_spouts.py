"""Senders and sources together: `squall feed`, `TcpFeeder` and `TcpSink` into running topologies."""

from __future__ import annotations

import signal
from pathlib import Path

import trustme
from squall.connectors.tcp import TcpFeeder

from .conftest import WITHIN_S, Running, Squall, free_port, wait_until

TAKING = """
    from squall import Topology
    from squall.connectors.files import FileSink
    from squall.connectors.tcp import TcpSpout, Tls
    from squall.connectors.unix import UnixSpout

    topology = Topology("taking")
    topology.bolt("file", FileSink("{path}")).shuffle(topology.spout("lines", {spout}))
"""
SENDING = """
    from squall import Topology
    from squall.connectors.tcp import TcpSink

    def numbers():
        for n in range({count}):
            yield f"{{n:09}}"

    topology = Topology("sending")
    topology.bolt("sink", TcpSink("{address}", receipts=True)).shuffle(topology.spout("n", numbers, outputs=("n",)))
"""


def taking(squall: Squall, spout: str, path: str = "records") -> Running:
    return squall.start("run", squall.file(TAKING.format(spout=spout, path=path), "taking.py"), "--json")


def records(squall: Squall) -> list[str]:
    return [line for path in sorted(squall.folder.glob("records*")) for line in path.read_text().splitlines()]


def ended(run: Running) -> None:
    run.interrupt()
    assert run.end() == 0, run.err


def test_feed_with_tls_on_both_sides(squall: Squall) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(squall.folder / "ca.pem"))
    for name in ("127.0.0.1", "sender"):
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(squall.folder / f"{name}.pem"))
    server = 'Tls("127.0.0.1.pem", "127.0.0.1.pem", client_ca="ca.pem")'
    run = taking(squall, f'TcpSpout.listen("127.0.0.1:0", receipts="processed", tls={server})')
    address = run.event("started")["listening"]["lines"]
    (squall.folder / "lines").write_text("".join(f"{n}\n" for n in range(50_000)))
    trusting = squall.done("feed", address, "lines", "--ca", "ca.pem", "--cert", "sender.pem")
    assert trusting.process.returncode == 0, trusting.err
    assert records(squall) == [f"{n}" for n in range(50_000)]
    nameless = squall.done("feed", address, "lines", "--ca", "ca.pem")
    assert nameless.process.returncode == 1
    assert "tls_refused" in nameless.err
    plain = squall.done("feed", address, "lines", "--give-up-after", "1s")
    assert plain.process.returncode == 1
    ended(run)
    assert len(records(squall)) == 50_000


def test_feed_into_a_unix_socket(squall: Squall) -> None:
    path = squall.folder / "intake"
    run = taking(squall, f'UnixSpout.listen("{path}", receipts="processed")')
    run.event("started")
    with TcpFeeder(f"unix:{path}") as feeder:
        feeder.send_many(["one", "two"])
    assert records(squall) == ["one", "two"]
    ended(run)


def test_a_record_that_the_source_skips_is_receipted(squall: Squall) -> None:
    """Too long, or no text: the feeder does not wait for it for ever."""
    run = taking(squall, 'TcpSpout.listen("127.0.0.1:0", receipts="processed", max_record=100)')
    with TcpFeeder(run.event("started")["listening"]["lines"]) as feeder:
        feeder.send_many([b"one", b"x" * 1000, b"\xff", b"two"])
        feeder.flush(WITHIN_S)
        assert feeder.receipted == 4
    assert records(squall) == ["one", "two"]
    ended(run)


def test_feed_into_a_source_without_receipts(squall: Squall) -> None:
    """The source takes everything and closes: the user is told, and what to do."""
    run = taking(squall, 'TcpSpout.listen("127.0.0.1:0")')
    address = run.event("started")["listening"]["lines"]
    (squall.folder / "lines").write_text("one\n")
    fed = squall.done("feed", address, "lines")
    assert fed.process.returncode == 1
    assert "tcp_no_receipts" in fed.err
    assert squall.done("feed", address, "lines", "--no-receipts").process.returncode == 0
    wait_until(lambda: "one" in records(squall), what="the record")
    ended(run)


def test_a_topology_feeds_another_that_is_killed(squall: Squall) -> None:
    """`kill -9` of the receiving one: the sending one waits, fails nothing, and every record arrives."""
    address, count = f"127.0.0.1:{free_port()}", 100_000
    spout = f'TcpSpout.listen("{address}", receipts="processed")'
    run = taking(squall, spout)
    sending = squall.start("run", squall.file(SENDING.format(count=count, address=address), "sending.py"), "--json")
    size = Path(squall.folder / "records")
    wait_until(lambda: size.exists() and size.stat().st_size > 100, what="the first records")
    run.process.send_signal(signal.SIGKILL)
    run.end()
    run = taking(squall, spout, "records of the second")  # the kill may have cut a line of the first
    assert sending.end() == 0, sending.err
    summary = sending.summary()
    assert (summary["acked"], summary["failed"], summary["dead"]) == (count, 0, 0)
    ended(run)
    whole = {line for line in records(squall) if len(line) == 9}
    assert whole == {f"{n:09}" for n in range(count)}
