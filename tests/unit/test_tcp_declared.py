"""What is refused of a TCP spout when it is declared: what could not run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from squall import Topology
from squall.connectors.tcp import Delimiter, Fixed, LengthPrefix, Lines, TcpSpout, Tls
from squall.connectors.udp import UdpSpout
from squall.connectors.unix import UnixSpout
from squall.errors import TopologyError
from squall.planner.validate import validate
from squall.testing import LocalCluster


@pytest.mark.parametrize(
    "framing",
    [
        Delimiter("\n"),  # type: ignore[arg-type]
        Delimiter(5),  # type: ignore[arg-type]
        Delimiter(b""),
        Fixed("16"),  # type: ignore[arg-type]
        Fixed(16.0),  # type: ignore[arg-type]
        Fixed(True),
        Fixed(0),
        Fixed(1 << 21),
        LengthPrefix(3),
        LengthPrefix("4"),  # type: ignore[arg-type]
        LengthPrefix(True),
        Lines,
        "lines",
    ],
    ids=repr,
)
def test_framings_that_cannot_cut_records(framing: Any) -> None:
    with pytest.raises(TopologyError) as caught:
        TcpSpout.listen("127.0.0.1:9999", framing=framing)
    assert caught.value.code == "tcp_framing"


def test_text_as_a_delimiter_is_told_how_to_be_bytes() -> None:
    with pytest.raises(TopologyError, match=r"Delimiter\(b'\\r\\n'\)"):
        TcpSpout.listen("127.0.0.1:9999", framing=Delimiter("\r\n"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["max_record", "max_connections", "client_buffer"])
@pytest.mark.parametrize("value", [0, -1, 1 << 31, "10", 1.5, True, None])
def test_limits_are_whole_numbers(name: str, value: Any) -> None:
    with pytest.raises(TopologyError) as caught:
        TcpSpout.listen("127.0.0.1:9999", **{name: value})
    assert caught.value.code == "tcp_limit"


def test_an_address_is_text() -> None:
    with pytest.raises(TopologyError, match="tcp_address"):
        TcpSpout.listen(9999)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [TcpSpout.listen, TcpSpout.connect, UnixSpout.listen])
def test_receipts_of_what_is_stored_need_a_journal(make: Any) -> None:
    with pytest.raises(TopologyError, match="no journal") as caught:
        make("127.0.0.1:9999", receipts="stored")
    assert caught.value.code == "tcp_receipts"
    with pytest.raises(TopologyError, match=r'tcp_receipts|allowed: "processed"'):
        make("127.0.0.1:9999", receipts=True)


@pytest.mark.parametrize("make", [TcpSpout.listen, UnixSpout.listen])
@pytest.mark.parametrize(
    "given",
    [
        *({"journal": value} for value in ("", b"bytes", "nul\0", 5, True)),
        *({"journal": "here", "journal_max": value} for value in (0, (1 << 20) - 1, 1 << 62, 1.5, "1G", True, None)),
    ],
    ids=repr,
)
def test_journals_that_nobody_could_write(make: Any, given: dict[str, Any]) -> None:
    with pytest.raises(TopologyError) as caught:
        make("127.0.0.1:9999", **given)
    assert caught.value.code == "tcp_journal"


@pytest.mark.parametrize("receipts", [None, "processed", "stored"])
def test_a_journal_is_in_one_place_wherever_the_worker_runs(
    receipts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spout = TcpSpout.listen("127.0.0.1:0", receipts=receipts, journal="mine")
    monkeypatch.chdir("/")
    spout.native_source(1, 2).close()
    assert {"journal_bytes", "journal_waiting", "replayed"} <= set(spout.figures)
    assert spout._streams.journal_of(1, 2) == (str(tmp_path / "mine/1"), 1 << 30)


@pytest.mark.parametrize("addresses", [(), ("nowhere",), ("127.0.0.1:0",), ("127.0.0.1:1", "127.0.0.1:99999")])
def test_servers_that_nobody_could_connect_to(addresses: tuple[str, ...]) -> None:
    with pytest.raises(TopologyError) as caught:
        TcpSpout.connect(*addresses)
    assert caught.value.code == "tcp_address"


@pytest.mark.parametrize("name", ["backoff", "backoff_max", "connect_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "10", None, timedelta(days=2)])
def test_pauses_are_durations(name: str, value: Any) -> None:
    TcpSpout.connect("127.0.0.1:1", **{name: timedelta(seconds=1)})
    with pytest.raises(TopologyError) as caught:
        TcpSpout.connect("127.0.0.1:1", **{name: value})
    assert caught.value.code == "tcp_limit"


@pytest.mark.parametrize(
    ("make", "tls"),
    [
        (TcpSpout.listen, Tls()),
        (TcpSpout.listen, Tls("server.pem")),
        (TcpSpout.listen, Tls("server.pem", "server.key", ca="ca.pem")),
        (TcpSpout.connect, Tls(client_ca="ca.pem")),
        (TcpSpout.connect, Tls("client.pem")),
    ],
)
def test_tls_of_the_other_side(make: Any, tls: Tls) -> None:
    with pytest.raises(TopologyError) as caught:
        make("127.0.0.1:9999", tls=tls)
    assert caught.value.code == "tls_invalid"


@pytest.mark.parametrize("options", [{"max_record": 65_508}, {"max_record": 0}, {"receive_buffer": 0}])
def test_limits_of_datagrams(options: dict[str, Any]) -> None:
    with pytest.raises(TopologyError) as caught:
        UdpSpout.listen("127.0.0.1:9999", **options)
    assert caught.value.code == "tcp_limit"


def test_a_spout_that_connects_listens_nowhere() -> None:
    topology = Topology("t")
    topology.spout("s0", TcpSpout.connect("127.0.0.1:9999"))
    topology.spout("s1", TcpSpout.listen("127.0.0.1:9999"))
    topology.spout("s2", UnixSpout.listen("intake"))
    assert [spout.listens for spout in validate(topology).spouts if spout.name[0] == "s"] == [False, True, True]


def test_a_spout_that_connects_is_refused_in_simulated_time() -> None:
    topology = Topology("t")
    topology.spout("s", TcpSpout.connect("127.0.0.1:9999"))
    with pytest.raises(TopologyError, match='spout "s" connects to servers') as caught:
        LocalCluster(topology)
    assert caught.value.code == "simulated_world"


def listening(*addresses: str) -> Topology:
    topology = Topology("t")
    for number, address in enumerate(addresses):
        topology.spout(f"s{number}", TcpSpout.listen(address), parallelism=2)
    return topology


def test_an_address_is_listened_on_by_one_spout() -> None:
    validate(listening("127.0.0.1:9999", "127.0.0.1:9998", "[::1]:9999", "127.0.0.1:0", "127.0.0.1:0"))
    with pytest.raises(TopologyError, match=r'spouts "s0" and "s2" both listen on \[::1\]:9999') as caught:
        validate(listening("[::1]:9999", "127.0.0.1:9999", "[::1]:9999"))
    assert caught.value.code == "address_twice"
