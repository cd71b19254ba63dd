"""User code logs and prints as it likes: nothing fails by it, and everything is in the worker's log."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from squall.cli.log_levels import levels
from squall.errors import ConfigError

from .conftest import Running, Squall, wait_until
from .over_workers import pid

LOGGING = """
    import logging, logging.config, sys
    from squall import Bolt, Topology

    def configure():
        {configure}

    {at_import}

    class Chatty(Bolt):
        def open(self, context):
            {at_open}

        def process(self, n: int):
            logging.getLogger("mine").warning("logged %s", n)
            print("printed", n)
            self.context.log.info("said %s", n)

    topology = Topology("chatty")
    topology.bolt("chatty", Chatty, retries=0).shuffle(topology.spout("s", lambda: iter(range(3)), outputs=("n",)))
"""
DICT = '{"version": 1, "handlers": {"c": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["c"]}}'


def lines_with(run: Running, text: str) -> list[str]:
    return [line for line in run.err.splitlines() if text in line and "component=chatty" in line]


@pytest.mark.parametrize("when", ["at_import", "at_open"])
@pytest.mark.parametrize(
    "configure",
    [
        "logging.getLogger().addHandler(logging.StreamHandler())",
        "logging.basicConfig(force=True, level=logging.INFO)",
        f"logging.config.dictConfig({DICT})",
        "logging.getLogger().handlers.clear()",
    ],
    ids=["root handler", "basicConfig", "dictConfig", "no handler"],
)
def test_logging_configured_by_user_code(squall: Squall, configure: str, when: str) -> None:
    """No tuple fails; records and prints are in the log under their component, at once and to the end."""
    places = {"at_import": "pass", "at_open": "pass"} | {when: "configure()"}
    run = squall.run(LOGGING.format(configure=configure, **places))
    assert run.end() == 0
    summary = run.summary()
    assert (summary["acked"], summary["failed"]) == (3, 0)
    for text in ("logger=mine logged", "logger=stdout printed", "logger=squall.user.chatty said"):
        assert [line[-1] for line in lines_with(run, text)] == ["0", "1", "2"], run.err


def test_prints_without_a_line_feed_and_of_bytes_are_shown(squall: Squall) -> None:
    run = squall.run(
        """
        import sys
        from squall import Bolt, Topology

        class Chatty(Bolt):
            def process(self, n: int):
                print("flushed", n, end="", flush=True)
                sys.stdout.buffer.write(b"bytes %d\\n" % n)

            def close(self):
                print("the end", end="")

        topology = Topology("chatty")
        topology.bolt("chatty", Chatty, retries=0).shuffle(topology.spout("s", lambda: iter(range(2)), outputs=("n",)))
        """
    )
    assert run.end() == 0
    assert run.summary()["acked"] == 2
    for text in ("flushed 0", "bytes 0", "flushed 1", "bytes 1"):
        assert len(lines_with(run, f"logger=stdout {text}")) == 1
    assert "logger=stdout the end" in run.err


EVIL = """
    import logging, os
    from squall import Bolt, Topology

    class Evil(Bolt):
        def process(self, n: int):
            log = logging.getLogger("mine")
            log.warning("two\\nlines \\u2028 and \\x85 more", extra={"order": 5, "odd": {(1, 2): object()}})
            print('{"level": "INFO"}\\rprinted')
            try:
                raise ValueError("a\\nb")
            except ValueError:
                log.exception("failed")

    topology = Topology("evil", settings={"worker.log.format": "json"})
    topology.bolt("evil", Evil, retries=0).shuffle(topology.spout("s", lambda: iter(range(1)), outputs=("n",)))
"""


def logged(run: Running, **wanted: Any) -> dict[str, Any]:
    """The one line of a log of JSON that has these values."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in run.err.split("\n") if line]
    (found,) = (line for line in lines if wanted.items() <= line.items())
    return found


def test_each_line_of_a_log_of_json_is_an_object_whatever_is_logged(squall: Squall) -> None:
    """The setting is the topology's own here."""
    run = squall.run(EVIL)
    assert run.end() == 0
    assert run.summary()["acked"] == 1
    warned = logged(run, logger="mine", level="WARNING")
    assert warned["message"] == "two\nlines \u2028 and \x85 more"
    assert (warned["topology"], warned["component"], warned["task"], warned["worker"]) == ("evil", "evil", 1, 1)
    assert warned["extra"]["order"] == 5
    assert logged(run, logger="stdout")["message"] == '{"level": "INFO"}\rprinted'
    assert logged(run, message="failed")["exception"].endswith("ValueError: a\nb")


def test_the_format_is_chosen_by_an_option(squall: Squall) -> None:
    run = squall.run(LOGGING.format(configure="pass", at_import="pass", at_open="pass"), "--log-format", "JSON")
    assert run.end() == 0
    printed = [line["message"] for line in map(json.loads, run.err.splitlines()) if line["logger"] == "stdout"]
    assert printed == ["printed 0", "printed 1", "printed 2"]
    refused = squall.done("run", squall.folder / "topology.py", "--log-format", "xml")
    assert refused.process.returncode == 2
    assert "give one of text, json" in refused.err


