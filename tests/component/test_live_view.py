"""`squall run` on a terminal: its keys, the terminal's mode afterwards, sinks that print above it."""

from __future__ import annotations

import json
import os
import re
import signal
import termios

import pytest

from .conftest import NO_SECOND_LIFE, Squall, is_alive, wait_until
from .terminal import Terminal, terminal

SLOW = """
    import asyncio
    from squall import Bolt, Topology

    class Enrich(Bolt):
        outputs = ("n",)
        max_in_flight = 20

        async def process(self, n: int) -> int:
            await asyncio.sleep(0.02)
            return n

    topology = Topology("slow")
    numbers = topology.spout("numbers", lambda: iter(range(10**12)), outputs=("n",))
    enriched = topology.bolt("enrich", Enrich).shuffle(numbers)
    topology.bolt("count", lambda n: None).shuffle(enriched)
"""

PRINTING = """
    from squall import Topology
    from squall.connectors.standard import Print

    topology = Topology("printing")
    numbers = topology.spout("numbers", lambda: (f"<{{n}}>" for n in range({count})), outputs=("n",))
    topology.bolt("print", Print).shuffle(numbers)
"""


def is_waiting_for_lines(screen: Terminal) -> bool:
    return bool(screen.mode[3] & termios.ICANON) and bool(screen.mode[3] & termios.ECHO)


def assert_restored(screen: Terminal) -> None:
    """The terminal is as it was: its mode, and its cursor can be seen."""
    assert screen.mode == screen.mode_before
    assert screen.raw.rfind(b"\x1b[?25h") > screen.raw.rfind(b"\x1b[?25l")


def test_keys_show_panes_change_the_log_level_and_end_the_run(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(SLOW)) as screen:
        screen.shows("numbers is held up")
        screen.shows("by enrich (in flight 20 of 20)")
        assert not is_waiting_for_lines(screen)
        screen.press("j", then="10 min")
        screen.press("\x1b[B", then="enrich   bolt, async")
        screen.press("\x1b", then="worker 1")
        screen.press("?", then="ends the view")
        screen.press("s", then=str(squall.state / "logs"))
        screen.press("e", then="no component has raised an error")
        screen.press("l", then="log level DEBUG for")
        screen.press("l", then="log level INFO again")
        screen.press("t", then="whose tuples?")
        screen.press("2", then="  n=")
        screen.press("t", then="worker 1")
        screen.press("p", then="view paused")
        screen.press("q", then="summary of")
        assert screen.end() == 0
        assert_restored(screen)
        (stacks,) = squall.state.glob("logs/*.stacks-*")
        assert "most recent call first" in stacks.read_text()


def test_rates_stand_on_the_edges(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(SLOW)) as screen:
        screen.shows("─▶ enrich")
        wait_until(lambda: re.search(r"numbers ──[\d.,k]+/s─▶ enrich ──[\d.,k]+/s─▶ count", screen.text), what="rates")


def test_interrupt_drains_and_gives_the_terminal_back(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(SLOW)) as screen:
        screen.shows("numbers is held up")
        screen.press("\x03", then="waiting for what is pending")
        assert screen.end() == 0
        assert "summary of" in screen.text
        assert_restored(screen)


def test_worker_that_is_killed_for_good_leaves_the_terminal_as_it_was(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(SLOW), *NO_SECOND_LIFE) as screen:
        screen.shows("held up")
        worker = re.search(r"process (\d+)", screen.text)
        assert worker is not None
        os.kill(int(worker[1]), signal.SIGKILL)
        assert screen.end() == 1
        assert "worker_crashed" in screen.text
        assert_restored(screen)


