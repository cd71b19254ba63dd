"""The compiled core: types and docs of the private module that runs a worker's tasks.

Threading: everything here is guarded by the interpreter lock; what says "any thread" also wakes the run loop.
Times are seconds (`float`), counts are exact.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, Literal, Protocol, TypeVar

_Row = TypeVar("_Row", bound=tuple[Any, ...])

class Component:
    """What a user's spout or bolt is to the core; its state is made in `__new__`, whatever the arguments are."""

    @property
    def context(self) -> Any:
        """The task's context; RuntimeError before the task is bound."""

class BoltBase(Component):
    """Base of `squall.Bolt`."""

    def emit(
        self, *values: object, stream: str = "default", task: int | None = None, anchors: Sequence[Tuple] | None = None
    ) -> None: ...
    def ack(self, *tuples: Tuple) -> None: ...
    def fail(self, *tuples: Tuple, error: BaseException | None = None) -> None: ...
    def reset_timeout(self, *tuples: Tuple) -> None: ...

class SpoutBase(Component):
    """Base of `squall.Spout`."""

    def emit(self, *values: object, id: object = None, stream: str = "default", task: int | None = None) -> None: ...

class Emit:
    """One output with everything about it; legal wherever an output is legal."""

    def __init__(
        self,
        *values: object,
        stream: str = "default",
        task: int | None = None,
        anchors: Sequence[Tuple] | None = None,
        id: object = None,
    ) -> None: ...
    @property
    def values(self) -> tuple[Any, ...]: ...
    @property
    def stream(self) -> str: ...
    @property
    def task(self) -> int | None: ...
    @property
    def anchors(self) -> Sequence[Tuple] | None: ...
    @property
    def id(self) -> object: ...

class Batch:
    """What `next_batch` returns when its rows have ids."""

    def __init__(self, outputs: Sequence[object], /, *, ids: Sequence[object], stream: str = "default") -> None: ...
    @property
    def outputs(self) -> Sequence[object]: ...
    @property
    def ids(self) -> Sequence[object]: ...
    @property
    def stream(self) -> str: ...

class Tuple:
    """One input as a whole: values, where it came from, its tree."""

    @property
    def source(self) -> str: ...
    @property
    def stream(self) -> str: ...
    @property
    def source_task(self) -> int: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def values(self) -> tuple[Any, ...]: ...
    @property
    def attempt(self) -> int: ...
    @property
    def roots(self) -> tuple[int, ...]: ...
    @property
    def age(self) -> timedelta: ...
    def __len__(self) -> int: ...
    def __getitem__(self, field: str | int, /) -> Any: ...
    def get(self, field: str, default: object = None, /) -> Any: ...
    def into(self, row: type[_Row], /) -> _Row: ...

class Call:
    """One call of a task whose code does not run on the loop's thread (async, blocking).

    The offloader runs `function(*args)` with the context variable `current_call` set to this call, so that
    `self.emit` finds its input, and then says `done` or `raised`, once, from any thread.
    """

    @property
    def task(self) -> int:
        """Index of the task."""
    @property
    def function(self) -> Callable[..., object]: ...
    @property
    def args(self) -> tuple[Any, ...]: ...
    @property
    def kind(self) -> Literal["process", "batch", "poll", "ack", "fail", "dead", "tick", "timer"]: ...
    def done(self, result: object, /) -> None: ...
    def raised(self, error: BaseException, /) -> None: ...

ACTION_RETRY: int
ACTION_DEAD: int
ACTION_DROP: int
ACTION_DIE: int
ARG_TUPLE: int
"""In the codes of `Worker.bind`: the whole tuple. Codes >= 0 are field numbers; `ARG_CONSTANT - i` is constant i."""
ARG_CONSTANT: int

