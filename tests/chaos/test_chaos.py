"""Two minutes of faults, and that the count which judges them sees what it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from chaos import history
from chaos.__main__ import add_up, report, seconds, slices
from chaos.harness import Verdict
from chaos.history import Count, Death, Pause
from chaos.join import POISON, POISON_EVERY
from chaos.noted import High, Notes, checksum
from chaos.schedule import KINDS, Planned, planned

FOR = os.environ.get("SQUALL_CHAOS_FOR", "2m")
SEED = os.environ.get("SQUALL_CHAOS_SEED", "20261126")
ENDS_WITHIN_S = 300


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SQUALL_CHAOS_FOLDER", str(tmp_path))
    return tmp_path


def parts(records: int) -> list[str]:
    """What the sink of W1 notes of so many records of both sources."""
    rows = ((source, seq, part) for source in range(2) for seq in range(records) for part in range(3))
    return [f"{source} {seq} {part} {checksum(source, seq, part)}" for source, seq, part in rows]


def judged(folder: Path, lines: list[str], records: int = 4) -> Count:
    """The verdict on W1 of which this was noted."""
    for source in range(2):
        High(f"records-{source}").set(records)
    Notes("parts").write(*lines)
    return history.fan_out(folder)


def test_all_parts_once_is_no_loss(folder: Path) -> None:
    count = judged(folder, parts(4))
    assert (count.tuples, count.lost, count.duplicates, count.phantoms, count.disorder) == (56, [], 0, [], [])


def test_a_part_that_never_came_is_lost(folder: Path) -> None:
    lines = parts(4)
    lost = lines.pop(7)
    assert judged(folder, lines).lost == ["/".join(lost.split(" ")[:3])]


def test_a_part_that_came_again_is_counted(folder: Path) -> None:
    assert judged(folder, parts(4) + parts(4)[3:5]).duplicates == 2


def test_a_part_with_another_checksum_and_one_beyond_the_end_are_phantoms(folder: Path) -> None:
    beyond = f"0 4 1 {checksum(0, 4, 1)}"
    assert judged(folder, [*parts(4), "0 1 1 5", beyond]).phantoms == ["0 1 1 5", "(0, 4, 1)"]


def test_rows_that_overtook_others_are_told(folder: Path) -> None:
    assert judged(folder, [*parts(4), "disorder 7.9 3 4"]).disorder == ["disorder 7.9 3 4"]


def test_a_line_that_a_full_disk_cut_is_no_row(folder: Path) -> None:
    assert judged(folder, [*parts(4), "0 1", "0 1 x", ""]).phantoms == []


def test_pairs_are_due_but_for_the_poisoned(folder: Path) -> None:
    end = POISON_EVERY + POISON + 1
    for side in ("left", "right"):
        High(f"rows-{side}").set(end)
    due = [number for number in range(end) if number not in (POISON, POISON_EVERY + POISON)]
    Notes("joined-0").write(*map(str, due))
    assert history.join(folder) == Count(tuples=4 * end, poison=4)
    Notes("joined-1").write(str(due[5]), str(POISON))
    assert (history.join(folder).duplicates, history.join(folder).phantoms) == (1, [str(POISON)])


def test_recoveries_belong_to_their_kill(folder: Path) -> None:
    kills = [Death(10.0, 1), Death(20.0, 1), Death(40.0, 2)]
    noticed = [Death(at_s + 0.01, worker) for at_s, worker in kills]
    Notes("records-0").write("life 3 1.0", "again 10.3 1 9.9", "again 10.5 2 10.005", "again 12.0 3 11.0")
    Notes("records-1").write("life 1 20.3", "again 21.0 9 before", "again 25.0 9 24.0")
    assert history.recoveries(folder, kills, noticed) == [0.5, 1.0]


def test_a_pause_belongs_to_a_kill_as_far_as_it_lies_between_that_and_the_next_fault(folder: Path) -> None:
    Notes("apart").write("worker 2 0", "gap 10.4 0.500 0.2", "gap 10.9 0.410 0.0", "gap 13.0 0.900 0.0")
    none = Pause(history.NOTED_GAP_S, 0.0)
    one, own = history.pauses(folder, [Death(10.0, 1), Death(10.0, 2)], [9.9, 10.5])
    assert (one, own) == (Pause(pytest.approx(0.4), 0.2), none)


def test_a_kill_that_another_death_overtook_counts_for_that_one(folder: Path) -> None:
    kills = [Death(10.0, 1), Death(10.3, 2)]
    noticed = [Death(at_s + 0.01, worker) for at_s, worker in kills]
    Notes("records-0").write("life 3 1.0", "again 10.8 1 9.9", "again 10.7 2 10.2")
    assert history.recoveries(folder, kills, noticed) == [pytest.approx(0.5)]


def test_slices_are_added_up_with_their_commits(tmp_path: Path) -> None:
    one = report([Verdict("fan_out", 1, faults=Counter(kill=3), tuples=10, duplicates=2, deaths=3)])
    path = tmp_path / "sum.json"
    add_up(path, one)
    add_up(path, one)
    total = json.loads(path.read_text())
    assert (total["slices"], total["faults"], total["tuples"], total["by_kind"]) == (2, 6, 20, {"kill": 6})
    assert (total["lost"], total["duplicates"], total["deaths"], len(total["commits"])) == (0, 4, 6, 1)


def test_a_seed_draws_the_same_faults_again_and_never_none_of_death() -> None:
    def first(seed: int) -> list[Planned]:
        faults = planned(seed, 3, tuple(KINDS), 1.0)
        return [next(faults) for _ in range(100)]

    assert first(4) == first(4)
    assert first(4) != first(5)
    assert sum(fault.kind == "kill" for fault in first(4)) >= 50


def test_times_are_shared_out() -> None:
    assert (seconds("40s"), seconds("2m"), seconds("0.5h")) == (40, 120, 1800)
    assert slices(40) == [("fan_out", 24), ("join", 16)]
    assert sum(for_s for _, for_s in slices(900)) == pytest.approx(900)


@pytest.mark.timeout(ENDS_WITHIN_S)
def test_nothing_is_lost_under_any_fault() -> None:
    """Semantics 9, 10, 14, 18–20, 23, 31, 36; one run is traced. Any kind of fault that `chaos.schedule` names may be
    among them.
    """
    command = [sys.executable, "-m", "chaos", "--for", FOR, "--seed", SEED]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    print(done.stderr, done.stdout)
    assert done.returncode == 0, done.stderr[-5000:]
    total = json.loads(done.stdout.splitlines()[-1])
    assert (total["lost"], total["broken"]) == (0, [])
    assert total["faults"] >= 8
    assert total["traced"] > 10_000
