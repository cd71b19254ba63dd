"""Runs topologies under faults: `python -m chaos --for 40s --seed 7`.

Each slice runs one workload in processes of its own, strikes it, ends it and counts. Exit code 1: a law was broken; the
folder of such a slice is kept.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from chaos.harness import GROWN_RSS_MIB, WORKERS, Run, Unwell, Verdict, percentile
from chaos.schedule import KINDS, planned

SLICE_S = 90.0
SHARES = {"fan_out": 0.6, "join": 0.4}
SHORT_SCALE = 0.6
"""Of all times, where a slice is short."""
SHORT_S = 30.0
TRACED = 1
"""Which slice writes traces, in runs that have a minute: to check them takes time as well."""
TRACED_FROM_S = 60.0


def seconds(text: str) -> float:
    """`40s`, `15m`, `2h`, or a number of seconds."""
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 40s, 15m or 2h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2] or "s"]


def spin() -> None:
    """Takes a processor from those that work."""
    while True:
        pass


def under_faults(workload: str, seed: int, for_s: float, kinds: tuple[str, ...], *, is_traced: bool) -> Verdict:
    """One slice."""
    folder = Path(tempfile.mkdtemp(prefix=f"squall-chaos-{workload}-{seed}-"))
    rival = multiprocessing.Process(target=spin, daemon=True) if Random(seed).random() < 0.5 else None
    began_s = time.monotonic()
    run = Run(workload, folder, seed, is_traced=is_traced)
    try:
        run.start()
        run.rest(0.5)
        run.note_sizes()
        if rival is not None:
            rival.start()
        for fault in planned(seed, WORKERS, kinds, SHORT_SCALE if for_s < SHORT_S else 1.0):
            if time.monotonic() - began_s > for_s:
                break
            run.strike(fault)
        run.end()
    except Unwell as broken:
        run.verdict.broken.append(str(broken))
    finally:
        run.close()
        if rival is not None and rival.is_alive():
            rival.kill()
    if run.verdict.broken:
        print(f"seed {seed} of {workload}: {run.verdict.broken}\nkept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return run.verdict


def slices(for_s: float) -> list[tuple[str, float]]:
    """The workloads by turns, with the time for each."""
    rounds = max(1, round(for_s / (2 * SLICE_S)))
    return [(workload, share * for_s / rounds) for _ in range(rounds) for workload, share in SHARES.items()]


def report(verdicts: list[Verdict]) -> dict[str, Any]:
    """All slices together."""
    kinds = sum((verdict.faults for verdict in verdicts), Counter[str]())
    recoveries = [one for verdict in verdicts for one in verdict.recoveries_s]
    pauses = [one for verdict in verdicts for one in verdict.pauses]
    healed = [one for verdict in verdicts for one in verdict.healed_s]
    return {
        "slices": len(verdicts),
        "faults": kinds.total(),
        "tuples": sum(verdict.tuples for verdict in verdicts),
        "lost": sum(verdict.lost for verdict in verdicts),
        "duplicates": sum(verdict.duplicates for verdict in verdicts),
        "duplicates_bound": sum(verdict.duplicates_bound for verdict in verdicts),
        "recovery_p50_s": percentile(recoveries, 0.5),
        "recovery_p99_s": percentile(recoveries, 0.99),
        "recoveries": len(recoveries),
        "pause_p50_s": percentile([pause.whole_s for pause in pauses], 0.5),
        "pause_p99_s": percentile([pause.whole_s for pause in pauses], 0.99),
        "pause_without_processor_p99_s": percentile([pause.waited_s for pause in pauses], 0.99),
        "pauses": len(pauses),
        "healed_p99_s": percentile(healed, 0.99),
        "traced": sum(verdict.traced for verdict in verdicts),
        "deaths": sum(verdict.deaths for verdict in verdicts),
        "grown_mib": round(max((verdict.grown_mib for verdict in verdicts), default=0.0), 1),
        "by_kind": dict(sorted(kinds.items())),
        "broken": [law for verdict in verdicts for law in verdict.broken],
    }


def readable(found: dict[str, Any]) -> str:
    """The report for people."""
    kinds = ", ".join(f"{kind} {count}" for kind, count in found["by_kind"].items())
    rows = {
        "faults": f"{found['faults']}: {kinds}; {found['deaths']} deaths of workers",
        "tuples": f"{found['tuples']:,}, lost {found['lost']}, came twice {found['duplicates']:,}"
        f" (at most {found['duplicates_bound']:,} may)",
        "recovery": f"p50 {told_s(found['recovery_p50_s'])} (aim 0.5), p99 {told_s(found['recovery_p99_s'])} (aim 2),"
        f" {found['recoveries']} of kills: until the last lost tuple was emitted again",
        "pause": f"p50 {told_s(found['pause_p50_s'])}, p99 {told_s(found['pause_p99_s'])} (aim 0.1),"
        f" {found['pauses']} of sources that a kill does not concern;"
        f" p99 of that in which they waited for a processor {told_s(found['pause_without_processor_p99_s'])}",
        "memory": f"no process grew by more than {found['grown_mib']} MiB ({GROWN_RSS_MIB} may)",
        "laws": "; ".join(found["broken"]) or "all kept: nothing lost, invented, out of order or left over",
        "Storm 1.2.1": "after a kill 11 to 17 s without any result, about 50 s until what was lost is replayed",
    }
    return "\n".join(f"{name:12} {what}" for name, what in rows.items())


def told_s(seconds: float | None) -> str:
    """A time for people."""
    return "none" if seconds is None else f"{seconds:.3f} s"


def add_up(path: Path, found: dict[str, Any]) -> None:
    """Adds a slice to the sum over all that were ever run, with the commits that it covers, in their order."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    total: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"commits": [], "by_kind": {}}
    for key in ("slices", "faults", "tuples", "lost", "duplicates", "duplicates_bound", "deaths"):
        total[key] = total.get(key, 0) + found[key]
    total["broken"] = [*total.get("broken", []), *found["broken"]]
    total["by_kind"] = dict(sorted((Counter(total["by_kind"]) + Counter(found["by_kind"])).items()))
    total["commits"] = list(dict.fromkeys([*total["commits"], commit.stdout.strip()]))
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(total, indent=2) + "\n")
    draft.rename(path)


