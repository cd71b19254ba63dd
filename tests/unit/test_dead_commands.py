"""`squall dead` on a log that no topology uses: what is listed, shown, changed, written."""

from __future__ import annotations

import csv
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from squall.cli.app import exit_code_of
from squall.runtime import dead_log, letter_lines
from squall.runtime.letter_codec import Unknown
from squall.runtime.letter_lines import ACKED, AGAIN, ASKED, DROPPED, OPEN, Change
from squall.runtime.letters import Letter
from squall.runtime.stored import read

NOW = datetime.now(UTC)
LETTER = Letter(
    component="price",
    source="orders",
    stream="default",
    task=3,
    fields=("n",),
    values=(1,),
    error="LookupError: no price",
    traceback="Traceback …",
    attempts=4,
    roots=(1,),
    at=NOW,
    spout="orders",
    spout_task=1,
    spout_stream="default",
    root_values=(1, Decimal("1.50"), {"tags": ("a", "b")}),
    message_id=None,
    failure=5,
    root_fields=("n", "price", "order"),
    run="orders-1",
)
LETTERS = [
    LETTER,
    replace(LETTER, component="last", error="ValueError: eight", failure=6, at=NOW - timedelta(hours=2)),
    replace(LETTER, values=(2,)),
    replace(LETTER, run="orders-2", root_values=None, message_id="id-7"),
]

Squall = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with the letters, in the state folder of the commands."""
    monkeypatch.setenv("SQUALL_STORM_LOCAL_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    path = dead_log.log_path(tmp_path, "orders")
    path.parent.mkdir()
    later = datetime.now(UTC) - NOW  # this file may have been imported long ago
    letters = [replace(letter, at=letter.at + later) for letter in LETTERS]
    path.write_bytes(b"".join(map(letter_lines.letter_line, letters)))
    return path


@pytest.fixture
def squall(path: Path, capsys: pytest.CaptureFixture[str]) -> Squall:
    """Runs `squall dead …`; its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = exit_code_of(["dead", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def numbers(out: str) -> list[int]:
    return [json.loads(line)["number"] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        ([], [1, 2, 3, 4]),
        (["--component", "price"], [1, 3, 4]),
        (["--error", "valueerror"], [2]),
        (["--error", "no price", "--limit", "1"], [4]),
        (["--since", "10m"], [1, 3, 4]),
        (["--since", "3h", "--component", "last"], [2]),
        (["--state", "acked"], []),
    ],
)
def test_list_is_filtered(squall: Squall, options: list[str], listed: list[int]) -> None:
    code, out, _ = squall("list", "orders", "--json", *options)
    assert (code, numbers(out)) == (0, listed)


def test_letters_are_counted_by_error_or_component(squall: Squall) -> None:
    _, out, _ = squall("list", "orders", "--by", "error", "--json")
    assert [(row["error"], row["count"]) for row in map(json.loads, out.splitlines())] == [
        ("LookupError: no price", 3),
        ("ValueError: eight", 1),
    ]
    assert "  3  " in squall("list", "orders", "--by", "component")[1].splitlines()[0]


def test_list_shows_what_became_of_each(squall: Squall, path: Path) -> None:
    """A replay that was under way when its topology ended is asked for again."""
    with path.open("ab") as log:
        log.write(letter_lines.letter_line(replace(LETTER, replay_of=2)))
        changes = [Change(1, ACKED, "try 1"), Change(2, AGAIN), Change(3, letter_lines.RUNNING), Change(4, OPEN, "no")]
        log.write(letter_lines.change_lines(changes))
    out = squall("list", "orders", "--all")[1].splitlines()
    states = ["acked", "dead again → 5", "asked", "open", "open"]
    assert [state in line for state, line in zip(states, out, strict=True)] == [True] * 5
    assert len(squall("list", "orders")[1].splitlines()) == 3
    assert "replay of: letter 2" in squall("show", "orders", "5")[1]
    assert "dead again → 5" in squall("show", "orders", "2")[1]


def test_show_names_the_other_letters_of_the_failure(squall: Squall) -> None:
    """Failures are numbered anew in each run."""
    assert "failure: 5, with letters 3\n" in squall("show", "orders", "1")[1]
    shown = json.loads(squall("show", "orders", "1", "--json")[1])
    assert shown["root"] == {"n": 1, "price": "1.50", "order": {"tags": ["a", "b"]}}
    assert (shown["input"], shown["traceback"], shown["replayable"]) == ({"n": 1}, "Traceback …", True)
    assert json.loads(squall("show", "orders", "4", "--json")[1])["replayable"] is False


def test_replay_with_other_values_keeps_the_letter_and_tells_the_change(squall: Squall, path: Path) -> None:
    code, out, _ = squall("replay", "orders", "1", "--set", "price=2", "--set", 'order={"tags": ["c"]}', "--dry-run")
    assert code == 0
    assert "would be emitted: orders/default (1, Decimal('2'), {'tags': ('c',)})" in out
    assert "price: Decimal('1.50') → Decimal('2')" in out
    assert read(path)[0].state == OPEN
    assert squall("replay", "orders", "1", "--set", "price=2")[0] == 0
    stored = read(path)[0]
    assert (stored.state, stored.letter.root_values, stored.root_values) == (
        ASKED,
        LETTER.root_values,
        (1, Decimal(2), {"tags": ("a", "b")}),
    )
    assert "edited: (1, Decimal('2')" in squall("show", "orders", "1")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["replay", "orders", "1", "--set", "pric=2"], 2, 'did you mean "price"?'),
        (["replay", "orders", "1", "--set", "price"], 2, "edit_invalid"),
        (["replay", "orders", "4", "--set", "n=1"], 2, "its spout replays by itself"),
        (["replay", "orders", "4"], 1, "letter 4 cannot be replayed"),
        (["replay", "orders", "1", "--wait"], 1, "not_running"),
        (["replay", "orders", "9"], 1, "dead_letter_unknown"),
        (["list", "orders", "--since", "soon"], 2, "duration_invalid"),
        (["drop", "orders"], 2, "letters_unnamed"),
        (["export", "orders", "--format", "xml"], 2, "export_format"),
        (["debug", "orders", "1"], 2, "debug_terminal"),
    ],
)
def test_what_cannot_be_done_is_said(squall: Squall, arguments: list[str], code: int, said: str) -> None:
    done, _, err = squall(*arguments)
    assert done == code
    assert said in err


