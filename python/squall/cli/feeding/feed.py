"""`squall feed`: sends the records of files to a receiver, and shows how far it is."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread

from squall.cli.feeding.dealing import Dealing, paced
from squall.cli.feeding.source import FeedInput, framing_of
from squall.cli.feeding.texts import FeedState
from squall.cli.feeding.views import BarView, FeedView, JsonLinesView, LineView, QuietView, Watching
from squall.cli.running import duration
from squall.connectors.tcp_feeder import TcpFeeder
from squall.connectors.tls import Tls
from squall.errors import SquallError

NEVER = "never"
DEFAULT_GIVE_UP = "1m"


@dataclass(frozen=True, slots=True)
class Feed:
    """What the command line of `squall feed` says."""

    address: str
    files: list[str]
    framing: str
    rate: float | None
    repeat: int
    connections: int
    skip: int
    receipts: bool
    tls: bool
    ca: str | None
    cert: str | None
    key: str | None
    server_name: str | None
    give_up_after: str
    quiet: bool
    as_json: bool

    def go_on(self, skip: int) -> str:
        """The command that goes on after so many records."""
        words = ["squall", "feed", self.address, *self.files]
        for option, value, default in (
            ("--framing", self.framing, "lines"),
            ("--rate", self.rate, None),
            ("--repeat", self.repeat, 1),
            ("--connections", self.connections, 1),
            ("--ca", self.ca, None),
            ("--cert", self.cert, None),
            ("--key", self.key, None),
            ("--server-name", self.server_name, None),
            ("--give-up-after", self.give_up_after, DEFAULT_GIVE_UP),
        ):
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)] if value != default else []
        for option, is_given in (
            ("--no-receipts", not self.receipts),
            ("--tls", self.tls),
            ("--quiet", self.quiet),
            ("--json", self.as_json),
        ):
            words += [option] if is_given else []
        return shlex.join([*words, "--skip", str(skip)])

    def secured(self) -> Tls | None:
        """What is asked of TLS; one of its options alone asks for it."""
        if not (self.tls or self.ca or self.cert or self.server_name):
            return None
        return Tls(ca=self.ca, certificate=self.cert, key=self.key or self.cert, server_name=self.server_name)


def feed(asked: Feed) -> None:
    """Sends everything and waits until it is receipted.

    Raises:
        SquallError: what is wrong with the command or a file, why the feed ended too early.
        KeyboardInterrupt: after it was told how to go on.
    """
    logging.getLogger("squall.feed").addHandler(logging.NullHandler())  # the views tell it
    framing = framing_of(asked.framing)
    give_up_after = None if asked.give_up_after == NEVER else duration("--give-up-after", asked.give_up_after)
    source = FeedInput(asked.files, framing, asked.repeat, asked.skip)
    tls = asked.secured()
    feeders = [
        TcpFeeder(asked.address, framing=framing, receipts=asked.receipts, tls=tls, give_up_after=give_up_after)
        for _ in range(asked.connections)
    ]
    dealing = Dealing(feeders)
    began_s = time.monotonic()

    def look() -> FeedState:
        dealt = dealing.dealt()
        return FeedState(
            address=asked.address,
            sent=dealt.sent,
            receipted=dealt.receipted,
            skipped=source.skipped,
            resent=dealt.resent,
            breaks=dealt.breaks,
            connected=dealt.connected,
            trouble=dealt.trouble,
            read_bytes=source.read_bytes,
            total_bytes=source.total_bytes,
            uptime_s=round(time.monotonic() - began_s, 3),
            receipts=asked.receipts,
        )

    watching = Watching(_view(asked), look, receipts=asked.receipts)
    try:
        _on_a_thread(lambda: dealing.all(paced(iter(source), asked.rate)))
    except (SquallError, KeyboardInterrupt):
        watching.end(is_done=False)
        now = look()
        dealing.abort()
        _tell_how_to_go_on(asked, now)
        raise
    watching.end(is_done=True)


def _on_a_thread(work: Callable[[], None]) -> None:
    """Does it on a thread of its own, and waits for its end.

    An interrupt is raised between any two steps of the main thread, also right after it took a lock and before it is
    bound to let go of it: the main thread therefore takes none that others wait for.
    """
    failures: list[BaseException] = []
    over = Event()

    def done() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            over.set()

    Thread(target=done, name="squall-feed-deal", daemon=True).start()
    over.wait()
    if failures:
        raise failures[0]


def _view(asked: Feed) -> FeedView:
    if asked.as_json:
        return JsonLinesView()
    if asked.quiet:
        return QuietView()
    return BarView() if sys.stdout.isatty() else LineView()


def _tell_how_to_go_on(asked: Feed, now: FeedState) -> None:
    if not now.receipted:
        return
    done = "receipted" if asked.receipts else "handed to the system"
    text = f"{now.receipted:,} records were {done}; go on with:\n  {asked.go_on(now.skipped + now.receipted)}"
    print(text, file=sys.stderr, flush=True)
