"""What is refused of a TCP spout when it is declared: what could not run."""

from __future__ import annotations

from typing import Any

import pytest
from squall import Topology
from squall.connectors.tcp import Delimiter, Fixed, LengthPrefix, Lines, TcpSpout
from squall.errors import TopologyError
from squall.planner.validate import validate


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
