"""User code logs and prints as it likes: nothing fails by it, and everything is in the worker's log."""

from __future__ import annotations

import pytest

from .conftest import Running, Squall

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
