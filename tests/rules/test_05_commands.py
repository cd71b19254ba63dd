"""Semantics 28: commands are answered by a thread of their own, also while user code runs."""

from __future__ import annotations

import json
import threading
from typing import Any

from squall import Bolt
from squall.planner.validate import validate
from squall.runtime.taps import Taps
from squall.testing import LocalCluster
from topologies import single


class Waits(Bolt):
    """Emits when another thread has done something meanwhile."""

    outputs = ("x",)
    meanwhile: threading.Thread

    def process(self, x: int) -> int:
        self.meanwhile.start()
        self.meanwhile.join(10)
        return x


def test_taps_are_switched_on_and_off_while_user_code_runs() -> None:
    """Semantics 28. By another thread, in the middle of a call."""
    topology = single(Waits)
    lines: list[dict[str, Any]] = []

    def sent(line: bytes) -> bool:
        lines.append(json.loads(line))
        return True

    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        taps = Taps(validate(topology), cluster.worker, sent)
        taps.attach(cluster._built)  # pyright: ignore[reportPrivateUsage]
        bolt = cluster.task("b", Waits)
        for x, switch in enumerate((lambda: taps.open(1, {"component": "b"}), lambda: taps.close(1))):
            bolt.meanwhile = threading.Thread(target=switch)
            cluster.feed("s", [x])
            cluster.run_until_idle()
            taps.end()
        assert cluster.emitted("b") == [(0,), (1,)]
    assert [row[2:] for line in lines for row in line["rows"]] == [["default", [0]]]