class Hooks(Protocol):
    """What the core asks of the runtime; all are called on the loop's thread and must not raise."""

    def failed(self, task: int, error: BaseException, /) -> tuple[int, bool, float | None]:
        """(action, counts as an attempt, retry after) for a tuple that `task` could not process."""
    def error(self, task: int, where: str, error: BaseException, attempt: int = 0, again: bool = False, /) -> None:
        """User code of `task` raised in `where` ("process", "tick", "ack", "next_tuple", …).

        `attempt`: which try of its root has failed; 0 if there is none. `again`: another one follows.
        """
    def spout_failed(self, task: int, error: BaseException, /) -> float | None:
        """`next_tuple`, `next_batch` or a generator raised: pause before the next poll; None ends the spout.

        A negative pause ends the worker.
        """
    def dead(self, handle: int, letter: Mapping[str, Any], /) -> None:
        """Make the letter durable, then call `Worker.dead_stored(handle)` (any thread).

        One for each root that is given up; letters of one failure have its number.
        """
    def holding(self, task: int, bytes: int, holder: int, /) -> None:
        """Spout `task` pauses since its pending roots weigh so much; most of them wait at task `holder`."""
    def replayed(self, handle: int, acked: bool, attempt: int, /) -> None:
        """A root given to `Worker.replay` has ended in this try: acked, or a dead letter again that is stored."""
    def replay_failed(self, handle: int, task: int, error: BaseException, attempt: int, /) -> None:
        """A try of a root given to `Worker.replay` failed at `task`, and another one follows."""
    def replay_refused(self, handle: int, error: BaseException, /) -> None:
        """A root given to `Worker.replay` could not be emitted."""
    def observe(self, event: str, task: int, message_id: object, attempt: int, /) -> None:
        """Only if `Worker.observe` is on: "acked" or "failed" (one for each failed try) of a root."""

