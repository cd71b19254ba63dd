"""The command line as a shell sees it: interrupts, pipes, full disks, folders and files that cannot be used."""

from __future__ import annotations

import json
import os
import re

import pytest

from .conftest import Squall, wait_until

FINITE = """
    from squall import Bolt, Topology

    print("a line of the module")

    class Last(Bolt):
        def process(self, n: int):
            print("took", n)

    topology = Topology("finite")
    topology.bolt("last", Last).shuffle(topology.spout("numbers", lambda: iter(range(3)), outputs=("n",)))
"""

ENDLESS = """
    from squall import Topology

    def ones():
        while True:
            yield 1

    topology = Topology("endless")
    topology.bolt("last", lambda n: None).shuffle(topology.spout("ones", ones, outputs=("n",)))
"""

DEAD = """
    from squall import DeadLetter, Topology

    def refuse(n):
        raise DeadLetter(f"refused {n}")

    topology = Topology("refusing")
    topology.bolt("refuse", refuse).shuffle(topology.spout("numbers", lambda: iter(range(3)), outputs=("n",)))
"""


@pytest.mark.parametrize("command", ["run", "check"])
def test_interrupt_while_the_file_is_loaded_is_130(squall: Squall, command: str) -> None:
    """Ctrl-C ends a command whose user code takes its time."""
    begun = squall.folder / "begun"
    file = squall.file(f"import threading\nopen({str(begun)!r}, 'w').close()\nthreading.Event().wait()\n")
    running = squall.start(command, file)
    wait_until(begun.exists, what="the import")
    running.interrupt()
    assert running.end() == 130
    assert "Traceback" not in running.err


@pytest.mark.parametrize("command", ["run", "check"])
def test_file_that_interrupts_itself_is_130(squall: Squall, command: str) -> None:
    assert squall.done(command, squall.file("raise KeyboardInterrupt\n")).process.returncode == 130


IN_FACTORY = """
def make():
    {how}

topology = Topology("t")
topology.bolt("b", make).shuffle(topology.spout("s", lambda: iter([1]), outputs=("n",)))
"""


@pytest.mark.parametrize("how", ["os._exit(0)", "sys.exit(0)"])
@pytest.mark.parametrize(
    "where", ["{how}", "def make() -> Topology:\n    {how}", IN_FACTORY], ids=["module", "function", "factory"]
)
def test_code_that_ends_its_process_while_it_is_built_is_told(squall: Squall, how: str, where: str) -> None:
    """It does not end the command as if all was well."""
    check = squall.done("check", squall.file(f"import os, sys\nfrom squall import Topology\n{where.format(how=how)}\n"))
    assert check.process.returncode == 2
    assert f"SystemExit: {'0' if 'sys' in how else how}" in check.err


@pytest.mark.parametrize(
    "arguments", [["explain", "name_twice"], ["dead", "list", "refusing"], ["check", "topology.py"], ["--help"]]
)
def test_reader_that_goes_away_is_no_error(squall: Squall, arguments: list[str]) -> None:
    """As with `head`: exit code 0 and nothing on standard error."""
    squall.run(DEAD).end()
    read, write = os.pipe()
    os.close(read)
    running = squall.start(*arguments, stdout=write)
    os.close(write)
    assert running.end() == 0
    assert running.err == ""


@pytest.mark.parametrize(
    "arguments", [["explain", "name_twice"], ["check", "topology.py"], ["run", "topology.py"], ["--help"]]
)
def test_output_that_takes_no_more_is_one_short_error(squall: Squall, arguments: list[str]) -> None:
    squall.file(ENDLESS)
    with open("/dev/full", "wb") as full:
        running = squall.start(*arguments, stdout=full)
    assert running.end() == 1
    assert "No space left on device" in running.err
    assert "code: output_unwritable" in running.err
    assert "Traceback" not in running.err


@pytest.mark.parametrize("path", ["/nowhere/summary.json", "/tmp", ""])
def test_summary_that_cannot_be_written_is_told_before_the_run(squall: Squall, path: str) -> None:
    running = squall.done("run", squall.file(ENDLESS), "--summary", path)
    assert running.process.returncode == 2
    assert f'cannot be written to "{path}"' in running.err
    assert "code: summary_unwritable" in running.err
    assert running.out == ""


def test_summary_that_is_not_taken_fails_the_run(squall: Squall) -> None:
    running = squall.done("run", squall.file(FINITE), "--summary", "/dev/full", "--json")
    assert running.process.returncode == 1
    assert "code: summary_unwritable" in running.err
    assert running.summary()["acked"] == 3


