"""All about one component: its streams, windows, waits, own figures and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from squall.cli.texts import compact
from squall.cli.view.words import ms, one_line, per_s

WINDOWS = (("600", "10 min"), ("10800", "3 h"), ("86400", "1 d"), (":all-time", "all time"))
COUNTED = ("executed", "emitted", "transferred", "acked", "failed")
Figures = Mapping[str, Any]


def detail(name: str, components: Mapping[str, Figures], shape: Mapping[str, Any]) -> list[Text]:
    """Everything that is known of a component.

    Args:
        shape: the `graph` of a `started` event, empty if there was none.
    """
    now = components[name]
    spec: Mapping[str, Any] = shape.get("components", {}).get(name, {})
    head = Text.assemble((name, "bold"), (f"   {now['kind']}", "dim"))
    if spec:
        head.append(f", {spec['mode']}, {spec['tasks']} tasks" if spec["tasks"] > 1 else f", {spec['mode']}", "dim")
    return [
        head,
        *_flows(now, spec),
        _state(now),
        *_latencies(now),
        *_windows(now),
        *_own(now),
        *(_setting(key, value, "") for key, value in spec.get("settings", {}).items()),
        *(_setting(key, value, "  (the topology's)") for key, value in shape.get("settings", {}).items()),
    ]


def _setting(key: str, value: object, whose: str) -> Text:
    return Text.assemble(("  set  ", "dim"), f"{key} = {one_line(str(value))}", (whose, "dim"))


def _flows(now: Figures, spec: Mapping[str, Any]) -> list[Text]:
    lines: list[Text] = []
    groupings = {f"{one['source']}/{one['stream']}": one for one in spec.get("inputs", ())}
    for stream, count in now["inputs"].items():
        rate = per_s(now["inputs_per_s"][stream])
        how = groupings.get(stream, {"grouping": "", "keys": []})
        by = how["grouping"] + (f"({', '.join(how['keys'])})" if how["keys"] else "")
        lines.append(_flow("in", stream, rate, count, by))
    for stream, count in now["streams"].items():
        fields = ", ".join(spec.get("outputs", {}).get(stream, ()))
        lines.append(_flow("out", stream, per_s(now["streams_per_s"][stream]), count, fields))
    return lines


def _flow(way: str, stream: str, rate: str, count: int, more: str) -> Text:
    return Text.assemble((f"  {way:<4} ", "dim"), f"{stream:<24} {rate:>8} {count:>14,}  ", (more, "dim"))


def _state(now: Figures) -> Text:
    names = ("queue", "held", "in_flight", "pending", "retrying", "dropped", "dead", "errors")
    parts = [f"{name.replace('_', ' ')} {now[name]:,}" for name in names if now[name]]
    for name in ("in_flight", "pending"):
        if now[name] and now[f"{name}_max"]:
            word = name.replace("_", " ")
            parts = [f"{one} of {now[f'{name}_max']:,}" if one.startswith(word) else one for one in parts]
    return Text.assemble(("  now  ", "dim"), ", ".join(parts) or "nothing waits")


def _latencies(now: Figures) -> list[Text]:
    lines: list[Text] = []
    for name, word in (("execute", "call"), ("process", "until acked"), ("complete", "complete")):
        for key, over in ((f"recent_{name}_ms", "lately"), (f"{name}_ms", "in all")):
            if now[key]["count"]:
                figures = "   ".join(f"{figure} {ms(now[key], figure)}" for figure in ("p50", "p99", "p999", "max"))
                lines.append(Text.assemble(("  ms   ", "dim"), f"{word:<12} ", (f"{over} ", "dim"), figures))
    return lines


def _windows(now: Figures) -> list[Text]:
    if not now["windows"]:
        return []
    shown = [name for name in COUNTED if any(now["windows"][window][name] for window, _ in WINDOWS)]
    lines = [Text("  " + " " * 10 + "".join(f"{name:>13}" for name in shown), "dim")] if shown else []
    for window, word in WINDOWS if shown else ():
        counts = "".join(f"{compact(now['windows'][window][name]):>13}" for name in shown)
        lines.append(Text.assemble((f"  {word:<10}", "dim"), counts))
    return lines


def _own(now: Figures) -> list[Text]:
    return [
        Text.assemble(("  own  ", "dim"), f"{one_line(name)} {value:,.6g}") for name, value in now["metrics"].items()
    ]
