"""Junk in each argument of each connector: an error that names it, or a component that can be used."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from squall import Bolt, Spout, Topology
from squall.connectors.files import Csv, FileSink, FileSpout, JsonLines, Parquet, Text
from squall.connectors.http import HttpSink, HttpSpout
from squall.connectors.redis import RedisLookup, RedisStore, RedisStreamSink, RedisStreamSpout, Set
from squall.connectors.sql import SqlLookup, SqlSink, SqlSpout
from squall.connectors.stdin import StdinSpout
from squall.connectors.tcp import Delimiter, Fixed, LengthPrefix, Lines, TcpFeeder, TcpSink, TcpSpout
from squall.connectors.udp import UdpSink, UdpSpout
from squall.connectors.unix import UnixSpout
from squall.errors import SquallError

from .junk import JUNK
from .test_definitions import checked, numbers

PORT = "127.0.0.1:1"


def _sink(
    url: str, table: Any = "a", columns: Any = None, upsert: Any = None, create: Any = False, batch: Any = 1,
    timeout: Any = 1,
) -> SqlSink:  # fmt: skip
    return SqlSink(url, table, columns=columns, upsert=upsert, create=create, batch=batch, timeout=timeout)


def _lookup(
    url: str, source: Any = "a", keys: Any = ("a",), outputs: Any = ("b",), missing: Any = "null", cache: Any = 1,
    ttl: Any = 1, batch: Any = 1, timeout: Any = 1,
) -> SqlLookup:  # fmt: skip
    return SqlLookup(
        url, source, keys=keys, outputs=outputs, missing=missing, cache=cache, ttl=ttl, batch=batch, timeout=timeout
    )


def _spout(
    url: str, source: Any = "a", columns: Any = ("a",), cursor: Any = "a", key: Any = None, every: Any = 1,
    lag: Any = 0, begin: Any = None, page: Any = 1, timeout: Any = 1,
) -> SqlSpout:  # fmt: skip
    return SqlSpout(
        url, source, columns=columns, cursor=cursor, key=key, every=every, lag=lag, begin=begin, page=page,
        timeout=timeout,
    )  # fmt: skip


MAKERS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "TcpSpout.listen": (TcpSpout.listen, (PORT,)),
    "TcpSpout.connect": (TcpSpout.connect, (PORT,)),
    "TcpSink": (TcpSink, (PORT,)),
    "TcpFeeder": (TcpFeeder, (PORT,)),
    "UdpSpout.listen": (UdpSpout.listen, (PORT,)),
    "UdpSink": (UdpSink, (PORT,)),
    "UnixSpout.listen": (UnixSpout.listen, ("a.sock",)),
    "UnixSpout.datagrams": (UnixSpout.datagrams, ("a.sock",)),
    "HttpSpout.listen": (HttpSpout.listen, (PORT,)),
    "HttpSink": (HttpSink, ("http://127.0.0.1:1/",)),
    "FileSpout": (FileSpout, ("*.txt",)),
    "FileSink": (FileSink, ("a.txt",)),
    "StdinSpout": (StdinSpout, ()),
    "SqlSink": (_sink, ("sqlite:///a.db",)),
    "SqlLookup": (_lookup, ("sqlite:///a.db",)),
    "SqlSpout": (_spout, ("sqlite:///a.db",)),
    "RedisStreamSpout": (partial(RedisStreamSpout, group="g"), ("a",)),
    "RedisStreamSink": (RedisStreamSink, ("a",)),
    "RedisStore": (RedisStore, (Set("a"),)),
    "RedisLookup": (partial(RedisLookup, outputs=("b",)), ("{a}",)),
}
FRAMINGS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Lines": (Lines, {}),
    "Delimiter": (Delimiter, {"delimiter": b"|"}),
    "Fixed": (Fixed, {"size": 4}),
    "LengthPrefix": (LengthPrefix, {}),
}
FORMATS: dict[str, Callable[..., Any]] = {"Text": Text, "Csv": Csv, "JsonLines": JsonLines, "Parquet": Parquet}


def places() -> dict[str, Callable[[Any], Any]]:
    """Each argument of each connector, of each framing, and of each format, that is read and that is written."""
    found: dict[str, Callable[[Any], Any]] = {}
    for name, (make, given) in MAKERS.items():
        if given:
            found[f"{name} address"] = make
        for argument in [*inspect.signature(make).parameters.values()][len(given) :]:
            if argument.kind in (argument.KEYWORD_ONLY, argument.POSITIONAL_OR_KEYWORD):
                found[f"{name} {argument.name}"] = _in_argument(make, given, argument.name)
    for name, (framing, usual) in FRAMINGS.items():
        for argument in inspect.signature(framing).parameters:
            found[f"{name} {argument}"] = _in_framing(framing, usual, argument)
    for name, format in FORMATS.items():
        for argument in inspect.signature(format).parameters:
            found[f"{name} {argument}, read"] = _in_format(FileSpout, format, argument)
            found[f"{name} {argument}, written"] = _in_format(FileSink, format, argument)
    return found


def _in_argument(make: Callable[..., Any], given: tuple[Any, ...], argument: str) -> Callable[[Any], Any]:
    return lambda junk: make(*given, **{argument: junk})


def _in_framing(framing: Callable[..., Any], usual: dict[str, Any], argument: str) -> Callable[[Any], Any]:
    return lambda junk: TcpSpout.listen(PORT, framing=framing(**{**usual, argument: junk}))


def _in_format(make: Callable[..., Any], format: Callable[..., Any], argument: str) -> Callable[[Any], Any]:
    return lambda junk: make("a.txt", format=format(**{argument: junk}))


PLACES = places()
CASES = [f"{place}: {junk}" for place in PLACES for junk in JUNK]


def wired(component: Any) -> Topology:
    """A topology with the component."""
    topology = Topology("t")
    if isinstance(component, Bolt):
        topology.bolt("sink", component).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
    else:
        topology.spout("source", component if isinstance(component, Spout) else numbers)
    return topology


@pytest.mark.parametrize("place", PLACES)
def test_junk_is_an_error_of_the_definition_or_a_component(place: str) -> None:
    for name, make in JUNK.items():
        try:
            found = checked(lambda make=make: wired(PLACES[place](make())))
        except BaseException as error:
            raise AssertionError(f"{place}: {name}") from error
        told = str(found) if isinstance(found, SquallError) else ""
        assert all(line.isprintable() and len(line) < 1200 for line in told.split("\n")), f"{place}: {name}"
