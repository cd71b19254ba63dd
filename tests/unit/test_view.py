"""The live view without a terminal: events and keys in, lines of text out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from squall.cli.background import BackgroundOutput
from squall.cli.plain import PlainView
from squall.cli.texts import links_down
from squall.cli.view.drawing import Drawing
from squall.cli.view.fitting import Part, fitted
from squall.cli.view.keyboard import names
from squall.cli.view.painter import Painter
from squall.cli.view.printed import LONGEST_BYTES, Printed
from squall.cli.view.screen import screen
from squall.cli.view.state import Act, Known, Pane, Raised, pressed, told
from squall.cli.view.words import ms, per_s, size, span
from squall.runtime import stats

Edges = Sequence[tuple[str, str]]


def shape_of(edges: Edges, spouts: Sequence[str], loops: Edges = ()) -> dict[str, Any]:
    """A graph as a `started` event has it."""
    names = list(dict.fromkeys([*spouts, *(name for edge in edges for name in edge)]))
    inputs: dict[str, list[dict[str, Any]]] = {
        name: [
            {"source": a, "stream": "default", "grouping": "shuffle", "keys": [], "closes_loop": (a, b) in loops}
            for a, b in edges
            if b == name
        ]
        for name in names
    }
    return {
        "components": {
            name: {
                "kind": "spout" if name in spouts else "bolt",
                "mode": "loop",
                "tasks": 1,
                "inputs": inputs[name],
                "outputs": {"default": ["n"]},
                "settings": {"topology.retries": 0} if name == "split" else {},
            }
            for name in names
        },
        "settings": {},
    }


def started_of(shape: dict[str, Any]) -> dict[str, Any]:
    return {"event": "started", "topology": "words", "graph": shape, "log": "/logs/words.log"}


def progress_of(shape: dict[str, Any], **changes: dict[str, Any]) -> dict[str, Any]:
    """A report in which each input has 1,234 tuples a second; `changes` by component."""
    components: dict[str, Any] = {}
    for name, spec in shape["components"].items():
        inputs = {f"{one['source']}/default": 1234.0 for one in spec["inputs"]}
        rates = {"executed_per_s": 1234.0, "emitted_per_s": 1234.0, "inputs_per_s": inputs, "streams_per_s": {}}
        components[name] = {**stats.empty(spec["kind"], 1), **rates, **changes.get(name, {})}
    totals = dict.fromkeys(("emitted", "acked", "failed", "pending", "dead", "out"), 5)
    latency = {"p50": 1.25, "p99": 20.5, "p999": 300.4, "max": 301.0, "mean": 2.0, "count": 40}
    return {
        "event": "progress",
        "topology": "words",
        "phase": "running",
        **totals,
        "emitted_per_s": 12_345.0,
        "out_per_s": 3.25,
        "uptime_s": 75.0,
        "complete_ms": {**latency, "p50": 99.0},
        "recent_complete_ms": latency,
        "components": components,
        "errors": {},
        "workers": [{"id": 1, "pid": 77, "cpu_ratio": 0.5, "rss_bytes": 84_000_000, "uptime_s": 76.0}],
        "dead_letters": {"open": 0, "last": None},
        "links": {},
    }


WORDS = shape_of([("lines", "split"), ("split", "count")], ["lines"])


def known_of(shape: dict[str, Any] = WORDS, **changes: dict[str, Any]) -> Known:
    return told(told(Known("words", "Ctrl-C ends"), started_of(shape)), progress_of(shape, **changes))


def lines_of(known: Known, width: int = 80, height: int = 40, *, keys: bool = True, narrow: bool = False) -> list[str]:
    """The screen as a terminal would show it."""
    console = Console(width=width, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115
    shown = screen(known, width, height, 0.0, keys=keys, narrow=narrow)
    for line in shown:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    lines = console.export_text().splitlines()
    assert len(lines) == len(shown)
    return [line.rstrip() for line in lines]


def drawn(edges: Edges, spouts: Sequence[str], width: int = 80, loops: Edges = (), *, rates: bool = True) -> list[str]:
    shape = shape_of(edges, spouts, loops)
    components: dict[str, Any] = progress_of(shape)["components"] if rates else {}
    return [line.plain for line in Drawing(shape, components, lambda _: "").lines(width)]


# -- graph -------------------------------------------------------------------------------------------------------


def test_a_chain_is_one_line_with_its_rates() -> None:
    assert drawn([("lines", "split"), ("split", "count")], ["lines"]) == [
        "lines ──1,234/s─▶ split ──1,234/s─▶ count"
    ]  # fmt: skip


def test_branches_stand_below_each_other_and_a_second_parent_leads_to_the_name() -> None:
    edges = [("a", "b"), ("b", "c"), ("b", "d"), ("b", "e"), ("c", "f"), ("x", "d")]
    assert drawn(edges, ["a", "x"], rates=False) == [
        "a ───▶ b ─┬──▶ c ───▶ f",
        "          ├──▶ d",
        "          ╰──▶ e",
        "x ───▶ d",
    ]


def test_a_graph_that_is_too_wide_becomes_chains_that_tell_each_edge_once() -> None:
    edges = [("s", "b0"), *((f"b{i}", f"b{i + 1}") for i in range(28)), ("b3", "z"), ("b9", "z"), ("z", "b11")]
    lines = drawn(edges, ["s"], 80)
    assert max(map(len, lines)) <= 80
    assert "\n".join(lines).count("▶") == len(edges)
    assert lines[-2:] == ["b9 ──1,234/s─▶ z ──1,234/s─▶ b11", "b3 ──1,234/s─▶ z"]


def test_a_very_large_graph_is_drawn_too() -> None:
    edges = [("s", "b0"), *((f"b{i}", f"b{i + 1}") for i in range(2000))]
    assert "\n".join(drawn(edges, ["s"], 100)).count("▶") == len(edges)


def test_names_of_wide_characters_keep_the_columns() -> None:
    lines = lines_of(known_of(shape_of([("漢字", "文字列" * 9)], ["漢字"])), 80)
    table = lines[lines.index(next(line for line in lines if line.startswith("component"))) :][:3]
    assert len({cell_len(line) for line in table}) == 1


def test_an_edge_that_closes_a_loop_is_marked() -> None:
    (line,) = drawn([("a", "b"), ("b", "c"), ("c", "b")], ["a"], loops=[("c", "b")], rates=False)
    assert line == "a ───▶ b ───▶ c ──↺─▶ b"


# -- screen ------------------------------------------------------------------------------------------------------


def test_the_screen_says_what_happens() -> None:
    blocked = {"blocked_ratio": {"count": 0.63, "rate limit": 0.02}}
    count = {"in_flight": 100, "in_flight_max": 100, "capacity": 0.98, "queue": 12_000}
    assert lines_of(known_of(lines=blocked, count=count), 103) == [
        "words   running 1 min 15 s",
        "in 12k/s   out 3.2/s   pending 5   acked 5   failed 5   dead 5",
        "complete p50 1.25   p99 20.5   p999 300   max 301 ms, lately",
        "",
        "lines ──1,234/s─▶ split ──1,234/s─▶ count",
        "",
        "component  tasks  capacity  held up  queue       in      out  p50 ms  p99 ms  executed  emitted  failed",
        "lines          1         –     63 %      –        –  1,234/s       –       –         –        0       0",
        "split          1      0.00      0 %      0  1,234/s  1,234/s       –       –         0        0       0",
        "count          1      0.98      0 %    12k  1,234/s  1,234/s       –       –         0        0       0",
        "",
        "lines is held up 63 % of the time by count (in flight 100 of 100)",
        "worker 1  50 % CPU  84 MB  pid 77  up 1 min 16 s",
        "q quit   p pause   j k choose   e errors   t tap   l DEBUG   s stacks   ? help",
    ]


@pytest.mark.parametrize(
    ("blocked", "figures", "sentence"),
    [
        ({"rate limit": 0.5}, {}, "lines waits 50 % of the time for its own rate limit"),
        ({"own pause": 0.5}, {}, "lines rests 50 % of the time, as it asked for"),
        ({"waiting retries": 0.5}, {}, "lines is held up 50 % of the time by 7 tuples that wait for their next try"),
        ({"lines": 0.5}, {}, "lines is held up 50 % of the time: 64 of at most 64 are pending"),
        ({"count": 0.5}, {"held": 12}, "lines is held up 50 % of the time by count (holds 12)"),
        ({"count": 0.5}, {"busy_ratio": 0.97}, "lines is held up 50 % of the time by count (busy 97 % of the time)"),
        ({"count": 0.5}, {"busy_ratio": 0.4, "queue": 9}, "by count (busy 40 % of the time, queue 9)"),
        ({"count": 0.5}, {"in_flight_max": 9, "queue": 90_000}, "50 % of the time by count (queue 90k)"),
    ],
)
def test_the_culprit_is_named_with_what_is_to_be_seen_there(
    blocked: dict[str, float], figures: dict[str, Any], sentence: str
) -> None:
    spout = {"blocked_ratio": blocked, "retrying": 7, "pending": 64, "pending_max": 64}
    assert sentence in "\n".join(lines_of(known_of(lines=spout, count=figures), 100))


def test_a_little_waiting_is_nobodys_fault() -> None:
    lines = lines_of(known_of(lines={"blocked_ratio": {"count": 0.01}}), 100)
    assert not [line for line in lines if "held up 1 %" in line]


def test_what_was_not_sampled_is_a_dash() -> None:
    assert ms(None, "p50") == ms({"p50": 0.0, "count": 0}, "p50") == "–"
    event = progress_of(WORDS)
    event["recent_complete_ms"] = stats.empty("spout")["recent_complete_ms"]
    assert "complete p50 –   p99 –   p999 –   max – ms, lately" in lines_of(told(known_of(), event))


@pytest.mark.parametrize("width", [1, 20, 39, 60, 70, 80, 100, 140])
@pytest.mark.parametrize("height", [1, 4, 8, 12, 24, 60])
def test_the_screen_never_grows_beyond_the_terminal(width: int, height: int) -> None:
    edges = [("source", f"a-rather-long-name-of-a-bolt-{i}") for i in range(30)]
    known = known_of(shape_of(edges, ["source"]), source={"blocked_ratio": {f"a-rather-long-name-of-a-bolt-{1}": 1.0}})
    for key in ("", "j", "?", "e"):
        lines = lines_of(pressed(known, key, 0.0)[0], width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


def test_what_is_cut_says_how_much_and_the_head_stays() -> None:
    edges = [("source", f"bolt{i}") for i in range(30)]
    lines = lines_of(known_of(shape_of(edges, ["source"])), 80, 24)
    assert lines[0].startswith("words   running")
    assert lines[-1].startswith("q quit")
    assert sum(line.startswith("… ") and line.endswith(" more") for line in lines) == 2


def test_the_chosen_component_is_always_to_be_seen() -> None:
    edges = [("source", f"bolt{i}") for i in range(30)]
    known = known_of(shape_of(edges, ["source"]))
    for name in known.names:
        known = pressed(known, "j", 0.0)[0]
        lines = lines_of(known, 80, 24)
        at = next(number for number, line in enumerate(lines) if line.startswith("component "))
        assert any(line.split()[:1] == [name] and len(line.split()) > 5 for line in lines[at:])


def test_a_narrow_terminal_keeps_the_telling_columns() -> None:
    titles = next(line for line in lines_of(known_of(), 60) if line.startswith("component"))
    assert titles.split() == ["component", "capacity", "held", "up", "queue", "in", "out"]


def test_without_utf_8_everything_is_ascii() -> None:
    known = known_of(lines={"blocked_ratio": {"count": 0.63}})
    lines = lines_of(pressed(known, "j", 0.0)[0], 80, 12, narrow=True)
    assert all(line.isascii() for line in lines)
    assert any("lines --1,234/s-> split" in line for line in lines)


def test_errors_and_dead_letters_have_their_count_text_time_and_place() -> None:
    event = progress_of(WORDS, split={"errors": 12})
    at = "2026-01-02T03:04:05.678+00:00"
    event["errors"] = {
        "split": {"count": 10, "last": "ValueError: no\x1b[2J word", "where": "process", "task": 3, "at": at}
    }
    last = {"number": 4, "component": "split", "error": "ValueError: bad", "at": at}
    event["dead_letters"] = {"open": 2, "last": last}
    known = told(known_of(), event)
    text = "\n".join(lines_of(known, 100))
    assert "split ×12  ValueError: no [2J word" in text
    assert "2 open dead letters   newest" in text
    assert "split: ValueError: bad" in text
    assert "squall dead list words" in text
    assert "in process, task 3" in "\n".join(lines_of(pressed(known, "e", 0.0)[0], 100))


def test_what_came_from_outside_gives_a_terminal_no_orders(capfd: pytest.CaptureFixture[str]) -> None:
    evil = "log \x1b]0;title\x07 \x1b[2J \x9b2J\r\n\tnext"
    view = PlainView(1)
    view({"event": "log", "text": evil})
    view.close()
    painter = Painter(BackgroundOutput(1), "utf-8")
    painter.text_above(evil, "")
    painter.rest()
    shown = capfd.readouterr()
    for text in (shown.err, shown.out):
        assert "log  ]0;title   [2J  2J \n" in text
        assert not {"\x07", "\x9b", "\x1b]", "\x1b[2J"} & {
            text[at : at + n] for at in range(len(text)) for n in (1, 2, 4)
        }


def test_tables_of_components_are_shown() -> None:
    lines = lines_of(known_of(count={"tables": {"top words": {"the": 1234.0, "of": 7.0}}}))
    at = lines.index("top words")
    assert [line.split() for line in lines[at + 1 : at + 3]] == [["the", "1,234"], ["of", "7"]]


def test_a_chosen_component_shows_its_streams_windows_and_settings() -> None:
    window = {"emitted": 10, "transferred": 10, "executed": 20, "acked": 20, "failed": 0}
    split = {
        "inputs": {"lines/default": 2_000_000},
        "windows": dict.fromkeys(("600", "10800", "86400", ":all-time"), window),
        "execute_ms": {"p50": 0.5, "p99": 2.0, "p999": 3.0, "max": 4.0, "mean": 1.0, "count": 9},
        "recent_execute_ms": {"p50": 0.25, "p99": 1.0, "p999": 3.0, "max": 3.0, "mean": 1.0, "count": 3},
    }
    known = pressed(pressed(known_of(split=split), "j", 0.0)[0], "j", 0.0)[0]
    text = "\n".join(lines_of(known, 100))
    assert known.chosen == "split"
    assert "lines/default             1,234/s      2,000,000  shuffle" in text
    assert "call         lately p50 0.250   p99 1.00" in text
    assert "call         in all p50 0.500   p99 2.00" in text
    assert "1 d" in text
    assert "topology.retries = 0" in text


# -- keys --------------------------------------------------------------------------------------------------------


def test_keys_come_out_of_bytes() -> None:
    assert names(b"q") == ["q"]
    assert names(b"\x1b[A\x1b[Bj\r") == ["up", "down", "j", "enter"]
    assert names(b"\x1b") == ["escape"]
    assert names(b"\x1b[15~") == []


def test_a_paused_view_keeps_its_picture_and_then_shows_the_newest() -> None:
    known = pressed(known_of(), "p", 0.0)[0]
    later = progress_of(WORDS) | {"uptime_s": 200.0}
    known = told(known, later)
    assert "running 1 min 15 s   view paused" in lines_of(known)[0]
    assert "running 3 min 20 s" in lines_of(pressed(known, " ", 0.0)[0])[0]


def test_keys_choose_in_a_ring_and_escape_leaves() -> None:
    known, chosen = known_of(), list[str | None]()
    for key in ("j", "down", "j", "j", "k", "up"):
        known = pressed(known, key, 0.0)[0]
        chosen.append(known.chosen)
    assert chosen == ["lines", "split", "count", "lines", "count", "split"]
    known = pressed(known, "escape", 0.0)[0]
    assert (known.chosen, known.pane) == (None, Pane.ALL)


def test_a_key_that_opens_a_pane_closes_it_again() -> None:
    for key, pane in (("e", Pane.ERRORS), ("?", Pane.HELP), ("s", Pane.STACKS)):
        opened = pressed(known_of(), key, 0.0)[0]
        assert (opened.pane, pressed(opened, key, 0.0)[0].pane) == (pane, Pane.ALL)


def test_a_tap_is_chosen_by_number_or_by_the_mark_and_ended_by_the_same_key() -> None:
    asked, act = pressed(known_of(), "t", 0.0)
    assert (asked.pane, asked.tapped, act) == (Pane.TAP, None, None)
    assert "1 lines   2 split   3 count" in "\n".join(lines_of(asked))
    assert pressed(asked, "9", 0.0)[1] is None
    begun, act = pressed(asked, "2", 0.0)
    assert (begun.tapped, act) == ("split", Act.TAP)
    assert pressed(begun, "1", 0.0)[0].tapped == "split"
    ended, act = pressed(begun, "t", 0.0)
    assert (ended.pane, ended.tapped, act) == (Pane.ALL, None, None)
    marked, act = pressed(pressed(known_of(), "j", 0.0)[0], "t", 0.0)
    assert (marked.tapped, act) == ("lines", Act.TAP)


def test_keys_ask_for_what_the_view_cannot_do() -> None:
    known = known_of()
    assert [pressed(known, key, 0.0)[1] for key in "qlsx"] == [Act.QUIT, Act.RAISE_LEVEL, Act.STACKS, None]
    raised = told(Known("words", "", raised=Raised("INFO", 30.0)), started_of(WORDS))
    assert pressed(raised, "l", 29.0)[1] is Act.RESTORE_LEVEL
    assert pressed(raised, "l", 31.0)[1] is Act.RAISE_LEVEL


# -- small parts -------------------------------------------------------------------------------------------------


def test_parts_share_a_height_by_rank() -> None:
    def part(name: str, count: int, rank: int, least: int = 1) -> Part:
        return Part([Text(f"{name}{i}") for i in range(count)], rank, least)

    def at(height: int) -> list[str]:
        return [line.plain for line in fitted([part("a", 2, 0), part("b", 9, 2, 3), part("c", 4, 1, 4)], height)]

    assert at(20) == [*(f"a{i}" for i in range(2)), *(f"b{i}" for i in range(9)), *(f"c{i}" for i in range(4))]
    assert at(9) == ["a0", "a1", "b0", "b1", "… 7 more", "c0", "c1", "c2", "c3"]
    assert at(4) == ["a0", "b0", "b1", "… 7 more"]
    assert at(0) == []


def test_units() -> None:
    assert [per_s(rate) for rate in (0, 0.04, 3.25, 12, 98_000)] == ["0/s", "0.0/s", "3.2/s", "12/s", "98k/s"]
    assert [size(count) for count in (0, 999, 84_000_000, 2_500_000_000)] == ["0 B", "999 B", "84 MB", "2.5 GB"]
    assert [span(s) for s in (0, 59, 61, 3_660, 90_000)] == ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]


def test_what_sinks_print_without_a_line_feed_is_kept_up_to_a_bound() -> None:
    shown: list[bytes] = []
    printed = Printed(shown.append)
    piece = b"x" * 60_000
    for _ in range(2 * LONGEST_BYTES // len(piece)):
        os.write(printed.write_fd, piece)
        printed.take()
    assert len(shown) == 1
    assert LONGEST_BYTES <= len(shown[0]) < LONGEST_BYTES + 2 * len(piece)
    os.write(printed.write_fd, b"end\nnext")
    printed.close()
    assert [part[-4:] for part in shown] == [b"xxx\n", b"end\n", b"ext\n"]
    assert sum(map(len, shown)) == 2 * LONGEST_BYTES // len(piece) * len(piece) + len(b"\nend\nnext\n")


# -- links -------------------------------------------------------------------------------------------------------


def with_links(*down: tuple[str, str], **causes: int) -> dict[str, Any]:
    """A report of three workers, of which these links are down at the first end, and that have refused this."""
    links: dict[str, Any] = {}
    for worker in "123":
        peers = {peer: {"is_up": (worker, peer) not in down} for peer in "123" if peer != worker}
        links[worker] = {"peers": peers, "refused": causes}
    return {**progress_of(WORDS), "links": links}


def test_links_are_told_only_where_something_is_wrong_with_them() -> None:
    known = known_of()
    assert not any("links" in line for line in lines_of(told(known, with_links(not_sought=1))))
    down = lines_of(told(known, with_links(("3", "1"), ("1", "3"), ("2", "3"), garbage=2, late=1, unreachable=5)))
    assert [line for line in down if "links" in line] == ["links     down: 1–3, 2–3; refused: garbage 6, late 3"]


def test_links_are_down_while_the_run_goes_on() -> None:
    """Before, they are not open yet; in the end each worker leaves."""
    event = with_links(("1", "2"))
    assert links_down(event) == ["1–2"]
    assert [links_down({**event, "phase": phase}) for phase in ("starting", "draining", "ended")] == [[], [], []]