def test_topology_that_cannot_begin_leaves_the_terminal_as_it_was(squall: Squall) -> None:
    path = squall.file(
        """
        from squall import Bolt, Topology

        class Broken(Bolt):
            def open(self, context) -> None:
                raise ValueError("no such table")

            def process(self, n: int) -> None: ...

        topology = Topology("broken")
        topology.bolt("broken", Broken).shuffle(topology.spout("numbers", lambda: iter(()), outputs=("n",)))
        """
    )
    with terminal(squall.folder, "run", path) as screen:
        assert screen.end() == 1
        assert "no such table" in screen.text
        assert_restored(screen)


def test_no_keys_are_taken_from_a_standard_input_that_is_no_terminal(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(SLOW), stdin=False) as screen:
        screen.shows("held up")
        screen.shows("Ctrl-C drains and ends")
        assert screen.mode == screen.mode_before
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0


def test_stop_gives_the_terminal_back_until_the_run_goes_on(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(SLOW)) as screen:
        screen.shows("held up")
        screen.process.send_signal(signal.SIGTSTP)
        wait_until(lambda: is_waiting_for_lines(screen), what="the terminal's own mode")
        screen.process.send_signal(signal.SIGCONT)
        wait_until(lambda: not is_waiting_for_lines(screen), what="single keys again")
        screen.press("q", then="summary of")
        assert screen.end() == 0
        assert_restored(screen)


def test_another_size_is_followed(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(SLOW), columns=100) as screen:
        screen.shows("emitted")
        screen.resize(60, 20)
        screen.process.send_signal(signal.SIGWINCH)
        begun = len(screen.text)
        screen.shows("component", after=begun)
        screen.press("j", then="numbers   spout")
        assert max(map(len, screen.text[begun:].splitlines())) < 100
        screen.type("q")
        assert screen.end() == 0


@pytest.mark.parametrize("count", [5, 20_000])
def test_what_sinks_print_scrolls_by_above_whole_and_in_order(squall: Squall, count: int) -> None:
    """It is the first thing that a newcomer sees."""
    with terminal(squall.folder, "run", squall.file(PRINTING.format(count=count))) as screen:
        assert screen.end() == 0
        assert re.findall(r"<(\d+)>", screen.text) == [str(n) for n in range(count)]
        assert "starting" in screen.text
        assert screen.text.rfind(f"<{count - 1}>") < screen.text.rfind("summary of")
        assert_restored(screen)


def test_nothing_that_was_acked_is_missing_on_the_terminal_after_an_interrupt(squall: Squall) -> None:
    summary = squall.folder / "summary.json"
    path = squall.file(PRINTING.format(count=10**12))
    with terminal(squall.folder, "run", path, "--summary", summary) as screen:
        screen.shows("<2000>")
        screen.press("\x03", then="waiting for what is pending")
        assert screen.end() == 0
        shown = re.findall(r"<(\d+)>", screen.text)
        assert shown == [str(n) for n in range(len(shown))]
        assert json.loads(summary.read_text())["acked"] == len(shown)


def test_terminal_that_goes_away_ends_the_run(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(PRINTING.format(count=10**12))) as screen:
        screen.shows("<100>")
        screen.hang_up()
        assert screen.process.wait(30) in (0, 1)


def test_parent_that_is_killed_takes_its_printing_worker_with_it(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(PRINTING.format(count=10**12))) as screen:
        screen.shows("<100>")
        worker = re.search(r"process (\d+)", screen.text)
        assert worker is not None
        screen.process.kill()
        wait_until(lambda: not is_alive(int(worker[1])), what="the worker's end")


def test_dumb_terminal_gets_plain_lines(squall: Squall) -> None:
    with terminal(squall.folder, "run", squall.file(PRINTING.format(count=3)), kind="dumb") as screen:
        assert screen.end() == 0
        assert re.findall(r"<(\d+)>", screen.text) == ["0", "1", "2"]
        assert b"\x1b" not in screen.raw


def test_colours_are_left_out_where_they_are_not_wanted(squall: Squall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal(squall.folder, "run", squall.file(SLOW)) as screen:
        screen.shows("held up")
        screen.press("q", then="summary of")
        assert screen.end() == 0
        assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", screen.raw)
