"""`squall connectors`."""

from __future__ import annotations

import json

import pytest
from squall.cli.app import exit_code_of
from squall.connectors import catalogue
from squall.connectors.catalogue import CONNECTORS, Connector

NOT_THERE = Connector("squall.connectors.tcp:TcpSink", "sink", "TCP", "tcp_sink", "fax", "no_such_module")


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert exit_code_of(["connectors", *words]) == code
    out, err = capsys.readouterr()
    return err if code else out


def test_all_are_listed_with_what_they_promise_and_need(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys).splitlines()
    assert lines[0].split() == ["connector", "kind", "system", "guarantee", "extra"]
    assert [line.split()[0] for line in lines[1 : 1 + len(CONNECTORS)]] == [one.name for one in CONNECTORS]
    assert next(line for line in lines if line.startswith("HttpSink")).endswith("  http, installed")
    assert max(map(len, lines)) < 120


def test_what_is_missing_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squall.cli.connectors.CONNECTORS", (NOT_THERE,))
    assert "  fax, not installed\n" in told(capsys)
    assert 'pip install "squall[fax]" (not installed)' in told(capsys, "TcpSink")
    [facts] = json.loads(told(capsys, "--json"))
    assert (facts["extra"], facts["installed"]) == ("fax", False)


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {one["name"]: one for one in json.loads(told(capsys, "--json"))}
    assert facts.keys() == {one.name for one in CONNECTORS}
    assert facts["UdpSink"] == {
        "name": "UdpSink",
        "module": "squall.connectors.udp",
        "kind": "sink",
        "system": "UDP",
        "guarantee": "at most once",
        "order": "as given; the network may change it",
        "restart": "repeats datagrams that were not acked",
        "tested": "Linux, IPv4 and IPv6",
        "extra": None,
        "installed": True,
        "also": [],
    }


def test_one_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "tcpspout")
    assert text.startswith("TcpSpout\n")
    assert "from squall.connectors.tcp import TcpSpout" in text
    assert "at least once while the worker lives" in text
    assert "Bound: when the topology cannot take more" in text
    assert 'topology = Topology("tcp-words")' in text
    assert json.loads(told(capsys, "TcpSpout", "--json"))["example"] in told(capsys, "TcpSpout", "--example")


def test_extras_for_more_of_the_same_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert 'pip install "squall[postgresql]" (installed); for more: mariadb, sqlite' in told(capsys, "SqlSink")
    assert "nothing more; for more: s3, hdfs, parquet, zstd" in told(capsys, "FileSink")


def test_an_unknown_name_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "FileSnk", code=2)
    assert 'did you mean "FileSink"?' in text
    assert "code: connector_unknown" in text


def test_an_example_needs_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "name the connector" in told(capsys, "--example", code=2)


def test_the_catalogue_imports_no_connector() -> None:
    import subprocess
    import sys

    code = f"import sys, {catalogue.__name__}; print([m for m in sys.modules if m.startswith('squall.connectors.tcp')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
