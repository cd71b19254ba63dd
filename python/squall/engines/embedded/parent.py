"""The parent of `squall run`: it never runs user code but to build the topology (semantics 38).

It binds the listening sockets, starts the worker in a session of its own, follows it to its end, answers other commands
on a control socket, keeps the totals, and leaves nothing behind. What to do when is decided in `outcome`.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squall import _core
from squall.cluster.causes import cause_of
from squall.config.load import local_dir
from squall.engines.embedded import events, outcome, sockets
from squall.engines.embedded.control import Answered, Control
from squall.engines.embedded.followers import Followers
from squall.engines.embedded.outcome import Do, Run
from squall.engines.embedded.positions import PositionStore, told
from squall.engines.embedded.runs import CONTROL_SOCKET, remove_dead_runs, remove_old_logs, usable
from squall.engines.embedded.standard_input import HINT, StandardInput
from squall.engines.embedded.tail import Tail
from squall.engines.embedded.worker_process import Wanted, WorkerProcess
from squall.engines.metrics.exports import Exports
from squall.errors import ClusterError, Defect
from squall.model.graph import Graph, Mode
from squall.planner.describe import describe
from squall.runtime import stats
from squall.runtime.dead_log import log_path
from squall.runtime.open_letters import OpenLetters
from squall.runtime.positions import StoredPosition

Event = dict[str, Any]
LOOK_EVERY_S = 0.2
"""How often the log and the clock are looked at."""


@dataclass(frozen=True, slots=True)
class Order:
    """What `squall run` was asked for.

    `stdout_fd`: where sinks write that write to standard output. `from_start`: whether to forget where the spouts of
    the last run stopped.
    """

    file: str
    name: str | None
    parameters: list[str]
    settings: dict[str, Any]
    for_s: float | None
    drain_s: float
    stdout_fd: int = 1
    from_start: bool = False


@dataclass(frozen=True, slots=True)
class Stuck:
    """A call that does not return: the last of `calls`, begun at `since_s` on the monotonic clock."""

    component: str
    calls: int
    since_s: float


class EmbeddedRun:
    """One run of a topology with its worker process.

    Args:
        tell: gets every event: started, resumed, progress, draining, stuck, log, failed, summary.
    """

    def __init__(self, order: Order, graph: Graph, tell: Callable[[Event], None]) -> None:
        self._order, self._graph, self._audience = order, graph, tell
        self._components = [*(spout.name for spout in graph.spouts), *graph.order]
        self._began_s = time.monotonic()
        self._run = Run(order.drain_s)
        self._report: Event = {}
        self._interrupts = 0
        self._bound: dict[str, Any] = {}
        self._stuck: Stuck | None = None
        self._followers = Followers()
        self._control: Control | None = None
        self._exports: Exports | None = None
        self._letters = OpenLetters(log_path(local_dir(order.settings), graph.name))
        self._unstored: set[str] = set()
        self._positions = PositionStore(local_dir(order.settings), graph.name)
        self._selector = selectors.DefaultSelector()

    def interrupt(self) -> None:
        """Ends the run as Ctrl-C does."""
        self._interrupts += 1

    def ask(self, request: Event, answered: Answered) -> None:
        """Gives the worker a command; `answered` gets what it says, if the run goes on until then."""
        if self._control is not None:
            self._control.ask(request, answered)

    def look_at(self, fd: int, ready: Callable[[], None]) -> None:
        """Has `ready` called, while the worker runs, whenever something can be read from `fd`."""
        self._selector.register(fd, selectors.EVENT_READ, ready)

    def look_away(self, fd: int) -> None:
        """Ends `look_at`; nothing is left to end when the worker has ended."""
        if fd in (self._selector.get_map() or ()):
            self._selector.unregister(fd)

    def _tell(self, event: Event) -> None:
        if self._exports is not None:
            self._exports.take(event)
        self._followers.tell(event)
        self._audience(event)

    def __call__(self) -> int:
        """Runs to the end. The exit code."""
        try:
            return self._with_positions()
        finally:
            self._selector.close()  # also of a run that did not begin
            self._positions.close()

    def _with_positions(self) -> int:
        with usable(local_dir(self._order.settings)):
            positions = self._positions.begin(self._graph, from_start=self._order.from_start)
        wanted = self._wanted(positions)
        try:
            with self._signals(), self._prepared(wanted) as control, self._exporting(wanted):
                stdin = StandardInput() if any(spec.reads_stdin for spec in self._graph.spouts) else None
                with self._listening() as listeners:
                    worker = WorkerProcess(wanted, listeners, stdin.theirs if stdin else None)
                    addresses = {name: self._bound[name].bound_address(one) for name, one in listeners.items()}
                # The listening sockets are the worker's alone now: a client that comes after a drain is refused.
                self._started(worker, wanted, addresses)
                if stdin is not None:
                    self._read_input(stdin)
                if positions:
                    self._tell({"event": "resumed", "text": told(positions)})
                self._follow(worker, control, Tail(wanted.log_file))
                return self._end(worker, wanted.log_file)
        finally:
            self._followers.close()
            for spout in self._bound.values():
                spout.unbind()
            shutil.rmtree(wanted.run_dir, ignore_errors=True)

    def _wanted(self, positions: list[StoredPosition]) -> Wanted:
        base, order = local_dir(self._order.settings), self._order
        stamp, second = f"{self._graph.name}-{os.getpid()}", int(time.time())
        return Wanted(
            file=order.file,
            name=order.name,
            parameters=order.parameters,
            described=describe(self._graph),
            settings=order.settings,
            topology_id=f"{self._graph.name}-1-{second}",
            run_dir=base / "runs" / stamp,
            log_file=base / "logs" / f"{stamp}-{second}.log",
            dead_log=log_path(base, self._graph.name),
            drain_s=max(order.drain_s, outcome.DRAIN_AT_LEAST_S),
            stdout_fd=order.stdout_fd,
            positions=positions,
        )

    def _prepared(self, wanted: Wanted) -> socket.socket:
        """The control socket, with the folders of the run; what earlier runs left is gone."""
        base = local_dir(self._order.settings)
        with usable(base):
            remove_dead_runs(base)
            remove_old_logs(base)
            for folder in (wanted.run_dir, wanted.log_file.parent):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return sockets.listen(wanted.run_dir / CONTROL_SOCKET)

    @contextmanager
    def _listening(self) -> Generator[dict[str, socket.socket]]:
        with ExitStack() as stack:
            listeners: dict[str, socket.socket] = {}
            for spec in self._graph.spouts:
                if spec.listens:
                    spout = spec.make(None)
                    listeners[spec.name] = stack.enter_context(spout.bind())
                    self._bound[spec.name] = spout
            yield listeners

    @contextmanager
    def _exporting(self, wanted: Wanted) -> Generator[None]:
        """Inside, the run's figures go where its settings say. Before the worker starts: an address may be taken."""
        resource = {
            "service.name": self._graph.name,
            "service.instance.id": f"{wanted.topology_id}-{os.getpid()}",
            "service.version": _core.BUILD["version"],
        }
        self._exports = exports = Exports(self._order.settings, resource, self._stuck_now)
        try:
            yield
        finally:
            exports.close()
            self._say(exports.complaints())

    def _stuck_now(self) -> tuple[str, float] | None:
        stuck = self._stuck
        return None if stuck is None else (stuck.component, time.monotonic() - stuck.since_s)

    # -- follow --------------------------------------------------------------------------------------------------

    def _follow(self, worker: WorkerProcess, listener: socket.socket, tail: Tail) -> None:
        """Serves the worker until its process has ended and everything it said is heard."""
        lines = sockets.LineBuffer()
        ended = False

        def exited() -> None:
            nonlocal ended
            ended = True

        def session() -> None:
            if not self._hear(worker, lines, control):
                selector.unregister(worker.session)

        with self._selector as selector:
            self._control = control = Control(
                listener, lambda request: _pass_on(worker, request), selector, self._followers
            )
            selector.register(worker.session, selectors.EVENT_READ, session)
            selector.register(worker.pidfd, selectors.EVENT_READ, exited)
            look_at_s = 0.0
            while not ended:
                for key, _ in selector.select(self._patience_s()):
                    key.data()
                if (now_s := time.monotonic()) >= look_at_s:
                    look_at_s = now_s + LOOK_EVERY_S / 2
                    self._say([*tail.lines(), *self._complaints()])
                self._pass_time(worker)
                control.pass_time(lambda: self._names(worker.ran()))
        while self._hear(worker, lines, control):
            pass
        control.end()
        self._say(tail.rest())
        tail.close()

    def _started(self, worker: WorkerProcess, wanted: Wanted, addresses: dict[str, str]) -> None:
        urls = self._exports.urls if self._exports is not None else {}
        self._tell(events.started(self._graph, wanted, worker, addresses, urls))
        if self._order.for_s is not None:
            self._run = Run(self._order.drain_s, stop_at_s=time.monotonic() + self._order.for_s)

    def _read_input(self, stdin: StandardInput) -> None:
        if stdin.is_terminal:
            self._say([HINT])
        stdin.start()

    def _patience_s(self) -> float:
        soonest_s = min(self._run.stop_at_s, self._run.kill_at_s) - time.monotonic()
        return max(0.0, min(LOOK_EVERY_S, soonest_s))

    def _complaints(self) -> list[str]:
        return [] if self._exports is None else self._exports.complaints()

    def _say(self, lines: list[str]) -> None:
        if lines:
            self._tell({"event": "log", "text": "\n".join(lines)})

    def _hear(self, worker: WorkerProcess, lines: sockets.LineBuffer, control: Control) -> bool:
        """Takes what the worker said; whether it may say more."""
        try:
            data = worker.session.recv(1 << 16, socket.MSG_DONTWAIT)
        except OSError:
            return False
        for event in lines.feed(data):
            self._heard(worker, event, control)
        return bool(data)

    def _heard(self, worker: WorkerProcess, event: Event, control: Control) -> None:
        match event.get("event"):
            case "ready":
                self._step(worker, outcome.Ready())
            case "draining":
                self._step(worker, outcome.Draining())
            case "progress":
                self._report = event
                now = {"at_epoch_ms": int(time.time() * 1000), "phase": self._run.phase.value}
                known = {"topology": self._graph.name, **now}
                self._tell({**event, **known, "workers": [worker.figures()], "dead_letters": self._letters.now()})
            case "position":
                self._store(worker, StoredPosition.of_json(event["record"]), event["number"])
            case "failed":
                self._step(worker, outcome.Failed(Defect(**event["defect"])))
            case "ended":
                self._report = event
                self._step(worker, outcome.Ended(outcome.failure_at_end(event, self._order.drain_s)))
            case "stuck":
                component = self._names([event["component"]])[0]
                self._stuck = Stuck(component, worker.calls(), time.monotonic() - event["running_s"])
                on_loop = self._graph.components[component].mode is Mode.LOOP
                self._tell({**event, "component": component, "on_loop": on_loop})
                control.tell_stuck(component, event["running_s"])
            case "tap":
                control.tapped(event)
            case None if "id" in event:
                control.answered(event)
                if "tap" in event and self._stuck is not None:
                    control.tell_stuck(self._stuck.component, time.monotonic() - self._stuck.since_s)
            case _:
                pass

    def _store(self, worker: WorkerProcess, position: StoredPosition, number: int) -> None:
        """Makes a position durable, or says why not; the worker tries again."""
        done = False
        try:
            self._positions.put(position)
            done = True
            self._unstored.discard(position.component)
        except OSError as error:
            if position.component not in self._unstored:  # else it was said
                self._say([f'the position of "{position.component}" cannot be stored: {error.strerror}'])
                self._unstored.add(position.component)
        except ClusterError as error:
            self._step(worker, outcome.Failed(error.defects[0]))
            self._step(worker, outcome.Interrupted())
        stored = {"component": position.component, "task": position.task, "number": number, "done": done}
        worker.tell({"cmd": "position-stored", **stored})

    def _pass_time(self, worker: WorkerProcess) -> None:
        while self._interrupts:
            self._interrupts -= 1
            self._step(worker, outcome.Interrupted())
        worker.flush()
        self._look_at_stuck(worker)
        self._step(worker, outcome.Tick())

    def _look_at_stuck(self, worker: WorkerProcess) -> None:
        if (stuck := self._stuck) is None:
            return
        running_s = time.monotonic() - stuck.since_s
        settings = self._graph.settings
        if worker.calls() != stuck.calls:
            self._stuck = None
        elif settings["topology.stuck.restart"] and running_s > 2 * settings["topology.message.timeout.secs"]:
            self._stuck = None
            self._step(worker, outcome.Hanging(outcome.call_hangs(stuck.component, running_s)))

    def _step(self, worker: WorkerProcess, event: outcome.Event) -> None:
        self._run, do = outcome.step(self._run, event, time.monotonic())
        if do is Do.STOP:
            self._tell({"event": "draining"})
            worker.tell({"cmd": "stop"})
        elif do is Do.KILL:
            worker.kill()

    # -- end -----------------------------------------------------------------------------------------------------

    def _end(self, worker: WorkerProcess, log_file: Path) -> int:
        """Says how it ended; the exit code."""
        status = worker.reap()
        cause = cause_of(status, self._names(worker.ran()), worker.out_of_memory())
        lost = None if self._run.said_its_last_word else worker.totals()
        worker.close()
        self._run, _ = outcome.step(self._run, outcome.Gone(cause.defect), time.monotonic())
        if failure := self._run.failure:
            self._tell({"event": "failed", "code": failure.code, "text": str(failure), "log": str(log_file)})
        specs = [self._graph.components[name] for name in self._components]
        zeros = {spec.name: stats.empty(spec.kind.value, spec.tasks) for spec in specs}
        if self._run.exit_code == outcome.EXIT_OK and self._report.get("exhausted"):
            self._positions.forget()
        totals = outcome.summary(self._report, zeros, time.monotonic() - self._began_s, lost=lost)
        self._tell({"event": "summary", "topology": self._graph.name, **totals})
        return self._run.exit_code

    def _names(self, numbers: list[int]) -> list[str]:
        return [self._components[number - 1] for number in numbers]

    @contextmanager
    def _signals(self) -> Generator[None]:
        def interrupt(_signal: int, _frame: object) -> None:
            self._interrupts += 1

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, interrupt) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _pass_on(worker: WorkerProcess, request: Event) -> None:
    """Gives the worker a command of others; who gets no answer is told what it is busy with."""
    worker.tell(request, may_be_lost=request.get("cmd") != "untap")
