"""Semantics rules 10 and 16 where they meet a sink: poison is alone, an outage slows and fails nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from squall import Topology
from squall.connectors.files import FileSink, JsonLines, Rotation
from squall.testing import LocalCluster


def writing(sink: FileSink, rows: list[Any]) -> LocalCluster:
    topology = Topology("writing")
    topology.bolt("sink", sink).shuffle(topology.spout("rows", lambda: iter(()), outputs=("row",)))
    return LocalCluster(topology, mock_sources={"rows": [(row,) for row in rows]})


def test_rule_10_a_poisoned_row_of_a_sinks_batch_fails_alone(tmp_path: Path) -> None:
    """And at once: a retry could not succeed, and would write its neighbours in the tree again."""
    poison = object()
    with writing(FileSink(tmp_path / "out", format=JsonLines()), [1, 2, poison, 4]) as cluster:
        cluster.run_until_idle()
        assert [letter.attempts for letter in cluster.dead_letters()] == [1]
        assert len(cluster.acked("rows")) == 3
        assert len(cluster.failed("rows")) == 1
    assert (tmp_path / "out").read_text() == '{"row":1}\n{"row":2}\n{"row":4}\n'


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
@pytest.mark.parametrize("rotate", [None, Rotation()])
def test_rule_16_an_outage_of_a_disk_slows_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotate: Rotation | None, number: int
) -> None:
    """It lasts for far longer than the message time-out and than all retries."""
    with writing(FileSink(tmp_path / "out", rotate=rotate), list(range(100))) as cluster:
        with monkeypatch.context() as broken:

            def refusing(*_: Any) -> Any:
                raise OSError(number, os.strerror(number))

            broken.setattr(os, "write", refusing)
            cluster.advance(300)
            assert cluster.acked("rows") == cluster.dead_letters() == []
        cluster.advance(2)
        assert len(cluster.acked("rows")) == 100
    (path,) = tmp_path.iterdir()
    assert sorted(map(int, path.read_text().split())) == list(range(100))
