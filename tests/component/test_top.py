"""`squall top` and `squall ps`: looking at what another process runs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from rich.cells import cell_len

from .conftest import Running, Squall, wait_until
from .terminal import terminal
from .test_live_view import SLOW, assert_restored


def started(squall: Squall, name: str = "slow") -> Running:
    run = squall.start("run", squall.file(SLOW.replace('"slow"', f'"{name}"'), f"{name}.py"), "--json")
    run.event("progress")
    return run


def stopped(run: Running) -> None:
    run.interrupt()
    assert run.end() == 0


def test_view_of_a_running_topology_comes_and_goes_without_harming_it(squall: Squall) -> None:
    run = started(squall)
    with terminal(squall.folder, "top") as screen:
        screen.shows("numbers is held up")
        screen.press("j", then="10 min")
        screen.press("l", then="log level DEBUG for")
        screen.press("s", then="most recent call first")
        screen.press("t", then="  n=")
        screen.type("q")
        assert screen.end() == 0
        assert_restored(screen)
    assert run.process.poll() is None
    stopped(run)


def test_interrupt_leaves_the_view_and_not_the_run(squall: Squall) -> None:
    run = started(squall)
    with terminal(squall.folder, "top", "slow") as screen:
        screen.shows("held up")
        screen.type("\x03")
        assert screen.end() == 0
        assert_restored(screen)
    stopped(run)


def test_view_that_is_ended_by_a_signal_gives_the_terminal_back(squall: Squall) -> None:
    run = started(squall)
    with terminal(squall.folder, "top") as screen:
        screen.shows("held up")
        screen.process.terminate()
        assert screen.end() == 143
        assert_restored(screen)
    stopped(run)


def test_end_of_the_run_ends_the_view_with_its_summary(squall: Squall) -> None:
    run = started(squall)
    with terminal(squall.folder, "top") as screen:
        screen.shows("held up")
        stopped(run)
        assert screen.end() == 0
        assert 'summary of "slow"' in screen.text
        assert_restored(screen)


def test_run_that_is_killed_ends_the_view_with_an_error(squall: Squall) -> None:
    run = started(squall)
    with terminal(squall.folder, "top") as screen:
        screen.shows("held up")
        run.process.kill()
        assert screen.end() == 1
        assert "run_lost" in screen.text
        assert_restored(screen)


def test_one_screen_as_text(squall: Squall) -> None:
    run = started(squall)
    top = squall.done("top", "--once")
    assert top.process.returncode == 0
    assert "numbers is held up" in top.out
    assert "─▶ enrich" in top.out
    assert "\x1b" not in top.out
    stopped(run)


def test_events_as_json_lines_begin_with_the_graph(squall: Squall) -> None:
    run = started(squall)
    top = squall.start("top", "slow", "--json")
    wait_until(lambda: len(top.events("progress")) >= 2, what="two reports")
    stopped(run)
    assert top.end() == 0
    first, second, *_, last = top.events()
    assert (first["event"], second["event"], last["event"]) == ("started", "progress", "summary")
    assert first["graph"]["components"]["enrich"]["mode"] == "async"
    assert [one["source"] for one in first["graph"]["components"]["count"]["inputs"]] == ["enrich"]
    blocked = second["components"]["numbers"]["blocked_ratio"]
    assert max(blocked, key=lambda culprit: blocked[culprit]) == "enrich"
    assert second["workers"][0]["rss_bytes"] > 1_000_000


def test_plain_lines_on_a_pipe(squall: Squall) -> None:
    run = started(squall)
    top = squall.start("top")
    wait_until(lambda: "complete p50" in top.out, what="a line")
    stopped(run)
    assert top.end() == 0
    assert 'summary of "slow"' in top.out


def test_without_a_name_one_run_must_be_meant(squall: Squall) -> None:
    nothing = squall.done("top")
    assert (nothing.process.returncode, "not_running" in nothing.err) == (1, True)
    runs = [started(squall, "first"), started(squall, "second")]
    several = squall.done("top", "--once")
    assert several.process.returncode == 1
    assert "running_several" in several.err
    assert "first-" in several.err
    assert "second-" in several.err
    assert squall.done("top", "second", "--once").process.returncode == 0
    listed = squall.done("ps").out.splitlines()
    assert [line.split()[0] for line in listed] == ["TOPOLOGY", "first", "second"]
    told = [json.loads(line) for line in squall.done("ps", "--json").out.splitlines()]
    assert [(one["topology"], one["pid"], one["phase"]) for one in told] == [
        ("first", runs[0].process.pid, "running"),
        ("second", runs[1].process.pid, "running"),
    ]
    for run in runs:
        stopped(run)


def test_list_of_nothing_says_so(squall: Squall) -> None:
    listed = squall.done("ps")
    assert (listed.process.returncode, listed.out) == (0, "")
    assert "nothing is running here" in listed.err
    assert Path(squall.state).name in listed.err


def test_run_that_was_stopped_is_named_and_nobody_waits_for_it(squall: Squall) -> None:
    run = started(squall)
    run.process.send_signal(signal.SIGSTOP)
    try:
        [record] = [json.loads(line) for line in squall.done("ps", "--json").out.splitlines()]
        assert (record["topology"], record["pid"], record["phase"]) == ("slow", run.process.pid, "no answer")
        assert (record["up_s"], record["pending"]) == (None, None)
        _, row = squall.done("ps").out.splitlines()
        assert row.split() == ["slow", str(run.process.pid), "–", "no", "answer", "–", "–", "–", "–", "–"]
        top = squall.done("top", "--once")
        assert top.process.returncode == 1
        assert f"its process {run.process.pid} is stopped" in top.err
        assert f"kill -CONT {run.process.pid}" in top.err
    finally:
        run.process.send_signal(signal.SIGCONT)
    stopped(run)


def test_worker_that_was_stopped_is_named_by_a_command_that_waits_for_it(squall: Squall) -> None:
    run = started(squall)
    worker = run.event("started")["workers"][0]["pid"]
    os.kill(worker, signal.SIGSTOP)
    try:
        stacks = squall.done("stacks", "slow")
        assert stacks.process.returncode == 1
        assert f"its process {worker} is stopped" in stacks.err
    finally:
        os.kill(worker, signal.SIGCONT)
    stopped(run)


def test_names_of_wide_characters_keep_the_columns_of_the_list(squall: Squall) -> None:
    run = started(squall, "流れ")
    lines = squall.done("ps").out.splitlines()
    assert len({cell_len(line) for line in lines}) == 1
    stopped(run)
