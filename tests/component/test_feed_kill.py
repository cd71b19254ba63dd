"""`squall feed` into a real topology with receipts, while both sides are killed: no line is lost.

`make feed-kill` sends a million lines and kills more often.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

from .conftest import Running, Squall, free_port, wait_until

LINES = int(os.environ.get("SQUALL_FEED_KILL_LINES", "100000"))
KILLS = 3 if LINES <= 100_000 else 10
WIDTH = 9
WITHIN_S = 30 + LINES / 5000

TOPOLOGY = """
    import os
    from squall import Bolt, Topology
    from squall.connectors.tcp import TcpSpout

    class Keep(Bolt):
        def open(self, context):
            self.fd = os.open(f"{folder}/kept-{{os.getpid()}}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def process_batch(self, line: list):
            os.write(self.fd, "".join(text + "\\n" for text in line).encode())

    def make(port: int) -> Topology:
        topology = Topology("kept")
        lines = topology.spout("lines", TcpSpout.listen(f"127.0.0.1:{{port}}", receipts="processed"))
        topology.bolt("keep", Keep).shuffle(lines)
        return topology
"""


class Kept:
    """What all runs of the topology have written; a line that a kill cut is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def size(self) -> int:
        return sum(file.stat().st_size for file in self._folder.glob("kept-*")) // (WIDTH + 1)

    def lines(self) -> list[str]:
        lines = [line for file in self._folder.glob("kept-*") for line in file.read_text().splitlines()]
        return [line for line in lines if len(line) == WIDTH]


class Sides:
    """A topology and a feeder that can be killed; the feeder goes on from its last report."""

    def __init__(self, squall: Squall, path: Path) -> None:
        self._squall, self._path, self._port = squall, path, free_port()
        self._file = squall.file(TOPOLOGY.format(folder=squall.folder))
        self.skip = self.resent = 0
        self.run = self._run()
        self.feeder = self._feeder()

    def _run(self) -> Running:
        return self._squall.start("run", self._file, "-p", f"port={self._port}", "--json")

    def _feeder(self) -> Running:
        options = ["--json", "--rate", 60_000, "--skip", self.skip]
        return self._squall.start("feed", f"127.0.0.1:{self._port}", self._path, *options)

    def kill_run(self) -> None:
        self.run.process.send_signal(signal.SIGKILL)
        self.run.end()
        self.run = self._run()

    def kill_feeder(self) -> None:
        self.feeder.process.send_signal(signal.SIGKILL)
        self.feeder.end()
        for told in self.feeder.events()[-1:]:
            self.skip, self.resent = told["next_skip"], self.resent + told["resent"]
        self.feeder = self._feeder()


def test_kills_of_both_sides_lose_no_line(squall: Squall) -> None:
    """Semantics 32: what was receipted had ended, what was not comes again; distinct lines are all lines."""
    path, kept, chance = squall.folder / "lines", Kept(squall.folder), Random(32)
    path.write_text("".join(f"{n:0{WIDTH}}\n" for n in range(LINES)))
    sides = Sides(squall, path)
    for kill in range(1, KILLS + 1):
        enough = (kill - chance.random()) / (KILLS + 1) * LINES
        wait_until(lambda enough=enough: kept.size() > enough, WITHIN_S, f"{enough:.0f} lines")
        sides.kill_feeder() if kill % 3 == 2 else sides.kill_run()
    assert sides.feeder.end(WITHIN_S) == 0, sides.feeder.err
    told = sides.feeder.events()[-1]
    sides.run.interrupt()
    assert sides.run.end() == 0, sides.run.err
    lines = kept.lines()
    assert set(lines) == {f"{n:0{WIDTH}}" for n in range(LINES)}
    assert told["next_skip"] == LINES
    print(f"{LINES} lines, {KILLS} kills: none lost, {len(lines) - LINES} came twice", end=" ")
