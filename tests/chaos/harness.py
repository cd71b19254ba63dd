"""One topology under faults: started, struck, left to recover, ended, judged."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from squall.cli.letters.viewing import as_json
from squall.runtime.dead_log import log_path
from squall.runtime.stored import read
from squall.trace import check, lives_in

from chaos import faults, history
from chaos.history import Death, Pause
from chaos.proxy import Proxy, Spoiler
from chaos.schedule import DEADLY, KILL, Planned

HERE = Path(__file__).parent
WORKERS = 3
START_S, HEAL_S, END_S = 30.0, 15.0, 90.0
"""Within what a run starts, something comes out again after a fault, and everything has ended."""
LOOK_EVERY_S = 0.02
PENDING_OF = {"fan_out": 2 * 500 * 3, "join": 500}
"""Rows that may come twice by one fault: of all that may be pending, those that the sink counts."""
GROWN_RSS_MIB, GROWN_FDS, GROWN_THREADS = 64, 8, 6


class Unwell(AssertionError):
    """A law was broken."""


@dataclass
class Sizes:
    """What one process holds."""

    rss_mib: float
    fds: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Sizes:
        folder = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        return cls(int(status["VmRSS"].split()[0]) / 1024, len(os.listdir(folder / "fd")), int(status["Threads"]))


@dataclass
class Verdict:
    """What came of one run."""

    workload: str
    seed: int
    faults: Counter[str] = field(default_factory=Counter[str])
    tuples: int = 0
    lost: int = 0
    duplicates: int = 0
    duplicates_bound: int = 0
    recoveries_s: list[float] = field(default_factory=list[float])
    pauses: list[Pause] = field(default_factory=list[Pause])
    grown_mib: float = 0.0
    deaths: int = 0
    healed_s: list[float] = field(default_factory=list[float])
    traced: int = 0
    """Notes in the traces, if it wrote any."""
    broken: list[str] = field(default_factory=list[str])


class Run:
    """`squall run` of one workload; `is_traced`: its workers write traces, which are checked."""

    def __init__(self, workload: str, folder: Path, seed: int, *, is_traced: bool = False) -> None:
        self.workload, self.folder, self.seed = workload, folder, seed
        self.spoilers: dict[int, Spoiler] = {}
        self.kills: list[Death] = []
        self._proxies: list[Proxy] = []
        self.verdict = Verdict(workload, seed)
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._baseline: dict[int, Sizes] = {}
        self._lives: dict[int, tuple[str, int]] = {}
        self._deaths: list[Death] = []
        self._may_die: list[Death] = []
        environment = os.environ | {
            "SQUALL_STORM_LOCAL_DIR": str(folder / "state"),
            "SQUALL_CHAOS_FOLDER": str(folder),
            "SQUALL_CHAOS_WORKERS": str(WORKERS),
        }
        if is_traced:
            environment["SQUALL_TOPOLOGY_TRACE_DIR"] = str(folder / "traces")
        command = [sys.executable, "-m", "squall.cli", "run", str(HERE / f"{workload}.py"), "--json", "--drain", "60s"]
        with (folder / "err").open("wb") as err:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, env=environment, text=True)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    # -- what faults ask of it ---------------------------------------------------------------------------------------

    @property
    def parent(self) -> int:
        """The process of the parent."""
        return self.process.pid

    def pid(self, worker: int) -> int | None:
        """The process of a worker, if it is ready."""
        state, pid = self._lives.get(worker, ("", 0))
        return pid if state == "ready" else None

    def kill(self, worker: int) -> None:
        """Kills a worker's process, if it is ready."""
        if (pid := self.pid(worker)) is None:
            return
        kill = Death(time.monotonic(), worker)
        self._may_die.append(kill)
        self.kills.append(kill)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def rest(self, seconds: float) -> None:
        """Lets time pass; the run must not end meanwhile."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._must_run()
            time.sleep(min(LOOK_EVERY_S, left_s))

    # -- its course --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Puts proxies before the workers, and waits until rows come out."""
        for worker in range(2, WORKERS + 1):
            path = self._wait(lambda worker=worker: self._socket_of(worker), START_S, f"the socket of worker {worker}")
            self.spoilers[worker] = Spoiler(self.seed + worker)
            self._proxies.append(Proxy(path, self.spoilers[worker]))
        self._wait(lambda: self._came() > 0, START_S, "the first rows")

    def strike(self, fault: Planned) -> None:
        """Rests, lets a fault happen, and waits until rows come out again."""
        self.rest(fault.rest_s)
        began_s = time.monotonic()
        if fault.kind in DEADLY and fault.kind not in (KILL, "storm"):
            # Which worker a tuple kills nobody can know.
            strikes = [fault.worker] if fault.kind == "memory" else range(1, WORKERS + 1)
            self._may_die.extend(Death(began_s, worker) for worker in strikes)
        self.verdict.faults[fault.kind] += 1
        self.events.append((began_s, {"event": "fault"} | fault.__dict__))
        faults.strike(self, fault)
        mended_s, before = time.monotonic(), self._came()
        self._wait(lambda: self._came() > before, HEAL_S, f"new rows after {fault}")
        self.verdict.healed_s.append(time.monotonic() - mended_s)

    def end(self) -> Verdict:
        """Has the sources end, and judges what came."""
        self._wait(lambda: all(self.pid(worker) for worker in range(1, WORKERS + 1)), HEAL_S, "all workers")
        self.rest(0.5)
        self._judge_sizes()
        ends = [history.high(self.folder, path.name.removeprefix("high-")) for path in self.folder.glob("high-*")]
        draft = self.folder / "end.draft"
        draft.write_text(str(max(ends) + 5000))
        draft.rename(self.folder / "end")
        try:
            code = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._stacks()
            raise Unwell(f"{self.workload} has not ended {END_S} s after its sources: {self.tail()}") from None
        self._reader.join()
        if code:
            self._break(f"exit code {code}: {self.tail()}")
        self._judge()
        return self.verdict

    def close(self) -> None:
        """Ends everything, whatever state it is in."""
        self.process.kill()
        self.process.wait()
        (self.folder / "events").write_text("".join(f"{at_s:.4f} {json.dumps(event)}\n" for at_s, event in self.events))
        for proxy in self._proxies:
            proxy.close()

    def note_sizes(self) -> None:
        """What the processes hold when they are warm, and nothing strikes."""
        self._wait(lambda: len(self._pids()) == WORKERS + 1, HEAL_S, "all workers")
        self._baseline = {worker: Sizes.of(pid) for worker, pid in self._pids().items()}

    def tail(self) -> str:
        """The end of what it said."""
        return (self.folder / "err").read_text(errors="replace")[-600:]

    # -- watching ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            at_s, event = time.monotonic(), json.loads(line)
            self.events.append((at_s, event))
            if event["event"] == "worker":
                self._lives[event["id"]] = (event["state"], event["pid"])
                if event["state"] == "lost":
                    self._deaths.append(Death(at_s, event["id"]))
                    self._judge_death(at_s, event)

    def _wait(self, condition: Callable[[], Any], within_s: float, what: str) -> Any:
        until_s = time.monotonic() + within_s
        while not (found := condition()):
            self._must_run()
            if time.monotonic() > until_s:
                self._stacks()
                raise Unwell(f"{self.workload}: {what} did not come within {within_s} s: {self.tail()}")
            time.sleep(LOOK_EVERY_S)
        return found

    def _must_run(self) -> None:
        if self.process.poll() is not None:
            raise Unwell(f"{self.workload} ended with {self.process.returncode}: {self.tail()}")

    def _stacks(self) -> None:
        """Keeps what everybody does, for who has to find out."""
        command = [sys.executable, "-m", "squall.cli", "stacks", self.workload.replace("_", "-")]
        environment = os.environ | {"SQUALL_STORM_LOCAL_DIR": str(self.folder / "state")}
        with (self.folder / "stacks").open("wb") as out:
            subprocess.run(command, stdout=out, stderr=out, env=environment, timeout=30, check=False)

    def _socket_of(self, worker: int) -> Path | None:
        return next((self.folder / "state/runs").glob(f"*/worker-{worker}.sock"), None)

    def _came(self) -> int:
        return sum(path.stat().st_size for kind in ("parts", "joined") for path in self.folder.glob(f"{kind}-*"))

    def _pids(self) -> dict[int, int]:
        """The processes by their workers; 0: the parent."""
        return {0: self.process.pid} | {worker: pid for worker, (state, pid) in self._lives.items() if state == "ready"}

    # -- judging -----------------------------------------------------------------------------------------------------

    def _break(self, law: str) -> None:
        self.verdict.broken.append(law)

    def _judge_death(self, at_s: float, event: dict[str, Any]) -> None:
        """O8: nobody dies who was not struck."""
        struck = [strike for strike in self._may_die if strike.worker == event["id"] and strike.at_s <= at_s]
        if not struck or at_s - struck[-1].at_s > 30:
            self._break(f"O8: worker {event['id']} died although nothing struck it: {event}")

    def _judge_sizes(self) -> None:
        """O9: nothing grows."""
        for worker, pid in self._pids().items():
            now, then = Sizes.of(pid), self._baseline[worker]
            grown = (now.rss_mib - then.rss_mib, now.fds - then.fds, now.threads - then.threads)
            self.verdict.grown_mib = max(self.verdict.grown_mib, grown[0])
            if grown[0] > GROWN_RSS_MIB or grown[1] > GROWN_FDS or grown[2] > GROWN_THREADS:
                self._break(f"O9: worker {worker} (0: the parent) grew from {then} to {now}")

    def _judge(self) -> None:
        verdict = self.verdict
        count = history.fan_out(self.folder) if self.workload == "fan_out" else history.join(self.folder)
        verdict.tuples, verdict.lost, verdict.duplicates = count.tuples, len(count.lost), count.duplicates
        verdict.duplicates_bound = PENDING_OF[self.workload] * (verdict.faults.total() + len(self.kills))
        for law, found in (("O1 lost", count.lost), ("O2 phantoms", count.phantoms), ("O5 disorder", count.disorder)):
            if found:
                self._break(f"{law}: {len(found)}, {found[:5]}")
        if count.duplicates > verdict.duplicates_bound:
            self._break(f"O3: {count.duplicates} came twice, {verdict.duplicates_bound} may")
        self._judge_sums(count.poison)
        left = [str(path) for path in (self.folder / "state/runs").glob("*")]
        if left:
            self._break(f"O9: files are left: {left}")
        self._judge_traces()
        began_s = [at_s for at_s, event in self.events if event["event"] == "fault"]
        verdict.deaths = len(self._deaths)
        verdict.recoveries_s = history.recoveries(self.folder, self.kills, self._deaths)
        if self.workload == "fan_out":
            verdict.pauses = history.pauses(self.folder, self.kills, began_s)

    def _judge_sums(self, poison: int) -> None:
        """O7: at every moment, emitted = acked + failed + pending; and only poison is given up."""
        for _, event in self.events:
            if event["event"] in ("progress", "summary") and "emitted" in event:
                parts = event["acked"] + event["failed"] + event["pending"]
                if parts != event["emitted"]:
                    return self._break(f"O7: {event}")
        summary = self.events[-1][1]
        if summary["event"] != "summary":
            self._break(f"no summary: {summary}")
        # One that was given up just before its source's worker died comes again, and is given up again.
        given_up = {json.dumps(letter["root"], sort_keys=True) for letter in self._letters()}
        if len(given_up) != poison or summary.get("dead", 0) < poison:
            self._break(f"{len(given_up)} rows were given up, {poison} should: {sorted(given_up)[:10]}")
        return None

    def _judge_traces(self) -> None:
        """The laws that `squall.trace` tells, where there are traces."""
        lives = [life for run in (self.folder / "traces").glob("*") for life in lives_in(run)]
        self.verdict.traced = sum(len(block.notes) for life in lives for block in life.blocks())
        if breaches := check(lives):
            self._break(f"{len(breaches)} breaches in traces: {'; '.join(map(str, breaches[:5]))}")

    def _letters(self) -> list[dict[str, Any]]:
        """The dead letters, as `squall dead show --json` prints them."""
        path = log_path(self.folder / "state", self.workload.replace("_", "-"))
        return [as_json(letter, None, whole=True) for letter in read(path)]


def percentile(values: list[float], share: float) -> float | None:
    """The value below which this share of them lies."""
    if not values:
        return None
    if len(values) == 1:
        return round(values[0], 3)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return round(cuts[min(98, int(share * 100) - 1)], 3)