class Worker:
    """The tasks of one worker and the loop that runs them.

    `virtual`: time stands still but for `advance_to`, nothing waits, no thread is needed (LocalCluster).
    `settings`: the values of `topology.*` keys that the core reads, by key.
    `trace`: the descriptor of an empty file, which is the worker's from then on, most bytes of it, and its number. What
    it does with trees and tuples is noted there.
    """

    def __init__(
        self,
        *,
        incarnation: int,
        seed: int,
        hooks: Hooks,
        virtual: bool,
        settings: Mapping[str, Any],
        page_fd: int | None = None,
        trace: tuple[int, int, int] | None = None,
    ) -> None: ...

    # -- building, before the first run ------------------------------------------------------------------
    def add_component(self, name: str, /) -> int: ...
    def add_task(
        self,
        *,
        component: int,
        task_id: int,
        instance: Component,
        context: object,
        spout: bool,
        streams: Sequence[tuple[str, Sequence[str], bool]],
        retries: int,
    ) -> int:
        """The task's index, counted from 0 in the order of the calls; bolts must come in topological order.

        `streams`: (name, fields, direct) of each declared stream, "default" first if declared.
        """
    def configure_spout(
        self,
        task: int,
        /,
        *,
        kind: Literal["next_tuple", "next_batch", "iterator", "tcp"],
        source: object,
        ack: Callable[[Any], object] | None,
        ack_many: Callable[[list[Any]], object] | None,
        fail: Callable[[Any], object] | None,
        dead: Callable[[Any], object] | None,
        rate_per_s: float | None,
        idle_wait: float,
        max_pending: int | None,
        submit: Callable[[Call], None] | None,
        ordered: bool = False,
    ) -> None:
        """`source`: the bound method, the iterator, or the `SocketSource`. `submit`: the offloader of a blocking spout.

        `ordered`: `ended_prefix` is kept.
        """
    def configure_bolt(
        self,
        task: int,
        /,
        *,
        manual_ack: bool,
        hold_max: float,
        batch_max: int,
        batch_wait: float,
        max_in_flight: int,
        submit: Callable[[Call], None] | None,
        cancel: Callable[[Call], None] | None = None,
        drains: bool = False,
    ) -> None:
        """`batch_max` 0: one call a tuple. `submit`: the offloader of an async or blocking bolt.

        `cancel` is given a call whose inputs have failed by the time-out: it should end soon.
        `drains`: what it holds when the sources have ended is for its `drain`, so the run ends.
        """
    def bind(
        self,
        task: int,
        /,
        *,
        sources: Sequence[int],
        stream: int,
        function: Callable[..., object],
        codes: Sequence[int],
        constants: Sequence[object] = (),
    ) -> None:
        """Tuples of these tasks' stream are given to `function(*arguments by codes)`, a method or a function."""
    def subscribe(
        self,
        source: int,
        stream: int,
        /,
        *,
        targets: Sequence[int],
        grouping: Literal["shuffle", "fields", "partial_key", "all", "global", "none", "direct", "custom"],
        keys: Sequence[int] = (),
        custom: Callable[[int, tuple[Any, ...]], Sequence[int]] | None = None,
        closes_loop: bool = False,
    ) -> None:
        """Adds a subscription to a stream of task `source`; `targets` are task indexes in ascending order of task id.

        local-or-shuffle is "shuffle" over the local targets, if there are any. `custom` returns task ids.
        """
    def set_tick(self, task: int, period: float, function: Callable[[], object], /) -> None: ...

    # -- running ------------------------------------------------------------------------------------------
    def run(self, *, until_idle: bool = False, deadline: float | None = None, known: int | None = None) -> str:
        """Runs the tasks; says why it came back.

        "exhausted": every spout is exhausted and nothing is pending. "stopped": `request_stop` was called.
        "died": a failure said "die" (see `death`). "idle": nothing can run without time moving or the world
        sending something (only with `until_idle`). "deadline": `monotonic()` reached `deadline`.
        """
    def standing(self) -> dict[str, Any]:
        """How the worker stands, all of one moment.

        Keys: `activity` (grows when something was done) · `in_call` · `moving` · `exhausted` · `only_polls` (what is
        not exhausted waits for its last poll) · `pending` · `held` · `kept` (held where there is no `drain`) ·
        `undrained` (bolts are to be drained again) · `due` (s on the worker's clock, or None) ·
        `sent`, `received` (frames that may bring work, by incarnation).
        """
        ...
    def add_far_task(
        self,
        *,
        component: int,
        task_id: int,
        worker: int,
        streams: Sequence[tuple[str, Sequence[str], bool]],
        retries: int,
    ) -> int:
        """A task of another worker, with its streams; its index."""
        ...
    def open_links(self, number: int, workers: int, listen_fd: int | None = None, secret: bytes = ...) -> None:
        """Begins to serve links to the other workers. The descriptor is taken over.

        Args:
            listen_fd: where others call; None: streams are brought by `link_up`, to whom `links_sought` names.
        """
        ...
    def links_sought(self) -> list[tuple[int, int, int, float | None]]:
        """Which lives of others were sought since the last call, the oldest first.

        Out: (worker, incarnation, session, within so many seconds; None: however long it takes); incarnation 0: the
            worker is sought no more.
        """
        ...
    def link_up(self, worker: int, incarnation: int, session: int, fd: int) -> None:
        """A life that is sought is at the other end of this stream socket, which is taken over."""
        ...
    def link_not_found(self, worker: int, incarnation: int, session: int) -> None:
        """A life could not be found in the time that was given, and is sought no more."""
        ...
    def links(self) -> dict[str, Any]:
        """How the links stand: `peers`, by the other worker's number, and `refused`: counts by cause."""
        ...
    def peer(self, worker: int, incarnation: int, session: int, path: str) -> None:
        """A life of another worker takes tuples. Any thread."""
        ...
    def peer_lost(self, worker: int, incarnation: int, ran: str | None, suspects: Sequence[int]) -> None:
        """A life of another worker is over. Any thread.

        Args:
            ran: the component whose code ran then.
            suspects: the roots of the tuples on which it died.
        """
        ...
    def resume_spouts(self) -> None:
        """Takes `stop_spouts` back, as far as spouts were not exhausted."""
        ...
    def is_running(self) -> bool:
        """Whether `run` is under way, so that this is asked from within or from another thread."""
    def request_stop(self) -> None:
        """Makes `run` come back between two calls of user code. Any thread."""
    def start_spouts(self) -> None:
        """Spouts are polled from now on (all bolts are open)."""
    def stop_spouts(self) -> None:
        """Sources give what they hold already and then nothing; back-offs and batch waits are cut short."""
    def wake_spout(self, task: int, /) -> bool:
        """Polls a spout again that rests after it had nothing. Whether it was resting. Any thread."""
    def unended(self, task: int, /) -> tuple[int, list[int]] | None:
        """How many outputs of a spout's task have begun, and the numbers of those that have not ended, ascending."""
    def ended_prefix(self, task: int, /) -> int | None:
        """How many outputs of a spout have ended such that all before them have; None where their order is not kept."""
    def suspect(self, task: int, place: int, deaths: int, /) -> None:
        """Workers died so often while tuples of the spout's output at this place were executed."""
    def end_emission(self) -> None:
        """The tasks are about to be closed: from now on `emit` raises."""
    def spout_ended(self, task: int, /) -> bool:
        """Whether the spout is exhausted and no poll of it is running."""
    def spouts_finished(self) -> bool:
        """After `stop_spouts`: native sources have given all they held and no offloaded poll is running."""
    def advance_to(self, now: float, /) -> None:
        """Virtual time only: moves the clock; what came due runs in the next `run`."""
    def next_due(self) -> float | None:
        """When the next timer, tick, back-off or time-out is due."""
    def monotonic(self) -> float: ...
    def drained(self, task: int, /, *, again: bool) -> None:
        """The `drain` of bolt `task` is called now; `again`: and will be for what it executes from now on."""
    def emit_result(self, task: int, result: object, /) -> None:
        """Sends what `open`, `drain` or another call outside a tuple returned; unanchored."""
    def bury(self, task: int, values: tuple[Any, ...], error: BaseException, id: Hashable | None = None, /) -> None:
        """A record of spout `task` that cannot be emitted becomes a dead letter; it counts as one of its outputs."""
    def pause(self, task: int, delay: float, /) -> None: ...
    def after(self, task: int, delay: float, function: Callable[..., object], args: tuple[Any, ...], /) -> int:
        """Runs `function(*args)` as the task, between tuples (task -1: for the runtime). Any thread."""
    def every(self, task: int, period: float, function: Callable[..., object], args: tuple[Any, ...], /) -> int: ...
    def cancel_timer(self, timer: int, /) -> None: ...
    def dead_stored(self, handle: int, /) -> None: ...
    def replay(
        self, task: int, stream: int, values: tuple[Any, ...], /, direct: int | None = None, handle: int = 0
    ) -> None:
        """Emits values as a new root of spout `task`, on a direct stream to task `direct`. Any thread.

        When the root was acked or its letter is stored, `Hooks.replayed` is called, unless that is 0.
        """

    # -- looking ------------------------------------------------------------------------------------------
    def pending(self) -> list[tuple[int, int]]:
        """(spout task index, trees open), for spouts that have any."""
    def busy(self) -> list[tuple[int, int, int]]:
        """(task index, tuples queued, tuples in user hands), for tasks that have any."""
    def snapshot(self) -> list[dict[str, Any]]:
        """Counters and latencies of each task, by task index; see `squall.runtime.stats`."""
    def current_component(self) -> int | None:
        """Number of the component whose code the loop's thread is running."""
    def death(self) -> tuple[int, BaseException] | None:
        """(task index, its exception) after `run` said "died"."""
    def tap(
        self, task: int, stream: int, function: Callable[[tuple[Any, ...]], object], /, gate: TapGate | None = None
    ) -> None:
        """From now on `function` gets each row emitted on the stream that `gate` admits; all without one. Any thread.

        It says whether the row was shown, for the gate's rate, and must not raise.
        """
    def untap(self, task: int, stream: int, function: object, /) -> None:
        """Takes the taps with this very function away. Any thread."""
    def close(self) -> None:
        """Lets go of every task and hook; the worker is of no use afterwards. Raises while it runs."""

    # -- for tests ----------------------------------------------------------------------------------------
    def observe(self, on: bool, /) -> None: ...
    def intercept(self, task: int, function: Callable[[Tuple], None] | None, /) -> None:
        """Called with each input before the task sees it; what it raises, the task raises."""

