"""What holds of the file of a stored position: it is the position that was written there, or refused."""

from __future__ import annotations

import json
import zlib
from typing import Any

from laws.refusal import check_refusal
from laws.script import Script, folder
from squall import Spout, Topology
from squall.config.load import load
from squall.engines.embedded.positions import VERSION, PositionStore
from squall.errors import StateError
from squall.planner.validate import validate
from squall.runtime.positions import StoredPosition

FOLDER = folder()
FILE = FOLDER / "positions" / "orders" / "numbers" / "0"
FILE.parent.mkdir(parents=True)
JUNK = (None, True, -1, 1.5, "x", "0a0", [], {}, [[1]], 1 << 80, "é")


class Numbers(Spout):
    """One that has a position."""

    outputs = ("number",)

    def next_tuple(self) -> None:
        """Nothing."""


TOPOLOGY = Topology("orders")
TOPOLOGY.spout("numbers", Numbers())
GRAPH = validate(TOPOLOGY, load(folder=FOLDER))


def check(data: bytes) -> None:
    """The bytes are the file, or say how one that was good is not."""
    script = Script(data)
    position = StoredPosition("numbers", 0, 1, "Numbers", script.bytes(script.below(20)))
    record: dict[str, Any] = {"version": VERSION, **position.json()}
    kind = script.below(4)
    if kind == 0:
        FILE.write_bytes(script.rest())
    elif kind == 1:
        FILE.write_bytes(_sealed(script.rest()))
    else:
        for _ in range(script.below(3)):
            name = script.one_of([*record, "other"])
            record[name] = script.one_of(JUNK) if script.byte() % 2 else script.text(4)
        FILE.write_bytes(_sealed(json.dumps(record).encode()))
    _check_begin(record if kind >= 2 else None)


def _check_begin(record: dict[str, Any] | None) -> None:
    store = PositionStore(FOLDER, "orders")
    before = FILE.read_bytes()
    try:
        (read,) = store.begin(GRAPH, from_start=False)
    except StateError as error:
        check_refusal(error)
        assert error.code in ("position_unreadable", "position_unmatched")
        assert record is None or record != {"version": VERSION, **_of(record)}, "a good one is read"
    else:
        assert (read.component, read.tasks, type(read.task), type(read.spout)) == ("numbers", 1, int, str)
        assert record is None or bytes.fromhex(record["position"]) == read.position
        assert store.put(read) == [None]
        assert store.begin(GRAPH, from_start=False)[0] == read, "it is stored as it was read"
    finally:
        store.close()
    if FILE.read_bytes() != before:
        FILE.write_bytes(before)


def _of(record: dict[str, Any]) -> dict[str, Any]:
    """The record as one that is good says it, or nothing."""
    try:
        is_good = record["component"] == "numbers" and record["tasks"] == 1 and type(record["tasks"]) is int
        is_good &= type(record["task"]) is int and type(record["spout"]) is str and record["task"] == 0
        bytes.fromhex(record["position"])
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: value for name, value in record.items() if name != "version"} if is_good else {}


def _sealed(body: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(body), body)
