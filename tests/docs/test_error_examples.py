"""The example on each error page leads to that very error.

Python examples may use the public names, `topology` with `words`, a stream of the fields word and lang, the bolt
`Count`, and `cluster`, which runs a topology like it. A component that an example defines and does not wire is wired
to `words`. Commands find a few files in the current folder, and those that the example shows.
"""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import squall
from squall import Bolt, Spout, SpoutDeclarer, Topology
from squall.cli.app import exit_code_of
from squall.cli.explaining import pages
from squall.connectors.files import Csv, FileSink
from squall.connectors.http import HttpSink, HttpSpout
from squall.connectors.kafka import KafkaSpout
from squall.connectors.redis import RedisStore, RedisStreamSpout, String
from squall.connectors.sql import SqlSink
from squall.connectors.tcp import LengthPrefix, Lines, TcpFeeder, TcpSink, TcpSpout, Tls
from squall.errors import SquallError
from squall.planner.validate import validate
from squall.testing import LocalCluster

NEEDS_THE_WORLD = {
    "address_not_allowed",
    "address_unusable",
    "call_hangs",
    "call_overdue",
    "command_refused",
    "component_failed",
    "component_silent",
    "datagrams_lost",
    "dead_letter_unknown",
    "dead_letter_unreadable",
    "debug_no_file",
    "debug_terminal",
    "debug_unfit",
    "drain_unfinished",
    "duration_invalid",
    "edit_invalid",
    "export_format",
    "extra_missing",
    "file_changed",
    "file_cut",
    "file_gone",
    "file_store_refused",
    "journal_corrupt",
    "journal_in_use",
    "journal_tasks",
    "journal_unusable",
    "journal_unwritable",
    "kafka_fenced",
    "kafka_offset_out_of_range",
    "kafka_record_unreadable",
    "kafka_refused",
    "kafka_registry_refused",
    "kafka_schema",
    "kafka_seek_refused",
    "kafka_setting",
    "kafka_stalled",
    "kafka_topic_unknown",
    "kafka_unavailable",
    "letters_unnamed",
    "log_level_invalid",
    "no_answer",
    "otel_invalid",
    "output_unwritable",
    "pending_full",
    "port_taken",
    "position_unmatched",
    "position_unreadable",
    "positions_in_use",
    "receipt_invalid",
    "record_refused",
    "redis_entries_gone",
    "redis_entry_unreadable",
    "redis_group_gone",
    "redis_group_unseen",
    "redis_key_type",
    "redis_outputs",
    "redis_refused",
    "redis_stream_missing",
    "run_lost",
    "running_several",
    "running_twice",
    "seeds_invalid",
    "sending_failed",
    "simulation_law",
    "sink_unavailable",
    "source_unavailable",
    "tap_cut_off",
    "tap_limit",
    "tap_nothing",
    "tcp_no_receipts",
    "tls_handshake",
    "tls_refused",
    "topology_differs",
    "tree_too_old",
    "unconfirmed",
    "value_changed",
    "value_encoder_failed",
    "value_not_decodable",
    "value_not_encodable",
    "value_too_deep",
    "value_too_large",
    "worker_build_failed",
    "worker_crashed",
    "worker_deaths",
    "worker_exited",
    "worker_killed_by_tuple",
    "worker_lost",
    "worker_not_started",
    "worker_out_of_memory",
    "worker_start_deaths",
}
"""Codes whose examples need processes, clients, signals or a long time; tests/component leads to them.

Values are written only on their way to another worker; tests/property/test_codec leads to those.
"""

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\S+\.(?:py|yaml))\n")
FILES = {
    "topology.py": """
from squall import Topology
def build(region: str, limit: int = 10) -> Topology:
    topology = Topology("clicks")
    topology.spout("numbers", lambda: iter(range(limit)), outputs=("n",))
    return topology
""",
    "topologies.py": 'from squall import Topology\nfirst, second = Topology("first"), Topology("second")\n',
    "empty.py": "",
    "topology.txt": "",
    "topologies/one.py": "",
}