class TapGate:
    """Decides which tuples a tap looks at; the tasks and streams of one tap share it.

    `ratio`: share of the tuples that it is for. `shown_per_s`: tuples that may be shown in a second. `time_ratio`:
    share of the time that looking may take. What finds one of the last two used up is skipped.
    """

    def __init__(
        self,
        *,
        ratio: float = 1.0,
        shown_per_s: float | None = None,
        time_ratio: float | None = None,
        seed: int = 0,
    ) -> None: ...
    def seen(self) -> tuple[int, int]:
        """(tuples that came by, tuples that were skipped)."""

class TlsSide:
    """How one side of a connection does its TLS hand-shakes. ValueError: a file is wrong; it is named."""

    @staticmethod
    def server(
        certificate: str | PathLike[str], key: str | PathLike[str], client_ca: str | PathLike[str] | None, /
    ) -> TlsSide: ...
    @staticmethod
    def client(
        ca: str | PathLike[str] | None,
        certificate: str | PathLike[str] | None,
        key: str | PathLike[str] | None,
        server_name: str | None,
        /,
    ) -> TlsSide: ...

class StreamSettings:
    """How records come from connections."""

    def __init__(
        self,
        *,
        framing: Literal["lines", "delimiter", "fixed", "length_prefix"],
        delimiter: bytes = b"",
        size: int = 0,
        prefix_bytes: int = 4,
        big_endian: bool = True,
        max_record: int,
        max_connections: int,
        client_buffer: int,
        tls: TlsSide | None = None,
        receipts: Literal["processed", "stored"] | None = None,
    ) -> None: ...