@pytest.mark.parametrize("folder", ["/proc/nowhere", "a file"])
def test_state_folder_that_cannot_be_used_is_one_short_error(squall: Squall, folder: str) -> None:
    squall.file("", "a file")
    running = squall.done("run", squall.file(FINITE), "-c", f"storm.local.dir={folder}")
    assert running.process.returncode == 1
    assert "code: state_unusable" in running.err
    assert folder in running.err
    assert "Traceback" not in running.err


def test_json_output_is_json_whatever_user_code_prints(squall: Squall) -> None:
    """Prints of the module, of C code and of what runs at the end of the process go to standard error."""
    text = "import atexit, os\natexit.register(print, 'at the end')\nos.write(1, b'raw\\n')\nos.system('echo shell')\n"
    running = squall.start("run", squall.file(text + re.sub("^    ", "", FINITE, flags=re.MULTILINE)), "--json")
    assert running.end() == 0
    assert [json.loads(line)["event"] for line in running.out.splitlines()] == [
        "started",
        "worker",
        "worker",
        "summary",
    ]
    assert running.err.count("a line of the module") == 1


def test_prints_of_the_module_are_shown_once(squall: Squall) -> None:
    """Parent and worker both build the topology; `check` shows them on standard error, apart from its drawing."""
    run = squall.done("run", squall.file(FINITE))
    assert (run.out + run.err).count("a line of the module") == 1
    check = squall.done("check", squall.file(FINITE))
    assert check.err == "a line of the module\n"
    failing = squall.done("run", squall.file("print('told before')\nraise ValueError('no')\n"))
    assert failing.err.startswith("told before\n")
    assert failing.out == ""


def test_what_an_error_does_not_show_is_in_the_log(squall: Squall) -> None:
    """At most 25 lines, and the log, in the folder that `-c` names, has all of them; it does not grow for ever."""
    mine = squall.folder / "mine"
    log = mine / "logs" / "errors.log"
    log.parent.mkdir(parents=True)
    log.write_text("x" * (2 << 20))
    text = (
        "from squall import Topology\nt = Topology('t')\ns = t.spout('s', lambda: iter(()), outputs=('n',))\n"
        "for i in range(12):\n    t.bolt(f'b{i}', lambda q: None).shuffle(s)\n"
    )
    check = squall.done("check", squall.file(text), "-c", f"storm.local.dir={mine}")
    assert check.process.returncode == 2
    assert len(check.err.splitlines()) == 25
    assert "12 defects in all" in check.err
    assert f"log: {log}" in check.err
    assert log.read_text().count("code: parameter_unknown") == 12
    assert {path.name for path in log.parent.iterdir()} == {"errors.log", "errors.log.1"}


def test_commands_find_a_run_in_the_folder_that_c_names(squall: Squall) -> None:
    mine = ["-c", f"storm.local.dir={squall.folder / 'mine'}"]
    run = squall.run(ENDLESS, *mine)
    run.event("progress")
    assert squall.done("stacks", "endless").process.returncode == 1
    assert "most recent call first" in squall.done("stacks", "endless", *mine).out
    assert squall.done("log-level", "endless", "root=DEBUG", *mine).process.returncode == 0
    run.interrupt()
    assert run.end() == 0
    assert squall.run(DEAD, *mine).end() == 0
    for command in ("list", "show", "replay", "drop"):
        numbers = [] if command == "list" else [1]
        assert squall.done("dead", command, "refusing", *numbers).process.returncode == 1
        assert squall.done("dead", command, "refusing", *numbers, *mine).process.returncode == 0


def test_log_level_option_is_named_when_it_is_wrong(squall: Squall) -> None:
    running = squall.done("run", squall.file(FINITE), "--log-level", "LOUD")
    assert running.process.returncode == 2
    assert "given by: --log-level LOUD" in running.err


def test_version_is_told(squall: Squall) -> None:
    assert re.fullmatch(r"squall \d+\.\d+\.\d+\n", squall.done("--version").out)


@pytest.mark.parametrize("command", ["show", "drop", "replay"])
def test_help_says_what_a_number_is(squall: Squall, command: str) -> None:
    assert "NUMBER" in squall.done("dead", command, "--help").out


@pytest.mark.parametrize(
    ("text", "told", "untold"),
    [
        ("x = 1\0", "null bytes", "None"),
        ("raise ModuleNotFoundError('half of it')", "ModuleNotFoundError: half of it", '"None"'),
    ],
    ids=["no text", "missing module without a name"],
)
def test_files_with_unusual_errors(squall: Squall, text: str, told: str, untold: str) -> None:
    check = squall.done("check", squall.file(text))
    assert told in check.err
    assert untold not in check.err
    assert check.process.returncode == 2


def test_name_that_no_file_can_have_is_a_missing_file(squall: Squall) -> None:
    check = squall.done("check", "x" * 5000)
    assert check.process.returncode == 2
    assert "code: file_missing" in check.err
    assert "code: no_dead_letters" in squall.done("dead", "list", "x" * 300).err
