"""`squall tap`: live tuples of a running topology."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import typer

from squall.cli.commands import ANSWER_WITHIN_S, checked, chosen, control_socket, no_answer
from squall.cli.texts import stuck_head
from squall.engines.embedded import sockets
from squall.errors import ClusterError, Defect

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be looked at. `stream` None: all of the component. `as_text`: values come as what `repr` says."""

    component: str
    stream: str | None = None
    ratio: float = 1.0
    where: str | None = None
    limit: int | None = None
    as_text: bool = True


class Tapped:
    """The tuples of a tap, as they come: `component`, `task`, `stream`, `at` (seconds since 1970), `values` by field.

    A context manager; iterating waits for the next tuple and ends with the run, or at the limit.
    """

    def __init__(
        self, connection: socket.socket, wanted: Wanted, streams: Mapping[str, list[str]], rest: list[Event]
    ) -> None:
        self.streams = streams
        """The streams that are looked at, with their fields."""
        self.counts: Mapping[str, Any] = {"passed": 0, "skipped": 0, "raised": 0, "last_error": ""}
        """Tuples that came by, that were skipped, for which the expression raised, and what that raised last."""
        self.limit, self.shown = wanted.limit, 0
        self.has_ended = False
        """Whether the run is over."""
        self.on_stuck: Callable[[Event], None] = lambda _stuck: None
        """Is told of a call that does not return: `component`, `running_s` in seconds, and what it `waits_for`."""
        self._is_closed = False
        self._connection, self._component, self._rest = connection, wanted.component, rest
        self._buffer = sockets.LineBuffer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the tap, also while another thread waits for its next tuple."""
        self._is_closed = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def __iter__(self) -> Iterator[Event]:
        for line in self._lines():
            self.counts = line.get("counts", self.counts)
            self.has_ended = line.get("ended", False)
            if stuck := line.get("stuck"):
                self.on_stuck(stuck)
            for row in line.get("rows", ()):
                if self.shown == self.limit:
                    return
                self.shown += 1
                yield self._tuple(*row)

    def _lines(self) -> Iterator[Event]:
        yield from self._rest
        while data := self._received():
            yield from self._buffer.feed(data)
        if not self.has_ended and not self._is_closed:
            fix = "read faster, or take fewer: --ratio, --where, --limit"
            facts = (("because", "its lines were not read in time, or the run was killed"),)
            raise ClusterError(Defect("tap_cut_off", "the tap was cut off", facts, fix), retryable=True)

    def _received(self) -> bytes:
        try:
            return self._connection.recv(1 << 16)
        except OSError:
            return b""

    def _tuple(self, at: float, task: int, stream: str, values: list[Any]) -> Event:
        named = dict(zip(self.streams[stream], values, strict=True))
        return {"component": self._component, "task": task, "stream": stream, "at": at, "values": named}


def follow(path: Path, topology: str, wanted: Wanted) -> Tapped:
    """Looks at tuples of a run, from now on.

    Args:
        path: the control socket of the run.
        topology: its name, for errors.

    Raises:
        ClusterError: the run does not answer, or has too many taps.
        ConfigError: it has no such component or stream, or the expression does not fit.
    """
    request = asdict(wanted) | {"cmd": "tap"}
    try:
        connection = sockets.connect(path, ANSWER_WITHIN_S)
        connection.sendall(sockets.line(request))
        buffer = sockets.LineBuffer()
        lines: list[Event] = []
        while not lines:
            if not (data := connection.recv(1 << 16)):
                raise ConnectionResetError("the run ended before it answered")
            lines = buffer.feed(data)
    except OSError as error:
        raise no_answer(topology, path, str(error) or type(error).__name__) from error
    answer, *rest = lines
    checked(topology, path, answer)
    connection.settimeout(None)
    return Tapped(connection, wanted, answer["streams"], rest)


def show_tuples(base: Path, topology: str | None, wanted: Wanted, *, as_json: bool) -> None:
    """Prints tuples until Ctrl-C, the end of the run, or the limit."""
    name = chosen(base, topology, "name one: --topology NAME")
    with follow(control_socket(base, name), name, wanted) as tapped:
        _hint(name, wanted, tapped)
        tapped.on_stuck = _say_stuck
        show = _json_line if as_json else _Lines(len(tapped.streams) > 1)
        with suppress(KeyboardInterrupt):
            for event in tapped:
                print(show(event), flush=True)
        _sum_up(name, tapped)


def _json_line(event: Event) -> str:
    at = datetime.fromtimestamp(event["at"], UTC).isoformat(timespec="milliseconds")
    text = json.dumps({**event, "at": at}, ensure_ascii=False)
    return (
        text if text.isprintable() else json.dumps({**event, "at": at})
    )  # nothing that a terminal obeys, no half of a pair


class _Lines:
    """Tuples as lines for people: in columns as far as they are known, coloured on a terminal."""

    def __init__(self, tells_stream: bool) -> None:
        self._tells_stream = tells_stream
        self._width = 0
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, event: Event) -> str:
        where = f"{event['component']}[{event['task']}]" + (f":{event['stream']}" if self._tells_stream else "")
        self._width = max(self._width, len(where))
        at = f"{datetime.fromtimestamp(event['at']):%H:%M:%S.%f}"[:-3]
        values = (self._styled(f"{name}=", dim=True) + text for name, text in event["values"].items())
        return f"{self._styled(at, dim=True)}  {self._styled(f'{where:<{self._width}}', fg='cyan')}  {' '.join(values)}"

    def _styled(self, text: str, **style: Any) -> str:
        return typer.style(text, **style) if self._colours else text


def _hint(topology: str, wanted: Wanted, tapped: Tapped) -> None:
    """Says what is looked at, to a person."""
    if sys.stderr.isatty():
        streams = "; ".join(f"{name} ({', '.join(fields)})" for name, fields in tapped.streams.items())
        print(f'tapping "{wanted.component}" of {topology}: {streams}. Ctrl-C ends it.', file=sys.stderr, flush=True)


def _say_stuck(stuck: Event) -> None:
    print(f"{stuck_head(stuck)}; tuples may wait for it", file=sys.stderr, flush=True)


def _sum_up(topology: str, tapped: Tapped) -> None:
    """Says what was not shown, and why it ended if nobody asked for that."""
    from squall.runtime.taps import SHOWN_PER_S, TIME_RATIO

    counts, lines = tapped.counts, list[str]()
    if counts["skipped"] and tapped.shown != tapped.limit:
        lines.append(
            f"{counts['skipped']:,} of {counts['passed']:,} tuples were skipped: a tap shows at most "
            f"{SHOWN_PER_S:,.0f} a second, in {TIME_RATIO:.0%} of the worker's time; --ratio takes a fair share of them"
        )
    if counts["raised"]:
        lines.append(f"the expression raised for {counts['raised']:,} tuples, last {counts['last_error']}: no match")
    if tapped.has_ended:
        lines.append(f'"{topology}" has ended')
    for line in lines:
        print(line, file=sys.stderr, flush=True)