def test_many_letters_are_changed_only_when_that_is_confirmed(squall: Squall, path: Path) -> None:
    path.write_bytes(b"".join(letter_lines.letter_line(LETTER) for _ in range(11)))
    for command in ("replay", "drop"):
        code, _, err = squall(command, "orders", "--component", "price")
        assert code == 2
        assert "code: unconfirmed" in err
    assert {stored.state for stored in read(path)} == {OPEN}
    assert squall("drop", "orders", "--component", "price", "--yes")[1] == "letters dropped: 11\n"


def test_letters_are_dropped_by_filter(squall: Squall, path: Path) -> None:
    assert squall("drop", "orders", "--error", "eight")[1] == "letters dropped: 1\n"
    assert [stored.state for stored in read(path)] == ["open", "dropped", "open", "open"]


def editor(folder: Path, *replacements: tuple[str, str]) -> str:
    """An editor that replaces texts."""
    script = folder / "editor.py"
    lines = [f"text = text.replace({old!r}, {new!r})" for old, new in replacements]
    body = ["import sys", "text = open(sys.argv[1]).read()", *lines, "open(sys.argv[1], 'w').write(text)"]
    script.write_text("\n".join(body))
    return f"python3 {script}"


def test_root_is_edited_and_replayed(
    squall: Squall, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", editor(tmp_path, ("n: 1", "n: 2"), ("1.50", "2.75"), ("- a\n", "- z\n")))
    code, out, err = squall("edit", "orders", "1", "--yes")
    assert (code, out) == (0, "letters that will be emitted again when orders starts: 1\n")
    assert "n: 1 → 2" in err
    assert read(path)[0].root_values == (2, Decimal("2.75"), {"tags": ("z", "b")})
    monkeypatch.setenv("EDITOR", "true")
    assert squall("edit", "orders", "1", "--yes")[2] == "nothing was changed\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("n: 1", "m: 1", "unknown: m"), ("n: 1", "n: [", "is no YAML"), ("price:", "#", "missing: price")],
)
def test_edit_that_does_not_fit_is_refused_and_kept(
    squall: Squall, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", editor(tmp_path, (old, new)))
    code, _, err = squall("edit", "orders", "1", "--yes")
    assert code == 2
    assert said in err
    kept = Path(err.partition("what you wrote is in ")[2].split()[0])
    assert new in kept.read_text()
    kept.unlink()
    assert read(path)[0].state == OPEN


def test_editor_that_fails_changes_nothing(squall: Squall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    for name in ("false", "no-such-editor"):
        monkeypatch.setenv("EDITOR", name)
        code, _, err = squall("edit", "orders", "1", "--yes")
        assert code == 2
        assert f'editor "{name}" ended' in err


def test_letters_are_exported_with_their_values(squall: Squall, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in squall("export", "orders")[1].splitlines()]
    assert [line["input"] for line in lines] == [{"n": 1}, {"n": 1}, {"n": 2}, {"n": 1}]
    assert lines[0]["traceback"] == "Traceback …"
    file = tmp_path / "letters.csv"
    assert squall("export", "orders", str(file), "--component", "last")[1] == f"letters written to {file}: 1\n"
    rows: list[dict[str, Any]] = list(csv.DictReader(file.open()))
    assert [(row["number"], row["error"], row["input"]) for row in rows] == [("2", "ValueError: eight", '{"n": 1}')]
    assert not list(tmp_path.glob(".*"))


def test_edit_asks_for_its_terminal_before_the_editor_opens(squall: Squall, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was typed must not be lost to a question that nobody can answer."""
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "no-such-editor")
    code, _, err = squall("edit", "orders", "1")
    assert code == 2
    assert "code: unconfirmed" in err


def test_value_that_is_kept_as_text_only_is_replayed_once_it_is_replaced(squall: Squall, path: Path) -> None:
    path.write_bytes(letter_lines.letter_line(replace(LETTER, root_values=(object(), Decimal(1), {}))))
    assert squall("replay", "orders", "1", "--set", "price=2")[0] == 1
    assert squall("replay", "orders", "1", "--set", "n=2")[0] == 0
    assert read(path)[0].root_values == (2, Decimal(1), {})


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_list_fits_a_terminal_whatever_the_letters_hold(
    squall: Squall, path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """One line a letter: long cells are cut, none is wrapped, nothing is taken for markup."""
    long = replace(LETTER, component="c" * 100, error="ValueError: [red]" + "e" * 300, values=("v" * 300,))
    path.write_bytes(b"".join(map(letter_lines.letter_line, [LETTER, long, *[LETTER] * 150])))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _, out, err = squall("list", "orders")
    lines = re.sub(r"\x1b\[[\d;]*m", "", out).splitlines()
    assert len(lines) == 101  # the head, the newest hundred
    assert max(map(len, lines)) <= columns
    assert err.startswith("and 52 older ones")
    lines = squall("list", "orders", "--limit", "0")[1].splitlines()
    assert len(lines) == 153
    if columns == 200:
        assert "ValueError: [red]ee" in lines[2]


SECRET = replace(
    LETTER,
    fields=("user", "password", "iban"),
    values=({"name": "ann", "api_key": "k-1"}, "pw-2", "de-3"),
    root_fields=("body", "token"),
    root_values=([{"secret": "s-4"}, Unknown("Login(name='ann', password='p-5')")], "t-6"),
    message_id={"cookie": "c-7"},
    run="masked",
)
VALUES = ("k-1", "pw-2", "de-3", "s-4", "p-5", "t-6")


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["show", "1"], ["show", "1", "--json"]])
def test_secrets_are_hidden_by_their_names_unless_they_are_asked_for(
    squall: Squall, path: Path, command: list[str]
) -> None:
    run = letter_lines.Run("masked", "f.py", None, [], {}, "iban")
    path.write_bytes(letter_lines.run_line(run) + letter_lines.letter_line(SECRET))
    name, *rest = command
    _, masked, _ = squall(name, "orders", *rest)
    _, revealed, _ = squall(name, "orders", *rest, "--reveal")
    assert [value for value in (*VALUES, "c-7") if value in masked] == []
    assert "ann" in masked
    assert "***" in masked
    assert set(re.findall(r"[a-z]+-[1-6]", revealed)) >= ({*VALUES} if command != ["list"] else {*VALUES[:3]})
    assert "s-4" in squall("export", "orders")[1]


def test_a_letter_nested_as_deeply_as_a_log_keeps_is_shown(squall: Squall, path: Path) -> None:
    deep: Any = "end"
    for _ in range(101):
        deep = [deep]
    path.write_bytes(letter_lines.letter_line(replace(LETTER, values=(deep,))))
    assert "end" in squall("show", "orders", "1")[1]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("arguments", [("list",), ("list", "--by", "error"), ("show", "1")])
def test_an_error_that_came_from_outside_gives_a_terminal_no_orders(
    squall: Squall, path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], *, terminal: bool
) -> None:
    """A record that a stranger sent stands in the exception's text."""
    error = "ValueError: \x1b]0;mine\x07\x9b2J\u202eno number"
    path.write_bytes(letter_lines.letter_line(replace(LETTER, error=error, traceback=f"Traceback …\n{error}")))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    command, *more = arguments
    _, out, _ = squall(command, "orders", *more)
    assert "no number" in out
    assert not set("\x1b\x07\x9b\u202e") & set(re.sub(r"\x1b\[[\d;]*m", "", out))


def add_unreadable(path: Path) -> None:
    """Letter 5: its line is whole, as another program has written it."""
    body = path.read_bytes().split(b"\n")[0][9:].replace(b'"task":3', b'"task":"x"')
    path.write_bytes(path.read_bytes() + b"%08x %s\n" % (zlib.crc32(body), body))


def test_a_letter_that_cannot_be_read_is_listed_and_refused_alone(squall: Squall, path: Path) -> None:
    add_unreadable(path)
    code, out, _ = squall("list", "orders")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["1", "2", "3", "4", "5"])
    assert "it cannot be read" in out.splitlines()[4]
    code, _, err = squall("show", "orders", "5")
    assert code == 1
    assert "code: dead_letter_unreadable" in err
    assert squall("show", "orders", "1")[0] == 0


@pytest.mark.parametrize("command", ["list --json", "drop 5 1 --json", "export"])
def test_a_letter_that_cannot_be_read_is_told_as_json_among_the_others(
    squall: Squall, path: Path, command: str
) -> None:
    add_unreadable(path)
    name, *more = command.split()
    code, out, err = squall(name, "orders", *more)
    told = {one["number"]: one for one in map(json.loads, out.splitlines())}
    assert (code, err) == (0, "")
    assert set(told) == ({1, 5} if name == "drop" else {1, 2, 3, 4, 5})
    assert told[5].keys() == told[1].keys()
    assert told[1]["unreadable"] is None
    assert told[5]["unreadable"]["code"] == "dead_letter_unreadable"
    assert (told[5]["component"], told[5]["input"], told[5]["replayable"]) == ("price", None, False)
    assert {read(path)[number - 1].state for number in told} == ({DROPPED} if name == "drop" else {OPEN})


def test_a_letter_that_cannot_be_read_is_exported_as_csv_among_the_others(squall: Squall, path: Path) -> None:
    add_unreadable(path)
    code, out, _ = squall("export", "orders", "--format", "csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert (code, [row["number"] for row in rows]) == (0, ["1", "2", "3", "4", "5"])
    assert [bool(row["unreadable"]) for row in rows] == [False, False, False, False, True]


@pytest.mark.parametrize("more", [(), ("--set", "n=5"), ("--json",)], ids=" ".join)
def test_a_letter_that_cannot_be_read_is_not_replayed_and_the_others_are(
    squall: Squall, path: Path, more: tuple[str, ...]
) -> None:
    add_unreadable(path)
    code, out, err = squall("replay", "orders", "1", "5", "2", "--dry-run", *more)
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("letter")] == [
        "letter 1 would be emitted",
        "letter 5 cannot be replayed",
        "letter 2 would be emitted",
    ]
    code, _, err = squall("replay", "orders", "1", "5", "2", "--yes", *more)
    assert code == 1
    assert err == "letter 5 cannot be replayed: it cannot be read (dead_letter_unreadable)\n"
    assert [one.state for one in read(path)] == [ASKED, ASKED, OPEN, OPEN, OPEN]