def main() -> int:
    told = "\n".join(f"  {kind:12} {what}" for kind, what in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description=__doc__, epilog=f"kinds of faults:\n{told}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--for", dest="for_s", type=seconds, default=seconds("15m"), help="how long (15m)")
    parser.add_argument("--seed", type=int, default=None, help="draws the faults; without it another one each time")
    parser.add_argument("--kinds", default=",".join(KINDS), help="only these kinds of faults, by commas")
    parser.add_argument("--sum", type=Path, help="a file in which what was found is added up")
    options = parser.parse_args()
    kinds = tuple(options.kinds.split(","))
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no kind of fault is called {', '.join(sorted(unknown))}")
    seed = Random().getrandbits(24) if options.seed is None else options.seed
    verdicts: list[Verdict] = []
    for number, (workload, for_s) in enumerate(slices(options.for_s)):
        is_traced = number == TRACED and options.for_s >= TRACED_FROM_S
        verdict = under_faults(workload, seed + number, for_s, kinds, is_traced=is_traced)
        verdicts.append(verdict)
        if options.sum is not None:
            add_up(options.sum, report([verdict]))
        print(
            f"{workload} seed {seed + number}: {verdict.faults.total()} faults, {verdict.tuples} tuples,"
            f" {verdict.lost} lost, {verdict.duplicates} came twice (at most {verdict.duplicates_bound})",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    total = report(verdicts)
    print(readable(total), file=sys.stderr, flush=True)
    print(json.dumps(total), flush=True)
    return 1 if total["broken"] or total["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
