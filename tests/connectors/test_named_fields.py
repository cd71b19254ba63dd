"""A field that a sink is told to use and that does not come in ends the run when it is opened, before any server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from squall import Bolt, Topology
from squall.connectors.files import FileSink
from squall.connectors.http import HttpSink
from squall.connectors.kafka import KafkaSink
from squall.connectors.named_fields import check_fields
from squall.connectors.redis import Hash, HyperLogLog, List, RedisStore, RedisStreamSink, Set, SortedSet, String
from squall.errors import TopologyError
from squall.testing import LocalCluster

NOBODY = "127.0.0.1:9"
URL = f"redis://{NOBODY}"


def kafka(given: Any) -> Bolt:
    """A sink with one option more."""
    return KafkaSink("t", servers=NOBODY, **given)


WRONG: dict[str, tuple[Callable[[], Bolt], str]] = {
    **{
        f"Kafka {part}": (lambda given={part: "nme"}: kafka(given), part)
        for part in ("topic_of", "key", "partition", "headers", "timestamp")
    },
    "String": (lambda: RedisStore(String("x:{nme}", value="city"), url=URL), "key"),
    "Hash with fields": (lambda: RedisStore(Hash("x", fields=["city", "nme"]), url=URL), "fields"),
    "Hash with a field": (lambda: RedisStore(Hash("x", field="{nme}", value="city"), url=URL), "field"),
    "Hash with a value": (lambda: RedisStore(Hash("x", field="{city}", value="nme"), url=URL), "value"),
    "List": (lambda: RedisStore(List("x", value="nme"), url=URL), "value"),
    "Set": (lambda: RedisStore(Set("x", value="nme"), url=URL), "value"),
    "SortedSet": (lambda: RedisStore(SortedSet("x", value="name", score="nme"), url=URL), "score"),
    "HyperLogLog": (lambda: RedisStore(HyperLogLog("x", value="nme"), url=URL), "value"),
    "stream": (lambda: RedisStreamSink("orders:{nme}", url=URL), "stream"),
    "fields of a stream": (lambda: RedisStreamSink("orders", fields=["city", "nme"], url=URL), "fields"),
    "address": (lambda: HttpSink(f"http://{NOBODY}/{{nme}}"), "url"),
    "file": (lambda: FileSink("out/{nme}.txt"), "path"),
}


@pytest.mark.parametrize("name", WRONG)
def test_field_that_does_not_come_in_ends_the_run(name: str) -> None:
    make, option = WRONG[name]
    topology = Topology("names")
    rows = topology.spout("rows", lambda: iter([("ann", "Oslo")]), outputs=("name", "city"))
    topology.bolt("kept", make()).shuffle(rows)
    with pytest.raises(TopologyError) as found, LocalCluster(topology, simulated_time=False):
        pass
    assert found.value.code == "sink_field_unknown"
    said = str(found.value)
    assert f'bolt "kept" has {option} with field "nme", which stream "rows/default" does not have' in said
    assert "fields: name, city" in said
    assert 'did you mean "name"?' in said


def test_all_fields_of_all_streams_are_told_at_once() -> None:
    inputs = {"a/default": {"name": None}, "b/default": {"city": None}, "undeclared/default": {}}
    with pytest.raises(TopologyError) as found:
        check_fields('bolt "kept"', {"key": ("name",), "value": ("ctiy",)}, inputs)
    told = [defect.message for defect in found.value.defects]
    assert told == [
        'bolt "kept" has value with field "ctiy", which stream "a/default" does not have',
        'bolt "kept" has key with field "name", which stream "b/default" does not have',
        'bolt "kept" has value with field "ctiy", which stream "b/default" does not have',
    ]