IDLE = """
    from squall import Bolt, Topology

    class Nothing(Bolt):
        def process(self, n: int):
            pass

    def nothing():
        while True:
            yield None

    topology = Topology("idle")
    topology.bolt("nothing", Nothing).shuffle(topology.spout("s", nothing, outputs=("n",)))
"""


def test_levels_are_listed_with_what_is_left_of_them_and_end_or_are_undone(squall: Squall) -> None:
    """Semantics 28."""
    run = squall.run(IDLE)
    run.event("progress")

    def told(*arguments: object) -> list[str]:
        done = squall.done("log-level", "idle", *arguments)
        assert done.process.returncode == 0, done.err
        return done.out.splitlines()

    assert told() == ["root is INFO", "stderr is INFO", "stdout is INFO"]
    assert told("mine=DEBUG:1s", "root=warning", "other=ERROR:10m") == [
        "mine was NOTSET and is DEBUG for 1 s",
        "root was INFO and is WARNING",
        "other was NOTSET and is ERROR for 600 s",
    ]
    wait_until(lambda: "mine is NOTSET" in told())
    listed = told()
    assert listed[0] == "root is WARNING"
    assert any(line.startswith("other is ERROR for 9 min ") and line.endswith("then NOTSET") for line in listed)
    assert told("root=") == ["root was WARNING and is INFO"]
    assert told("--reset") == ["mine was NOTSET and is NOTSET", "other was ERROR and is NOTSET"]
    assert told("--reset") == ["no level was changed"]


IN_OPEN = IDLE.replace(
    "        def process",
    """        def open(self, context):
            import logging, os, pathlib
            level = logging.getLogger("mine").getEffectiveLevel()
            pathlib.Path(f"level-{os.getpid()}").write_text(logging.getLevelName(level))

        def process""",
)


def test_levels_outlive_a_worker_with_what_is_left_of_them(squall: Squall) -> None:
    """They are there when its next life opens its components, and end when they were to."""
    run = squall.run(IN_OPEN, "-w", 2)
    before = pid(run, 1), pid(run, 2)
    done = squall.done("log-level", "idle", "root=WARNING", "mine=DEBUG:10m", "gone=DEBUG:0.01s")
    assert done.process.returncode == 0, done.err
    for worker, process in enumerate(before, 1):
        os.kill(process, signal.SIGKILL)
        pid(run, worker, after=process)
    opened = [
        path.read_text() for path in squall.folder.glob("level-*") if not path.name.endswith(tuple(map(str, before)))
    ]
    assert opened == ["DEBUG"]
    listed = squall.done("log-level", "idle").out.splitlines()
    assert "root is WARNING" in listed
    assert any(line.startswith("mine is DEBUG for 9 min ") and line.endswith("then NOTSET") for line in listed)
    assert not any("gone is DEBUG" in line for line in listed)
    assert "root was WARNING and is INFO" in squall.done("log-level", "idle", "--reset").out.splitlines()
    process = pid(run, 1)
    os.kill(process, signal.SIGKILL)
    pid(run, 1, after=process)
    assert "root is INFO" in squall.done("log-level", "idle").out.splitlines()


@pytest.mark.parametrize(
    "wrong", ["mine", "mine=LOUD", "mine=DEBUG:0s", "mine=DEBUG:soon", "mine=:5s", "=DEBUG", "mine=DEBUG:999999d"]
)
def test_a_wrong_change_of_levels_changes_nothing(wrong: str) -> None:
    with pytest.raises(ConfigError, match="code: log_level_invalid"):
        levels(Path("/nowhere"), "idle", ["root=DEBUG", wrong], reset=True)


def test_what_is_written_past_logging_goes_to_the_newest_file_too(squall: Squall) -> None:
    """Of a log that has been begun anew many times; its files stay within their bound, and the last lines are shown."""
    run = squall.run(
        """
        import logging, os
        from squall import Bolt, Topology

        class Chatty(Bolt):
            def process(self, n: int):
                logging.getLogger("mine").warning("%d %s", n, "x" * 500)
                if n == 499:
                    os.write(2, b"straight to the descriptor\\n")

        topology = Topology("chatty", settings={"worker.log.max.bytes": 1 << 16})
        topology.bolt("chatty", Chatty).shuffle(topology.spout("s", lambda: iter(range(500)), outputs=("n",)))
        """
    )
    assert run.end() == 0
    newest = Path(run.event("started")["log"])
    assert "straight to the descriptor\n" in newest.read_text()
    assert "straight to the descriptor\n" in run.err
    files = list(newest.parent.glob(f"{newest.name}*"))
    assert len(files) == 4
    assert sum(file.stat().st_size for file in files) < (1 << 16) + 4 * 1000
