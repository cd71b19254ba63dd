"""`squall tap`: live tuples of a run, from another process."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

from squall.cli.tapping import Wanted, follow
from squall.engines.embedded.runs import ask, running

from .conftest import Running, Squall, wait_until

COUNTING = """
    import itertools, time
    from squall import Bolt, Emit, Topology

    class Label(Bolt):
        outputs = ("label", "n", "user")
        streams = {"tens": ("n",)}

        def process(self, n: int):
            if n % 10 == 0:
                self.emit(n, stream="tens")
            return f"l{n % 3}", n, {"name": "ann", "password": "s3cret", "long": "x" * 5000}

    def last(label, n, user):
        time.sleep(0.001)

    topology = Topology("counting")
    labels = topology.bolt("label", Label, parallelism=2).shuffle(
        topology.spout("numbers", lambda: iter(itertools.count()), outputs=("n",))
    )
    topology.bolt("last", last).shuffle(labels)
"""


def started(squall: Squall, text: str = COUNTING, *arguments: object) -> Running:
    run = squall.run(text, *arguments)
    run.event("started")
    return run


def rows(tap: Running) -> list[dict[str, Any]]:
    lines = tap.out.splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def taps(squall: Squall) -> int:
    """How many threads of the worker send what taps see: none while there is no tap."""
    (path,) = running(squall.state).values()
    return ask(path, {"cmd": "stacks"}, 10)["stacks"].count('taps.py", line')


def test_a_malformed_command_is_answered_at_once(squall: Squall) -> None:
    started(squall)
    (path,) = running(squall.state).values()
    for request in ({}, {"component": "label", "ratio": "x"}, {"component": "label", "where": 5}):
        answer = ask(path, {"cmd": "tap", **request}, 10)
        assert answer["error"].startswith("it failed: "), answer
    assert "KeyError" in ask(path, {"cmd": "log-level"}, 10)["error"]
    assert taps(squall) == 0


def test_tuples_are_shown_with_their_fields_until_the_limit(squall: Squall) -> None:
    started(squall)
    tap = squall.done("tap", "label:default", "--limit", "3")
    assert tap.process.returncode == 0, tap.err
    lines = tap.out.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.match(r"\d\d:\d\d:\d\d\.\d\d\d  label\[\d+\]  label='l\d' n=\d+ user=\{'name': 'ann', ", line)
        assert "'password': ***" in line
        assert "s3cret" not in line
        assert len(line) < 1500
    assert tap.err == ""


def test_json_of_tuples_gives_a_terminal_no_orders_and_holds_texts_that_are_none(squall: Squall) -> None:
    started(squall, COUNTING.replace('f"l{n % 3}"', r'"名\x9b2J\udcff" if n % 3 else "名"'))
    tap = squall.done("tap", "label:default", "--limit", "20", "--json")
    assert tap.process.returncode == 0, tap.err
    assert {row["values"]["label"] for row in rows(tap)} == {"名", "名\x9b2J\udcff"}
    assert "\x9b" not in tap.out


def test_tuples_as_json_of_all_streams_and_tasks(squall: Squall) -> None:
    started(squall)
    tap = squall.start("tap", "label", "--topology", "counting", "--json")
    wait_until(
        lambda: (
            {(row["stream"], row["task"]) for row in rows(tap)} >= {("default", 1), ("tens", 1)} or tap.process.poll()
        )
    )
    tap.interrupt()
    assert tap.end() == 0
    tasks = {row["task"] for row in rows(tap)}
    assert len(tasks) == 2
    first = rows(tap)[0]
    assert first["component"] == "label"
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$", first["at"])
    default = next(row for row in rows(tap) if row["stream"] == "default")
    assert default["values"]["user"]["name"] == "ann"
    assert default["values"]["user"]["password"] == "***"
    assert default["values"]["label"] == f"l{default['values']['n'] % 3}"


def test_an_expression_and_a_ratio_choose_tuples_in_the_worker(squall: Squall) -> None:
    started(squall)
    tap = squall.done(
        "tap", "label:default", "--where", "n % 7 == 0 and user['name'] == 'ann'", "--limit", "5", "--json"
    )
    assert [row["values"]["n"] % 7 for row in rows(tap)] == [0] * 5
    sampled = squall.done("tap", "numbers", "--ratio", "0.1", "--limit", "20", "--json")
    numbers = [row["values"]["n"] for row in rows(sampled)]
    assert numbers == sorted(numbers)
    assert numbers[-1] - numbers[0] > 40


def test_a_fast_stream_is_bounded_and_what_is_skipped_is_told(squall: Squall) -> None:
    started(squall, COUNTING.replace("time.sleep(0.001)", "pass"))
    tap = squall.start("tap", "numbers")
    wait_until(lambda: len(tap.out.splitlines()) > 500)
    tap.interrupt()
    assert tap.end() == 0
    told = re.search(r"([\d,]+) of ([\d,]+) tuples were skipped: a tap shows at most 1,000 a second", tap.err)
    assert told is not None
    skipped, passed = (int(count.replace(",", "")) for count in told.groups())
    assert skipped > passed - skipped >= len(tap.out.splitlines())


def test_tuples_for_which_the_expression_raises_are_counted(squall: Squall) -> None:
    started(squall)
    tap = squall.start("tap", "label:tens", "--where", "n % 20 == 0 or n['x'] > 0", "--json")
    wait_until(lambda: len(rows(tap)) > 5)
    tap.interrupt()
    assert tap.end() == 0
    assert {row["values"]["n"] % 20 for row in rows(tap)} == {0}
    assert re.search(r"the expression raised for [\d,]+ tuples, last TypeError: no match", tap.err)


def test_what_cannot_be_tapped_is_told(squall: Squall) -> None:
    started(squall)
    for arguments, told in (
        (("tap", "lable"), 'did you mean "label"'),
        (("tap", "last"), "code: tap_nothing"),
        (("tap", "label", "--where", "n >"), "code: expression_invalid"),
        (("tap", "label", "-t", "other"), "code: not_running"),
    ):
        tap = squall.done(*arguments)
        assert told in tap.err
        assert tap.process.returncode in (1, 2)
        assert tap.out == ""


def test_the_topology_need_not_be_named_if_only_one_runs(squall: Squall) -> None:
    nothing = squall.done("tap", "label")
    assert "code: not_running" in nothing.err
    started(squall)
    other = squall.start("run", squall.file(COUNTING.replace('"counting"', '"another"'), "another.py"), "--json")
    other.event("progress")
    several = squall.done("tap", "label", "--limit", "1")
    assert several.process.returncode == 1
    assert "code: running_several" in several.err
    assert "another-" in several.err
    assert squall.done("tap", "label", "--limit", "1", "-t", "another").process.returncode == 0


def test_a_tap_ends_when_its_asker_is_gone_however_it_went(squall: Squall) -> None:
    started(squall)
    for end in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM):
        tap = squall.start("tap", "numbers", "--ratio", "0.5")
        wait_until(lambda tap=tap: tap.out)
        assert taps(squall)
        tap.process.send_signal(end)
        tap.end()
        wait_until(lambda: not taps(squall), what="the end of the tap")


def test_a_tap_ends_with_the_run_and_says_so(squall: Squall) -> None:
    run = started(squall)
    first, second = squall.start("tap", "numbers"), squall.start("tap", "numbers", "--ratio", "0.1", "--json")
    wait_until(lambda: first.out and second.out)
    run.interrupt()
    for tap in (first, second):
        assert tap.end() == 0
        assert '"counting" has ended' in tap.err
    assert run.end() == 0


def test_a_tap_from_the_very_start_sees_the_first_tuple(squall: Squall) -> None:
    """It may be asked for while the worker still makes the components."""
    waits = """def __init__(self):
            import os, sys
            while "squall.runtime.worker" in sys.orig_argv and not os.path.exists("go"):
                time.sleep(0.01)

        def process("""
    started(squall, COUNTING.replace("def process(", waits))
    tap = squall.start("tap", "numbers", "--limit", "1", "--json")
    wait_until(lambda: taps(squall), what="the tap")
    (squall.folder / "go").touch()
    assert tap.end() == 0
    assert [row["values"] for row in rows(tap)] == [{"n": 0}]


def test_one_who_does_not_read_is_cut_off_and_the_run_goes_on(squall: Squall) -> None:
    run = started(squall)
    (path,) = running(squall.state).values()
    with follow(path, "counting", Wanted("label")):
        assert taps(squall)
        wait_until(lambda: not taps(squall), what="the end of the tap")
    before = len(run.events("progress"))
    wait_until(lambda: len(run.events("progress")) > before + 1)
    assert squall.done("tap", "label", "--limit", "1").process.returncode == 0


def test_names_of_the_setting_are_hidden_too(squall: Squall) -> None:
    started(squall, COUNTING, "-c", "topology.mask.fields=label,-password")
    tap = squall.done("tap", "label:default", "--limit", "1", "--json")
    (row,) = rows(tap)
    assert row["values"]["label"] == "***"
    assert row["values"]["user"]["password"] == "s3cret"


HANGING = """
    import itertools, os, re, time
    from squall import Topology

    def hang_in_python(n):
        while os.path.exists("hang"):
            pass
        return n

    def hang_in_c(n):
        re.match(r"(a+)+$", "a" * 60 + "b")

    topology = Topology("hanging")
    topology.bolt("hang", {how}, outputs=("n",)).shuffle(
        topology.spout("numbers", lambda: iter(itertools.count()), outputs=("n",))
    )
"""


def test_a_tap_is_switched_on_while_user_code_hangs(squall: Squall) -> None:
    """Semantics 28. Its first tuples come when the code returns; until then it says what it waits for."""
    (squall.folder / "hang").touch()
    run = squall.run(HANGING.format(how="hang_in_python"), "-c", "topology.stuck.secs=0.3")
    run.event("stuck")
    tap = squall.start("tap", "hang", "--limit", "1")
    wait_until(lambda: 'a call of "hang" has been running for' in tap.err, what="the reason why nothing comes")
    assert taps(squall) == 1
    (squall.folder / "hang").unlink()
    assert tap.end() == 0
    assert "n=" in tap.out


def test_a_tap_that_cannot_be_switched_on_says_what_is_busy(squall: Squall) -> None:
    """Semantics 28. Code in C that keeps the interpreter lock."""
    run = squall.run(HANGING.format(how="hang_in_c"))
    run.event("started")
    wait_until(lambda: "hang_in_c" in squall.done("stacks", "hanging").out, what="the call that hangs")
    tap = squall.start("tap", "numbers")
    assert tap.end() == 1
    assert "code: no_answer" in tap.err
    assert 'busy in "hang"' in tap.err
    run.process.kill()