class SocketSource:
    """The native half of a spout of sockets: where records come from, and how they become outputs.

    `decode`: "text" (UTF-8, else the record goes to the dead letters as bytes); "bytes"; ("value", f): f(bytes) is the
    one value; ("row", f, g): g(f(bytes)) is a tuple; ("outputs", f): f(bytes) is an output by the rules of outputs.
    """

    @staticmethod
    def listen(
        fd: int, stream: StreamSettings, decode: object, /, *, journal: tuple[str, int] | None = None
    ) -> SocketSource:
        """Of a socket that listens already, which is taken over.

        `journal`: a directory of this task alone, and the bytes at which it takes no more until records have ended.
        """
    @staticmethod
    def connect(
        servers: Sequence[tuple[str, int]],
        stream: StreamSettings,
        decode: object,
        /,
        *,
        reconnect: bool,
        first_pause: float,
        longest_pause: float,
        timeout: float,
    ) -> SocketSource:
        """Of connections that are made to servers, one to each."""
    @staticmethod
    def datagrams(fd: int, decode: object, /, *, max_record: int) -> SocketSource:
        """Of a bound socket for datagrams, which is taken over; each is a record."""
    def stats(self) -> dict[str, int]: ...
    def close(self) -> None:
        """Sends the last receipts and closes the connections. Waits for that, two seconds at most."""

