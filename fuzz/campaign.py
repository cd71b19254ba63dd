"""Runs fuzz targets one after the other, says how they get on, and what came of it.

`python fuzz/campaign.py --for 60s [TARGET…]`; `--keep` puts the least inputs that reach all code which was reached into
`fuzz/corpus`, where the tests replay them. Ends with a table and one line of JSON; an input that breaks a law is in
`fuzz/artifacts`, and the exit code is 1.

Laws in Rust run in a process without sanitizers, which is six times as fast, but for those of code that holds `unsafe`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LEARNED, BUILT = HERE.parent / ".build/fuzz", HERE / "target"
SANITIZED = ("frames", "values")
RUST = ("frames", "framing", "handshake", "journal", "link", "stored", "tally", "tracker", "values")
PYTHON = ("commands", "formats", "intake", "letters", "positions", "settings", "where")
MAX_INPUT_BYTES, KEPT_FILES = 1024, 200
FOUND = "found-"
"""How the names of inputs begin that once broke a law."""
TELL_EVERY_S = 20
STATUS = re.compile(r"^#(\d+).* cov: (\d+)", re.MULTILINE)
EXECUTED = re.compile(r"number_of_executed_units: (\d+)")


@dataclass
class Result:
    """What came of one target."""

    target: str
    executions: int
    covered: int
    took_s: float
    found: list[str]


def main() -> None:
    """Runs the targets that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", help=f"of {', '.join((*RUST, *PYTHON))}; all, if none is named")
    parser.add_argument("--for", dest="time", default="60s", help="how long each is run: 60s, 5m")
    parser.add_argument("--keep", action="store_true", help="put what was learned into the corpus")
    given = parser.parse_args()
    targets: list[str] = given.targets or [*RUST, *PYTHON]
    if unknown := [target for target in targets if target not in (*RUST, *PYTHON)]:
        parser.error(f"there is no target {unknown[0]}")
    for target in targets:
        _build(target)
    for_s = int(given.time[:-1]) * (60 if given.time.endswith("m") else 1)
    results = [_run(target, for_s, f"{at}/{len(targets)}") for at, target in enumerate(targets, 1)]
    for target in targets if given.keep else []:
        _keep(target)
    _tell(results)
    sys.exit(any(result.found for result in results))


def _build(target: str) -> None:
    if target in PYTHON:
        return
    print(f"[fuzz] building {target}", flush=True)
    build = ["cargo", "+nightly", "fuzz", "build", "-s", _sanitizer(target), "--fuzz-dir", str(HERE)]
    done = subprocess.run(
        [*build, "--target-dir", str(BUILT / _sanitizer(target)), target], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{done.stderr}\nTargets in Rust need a nightly compiler, and cargo install cargo-fuzz --locked")


def _sanitizer(target: str) -> str:
    return "address" if target in SANITIZED else "none"


def _command(target: str) -> list[str]:
    if target in PYTHON:
        return [sys.executable, str(HERE / "target.py"), target]
    (program,) = (BUILT / _sanitizer(target)).glob(f"*/release/{target}")
    return [str(program)]


def _run(target: str, for_s: int, place: str) -> Result:
    learned, artifacts = LEARNED / target, HERE / "artifacts" / target
    for folder in (learned, artifacts, _corpus(target)):
        folder.mkdir(parents=True, exist_ok=True)
    options = (
        f"-max_total_time={for_s}",
        f"-max_len={MAX_INPUT_BYTES}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={artifacts}/",
        "-print_final_stats=1",
    )
    log = LEARNED / f"{target}.log"
    began_s, told_s = time.monotonic(), 0.0
    with log.open("wb") as out:
        command = [*_command(target), str(learned), str(_corpus(target)), *options]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=HERE.parent)
    while process.poll() is None:
        time.sleep(0.2)
        if (took_s := time.monotonic() - began_s) - told_s >= TELL_EVERY_S:
            told_s = took_s
            executions, covered = _state(log)
            print(f"[{place}] {target}: {took_s:.0f} s, {executions:,} executions, {covered:,} edges", flush=True)
    executions, covered = _state(log)
    took_s = time.monotonic() - began_s
    found = sorted(path.name for path in artifacts.iterdir() if path.stat().st_mtime > time.time() - took_s - 1)
    if process.returncode and not found:
        found = [f"ended with {process.returncode}, see {log}"]
    print(f"[{place}] {target}: {executions:,} executions, {', '.join(found) or 'nothing found'}", flush=True)
    return Result(target, executions, covered, took_s, found)


def _corpus(target: str) -> Path:
    return HERE / "corpus" / target


def _state(log: Path) -> tuple[int, int]:
    """How many executions there were, and how many edges of the code they reached."""
    text = log.read_text("utf-8", "replace")
    seen = STATUS.findall(text) or [("0", "0")]
    ended = EXECUTED.search(text)
    return int(ended[1] if ended else seen[-1][0]), int(seen[-1][1])


def _keep(target: str) -> None:
    """The fewest inputs that reach what was reached; what was once found is kept all the same."""
    corpus, merged = _corpus(target), LEARNED / f"{target}.merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    sources = [str(merged), str(LEARNED / target), str(corpus)]
    subprocess.run(
        [*_command(target), "-set_cover_merge=1", *sources], capture_output=True, check=True, cwd=HERE.parent
    )
    for path in corpus.iterdir():
        if not path.name.startswith(FOUND):
            path.unlink()
    for path in sorted(merged.iterdir(), key=lambda path: path.stat().st_size)[:KEPT_FILES]:
        shutil.copy(path, corpus)
    print(f"[keep] {target}: {len(list(corpus.iterdir()))} inputs", flush=True)


def _tell(results: list[Result]) -> None:
    print(f"\n{'target':12}{'executions':>14}{'a second':>12}{'edges':>8}  found")
    for one in results:
        rate, found = one.executions / one.took_s, ", ".join(one.found) or "-"
        print(f"{one.target:12}{one.executions:14,}{rate:12,.0f}{one.covered:8,}  {found}")
    executions = {one.target: one.executions for one in results}
    found = sum(len(one.found) for one in results)
    print(json.dumps({"executions": sum(executions.values()), "found": found, "targets": executions}))


if __name__ == "__main__":
    main()
