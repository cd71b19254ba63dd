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
    assert lines[0].split() == ["connector", "kind", "system", "guarantee", "needs"]
    assert [line.split()[0] for line in lines[1 : 1 + len(CONNECTORS)]] == [one.name for one in CONNECTORS]
    assert 'pip install "squall[http]" (installed)' in next(line for line in lines if line.startswith("HttpSink"))


def test_what_is_missing_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squall.cli.connectors.CONNECTORS", (NOT_THERE,))
    assert 'pip install "squall[fax]" (not installed)' in told(capsys)
    [facts] = json.loads(told(capsys, "--json"))
    assert (facts["extra"], facts["installed"]) == ("fax", False)


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {one["name"]: one for one in json.loads(told(capsys, "--json"))}
    assert facts.keys() == {one.name for one in CONNECTORS}
    assert facts["FileSink"] == {
        "name": "FileSink",
        "module": "squall.connectors.files",
        "kind": "sink",
        "system": "files",
        "guarantee": "at least once",
        "order": "as given, in each file",
        "restart": "nothing is lost; rows that were not acked are written again",
        "tested": "local file systems of Linux; text, CSV, JSON lines, Parquet; gzip, zstd",
        "extra": None,
        "installed": True,
    }


def test_one_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "tcpspout")
    assert text.startswith("TcpSpout\n")
    assert "from squall.connectors.tcp import TcpSpout" in text
    assert "at least once while the worker lives" in text
    assert "Bound: when the topology cannot take more" in text
    assert 'topology = Topology("tcp-words")' in text
    assert json.loads(told(capsys, "TcpSpout", "--json"))["example"] in told(capsys, "TcpSpout", "--example")


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