class Session:
    """The worker's end of the command session: a native thread that answers also while user code hangs."""

    def __init__(
        self,
        worker: Worker,
        fd: int,
        handler: Callable[[bytes], bytes | None],
        /,
        *,
        dump_fd: int,
        stuck_after: float,
        timeout: float,
    ) -> None:
        """`handler` is asked for what needs the interpreter; `stacks` is answered without it.

        `dump_fd`: the file that faulthandler writes stacks to on SIGUSR2.
        """
    def send(self, line: bytes, /) -> None:
        """Sends one event line to the parent; never blocks."""
    def offer(self, line: bytes, /) -> bool:
        """Sends a line that may be lost, unless too much waits already. Whether it was taken."""
    def flushed(self) -> bool:
        """Whether every line is written."""

def encode_values(values: tuple[object, ...], /, *, pickle: bool = False) -> bytes:
    """The bytes that a row of these values has between workers.

    `pickle`: values without a form of their own are pickled.

    Raises:
        EmissionError: `value_not_encodable`, `value_too_large`, `value_too_deep`, `value_changed`,
            `value_encoder_failed`.
    """

def decode_values(data: bytes, /, *, pickle: bool = False) -> tuple[Any, ...]:
    """The values of such bytes. `pickle`: pickles among them are loaded, which may run any code.

    Raises:
        EmissionError: `value_not_decodable`.
    """

def register_codec(cls: type, name: str, encode: Callable[[Any], object], decode: Callable[[Any], object], /) -> None:
    """Says how instances of exactly `cls` travel, and by which name. A name has one type, the last one."""

def time_codec(rows: Sequence[tuple[object, ...]], per_frame: int) -> tuple[float, float, float]:
    """(ns a row to write, ns to read, bytes a row), with ids, in frames of so many rows; CPU time of the thread."""

def stable_hash(value: object, /) -> int:
    """The 64-bit key hash of a value (semantics 29)."""

def task_of(hash: int, tasks: int, /) -> int:
    """The number of the task that owns the hash's key range (semantics 30)."""

def set_key_reducer(reduce: Callable[[object], tuple[int, object]], /) -> None:
    """`reduce(value)` names a value that the core does not know by (one of `TAG_…`, value that it knows), or raises."""

TAG_SAME: int
"""The named value is hashed in place of the other."""
TAG_NUMBER: int
"""The named value is the modular hash of a number."""
TAG_NAN: int
"""The named value is of no account: every NaN hashes alike."""
TAG_SEQUENCE: int
TAG_SET: int
TAG_DICT: int
TAG_INSTANT: int
TAG_DATETIME: int
TAG_DATE: int
TAG_TIME: int
TAG_DURATION: int
TAG_UUID: int
TAG_DATACLASS: int
TAG_REGISTERED: int

def page_create() -> int:
    """A new page shared by parent and worker: its file descriptor."""

def page_read(fd: int, /) -> tuple[int, int]:
    """(component number whose code is running or 0, calls so far) of a shared page."""

def page_totals(fd: int, /) -> tuple[int, int, int, int]:
    """(emitted, acked, failed, dead) of a shared page: tries of roots so far, over all spouts of the worker, and roots
    that were given up."""

def page_prefixes(fd: int, spouts: int, /) -> list[int]:
    """How many outputs of each of so many spouts' tasks have ended with all before them, by a shared page; in order.

    Out: 0 for spouts that are no generators.
    """

def page_suspects(fd: int, incarnation: int, /) -> list[tuple[bool, int, tuple[int, int] | None]]:
    """The tuples that the last call on the worker's loop worked on, and calls away from it, by a shared page.

    Out: (whether it was one away from the loop, root, with what it began as `page_origin` has it).
    """

def page_origin(fd: int, incarnation: int, root: int, /) -> tuple[int, int] | None:
    """With what a root of this incarnation began, by its page: (number of the spout's task, place of the output).

    None: it is the root of another one, or its tree has ended and its slot has another tree.
    """

def page_reading(fd: int, /) -> tuple[int, int] | None:
    """The same of the record that user code was reading when it came from a journal; None: it read none."""

current_call: Any
"""ContextVar[Call | None]: the offloaded call that the current coroutine or thread is running."""

BUILD: Mapping[str, str]
"""`profile`, `version`, `python` of the compiled core."""