def examples() -> Iterator[Any]:
    for code, page in sorted(pages().items()):
        if code not in NEEDS_THE_WORLD:
            yield pytest.param(code, BLOCK.findall(page.partition("**Example.**")[2]), id=code)


class Count(Bolt):
    def process(self, word: str) -> None: ...


def told_by(error: BaseException | None) -> set[str]:
    """The codes of an error, and of those that it came from; what `open` raised comes from itself."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__
    return {defect.code for one in chain if isinstance(one, SquallError) for defect in one.defects}


def with_words() -> Topology:
    topology = Topology("clicks")
    topology.spout("words", lambda: iter(()), outputs={"word": str, "lang": str})
    return topology


def run_python(code: str, caplog: pytest.LogCaptureFixture) -> set[str]:
    """The codes that an example leads to: when it is executed, when its topology is validated, when that runs."""
    topology = with_words()
    words = SpoutDeclarer(topology, topology.declarations[0])
    running = with_words()
    running.bolt("count", Count).shuffle(SpoutDeclarer(running, running.declarations[0]))
    running.spout("others", lambda: iter(()), outputs=("word",))
    names: dict[str, Any] = {name: getattr(squall, name) for name in squall.__all__}
    names |= {"topology": topology, "words": words, "Count": Count, "Lock": Lock, "Iterator": Iterator}
    names |= {
        "asyncio": asyncio,
        "LocalCluster": LocalCluster,
        "Tls": Tls,
        "TcpFeeder": TcpFeeder,
        "TcpSink": TcpSink,
        "TcpSpout": TcpSpout,
        "Lines": Lines,
        "LengthPrefix": LengthPrefix,
        "FileSink": FileSink,
        "Csv": Csv,
        "HttpSink": HttpSink,
        "HttpSpout": HttpSpout,
        "KafkaSpout": KafkaSpout,
        "SqlSink": SqlSink,
        "RedisStore": RedisStore,
        "RedisStreamSpout": RedisStreamSpout,
        "String": String,
    }
    with LocalCluster(running, mock_sources={"words": []}) as cluster:
        try:
            value, found = executed(code, {**names, "cluster": cluster})
        except SquallError as error:
            return told_by(error)
    if len(topology.declarations) == 1:
        for name, component in found.items():
            if name not in names and isinstance(component, type) and issubclass(component, Bolt):
                topology.bolt(name, component).shuffle(words)
            elif name not in names and isinstance(component, type) and issubclass(component, Spout):
                topology.spout(name, component)
    return run_topology(value if isinstance(value, Topology) else topology, caplog)


def executed(code: str, names: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The value of a block's last line, if that is an expression, and all names."""
    body = ast.parse(code).body
    value = ast.Expression(last.value) if isinstance(last := body[-1], ast.Expr) else None
    exec(compile(ast.Module(body[:-1] if value else body, []), "example", "exec"), names)
    return eval(compile(value, "example", "eval"), names) if value else None, names


def run_topology(topology: Topology, caplog: pytest.LogCaptureFixture) -> set[str]:
    try:
        validate(topology)
        with LocalCluster(topology, mock_sources={"words": [("tea", "en")]}) as cluster:
            cluster.advance(6)
            cluster.run_until_idle()
            letters = "".join(letter.traceback for letter in cluster.dead_letters())
    except SquallError as error:
        return told_by(error)
    return set(re.findall(r"code(?:: |=)(\w+)", caplog.text + letters))


def run_command(line: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    exit_code_of(line.removeprefix("$ squall ").split())
    return set(re.findall(r"code: (\w+)", capsys.readouterr().err))


@pytest.mark.parametrize(("code", "blocks"), list(examples()))
def test_example_leads_to_its_error(
    code: str,
    blocks: list[tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    told: set[str] = set()
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for language, text in blocks:
        if file := FILE_NAME.match(text):
            (tmp_path / file[1]).write_text(text)
        elif language == "python":
            told |= run_python(text, caplog)
        else:
            told |= run_command(text.strip(), capsys)
    assert code in told
