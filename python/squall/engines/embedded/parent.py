"""The parent of `squall run`: it never runs user code but to build the topology (semantics 38).

It opens what the spouts read from (`sources`), has the workers started and replaced (`crew`), follows them to their
end, answers other commands on a control socket, and leaves nothing behind. What to do when is decided in `outcome`.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from squall import _core
from squall.cluster import totals
from squall.cluster.placement import place
from squall.cluster.settling import Kind as StageKind
from squall.cluster.settling import Stage
from squall.cluster.stuck import LOOP, Stuck, StuckCalls
from squall.config.load import local_dir
from squall.engines.embedded import events, outcome, sockets
from squall.engines.embedded.control import Answered, Control
from squall.engines.embedded.crew import Crew
from squall.engines.embedded.followers import Followers
from squall.engines.embedded.order import Order
from squall.engines.embedded.outcome import NEVER, Do, Phase, Run
from squall.engines.embedded.positions import told
from squall.engines.embedded.runs import CONTROL_SOCKET, folder_of_run, remove_dead_runs, remove_old_logs, usable
from squall.engines.embedded.sources import Sources
from squall.engines.embedded.standard_input import HINT, StandardInput
from squall.engines.embedded.storing import Why
from squall.engines.embedded.worker_process import Wanted
from squall.engines.metrics.exports import Exports
from squall.errors import ClusterError, Defect
from squall.model.graph import Graph, Mode
from squall.planner.plan import plan
from squall.runtime.dead_log import log_path
from squall.runtime.open_letters import OpenLetters
from squall.runtime.positions import StoredPosition

Event = dict[str, Any]
LOOK_EVERY_S = 0.2
"""How often the log and the clock are looked at."""
PROGRESS_WITHIN_S = 1.5
"""The run tells how it stands when its first worker reports, each second; at the latest after so long."""


class EmbeddedRun:
    """One run of a topology with its workers' processes.

    Args:
        tell: gets every event: started, worker, resumed, progress, draining, stuck, log, failed, summary.
    """

    def __init__(self, order: Order, graph: Graph, tell: Callable[[Event], None]) -> None:
        self._order, self._graph, self._audience = order, graph, tell
        self._components: list[str] = [*(spout.name for spout in graph.spouts), *graph.order]
        self._began_s = time.monotonic()
        self._run = Run(order.drain_s)
        self._placement = place(graph, order.workers)
        self._plan = plan(graph, self._placement.executors)
        self._crew: Crew
        self._is_started = False
        self._exhausted = False
        self._cause: Defect | None = None
        self._interrupts = 0
        self._told_at_s = NEVER
        self._sources = Sources(graph, local_dir(order.settings))
        restarts, timeout_s = graph.settings["topology.stuck.restart"], graph.settings["topology.message.timeout.secs"]
        self._stuck = StuckCalls(2 * timeout_s if restarts else None)
        self._followers = Followers()
        self._control: Control | None = None
        self._exports: Exports | None = None
        self._letters = OpenLetters(log_path(local_dir(order.settings), graph.name))
        self._unstored: set[str] = set()
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
            self._sources.close()

    def _with_positions(self) -> int:
        with usable(local_dir(self._order.settings)):
            positions = self._sources.take(from_start=self._order.from_start)
        wanted = self._order.wanted(self._graph, self._placement)
        try:
            with self._signals(), self._prepared(wanted) as control, self._exporting(wanted):
                stdin = self._sources.open()
                self._crew = crew = Crew(wanted, self._plan, self._selector, self, self._sources)
                crew.begin()
                self._started(crew, wanted)
                if stdin is not None:
                    self._read_input(stdin)
                if positions:
                    self._tell({"event": "resumed", "text": told(positions)})
                self._follow(crew, control)
                self._say(crew.close())
                return self._end(crew, wanted.log_file)
        finally:
            self._followers.close()
            self._sources.unbind()

    @contextmanager
    def _prepared(self, wanted: Wanted) -> Generator[socket.socket]:
        """The control socket, inside, with the folders of the run; what earlier runs left is gone."""
        base = local_dir(self._order.settings)
        with ExitStack() as inside:
            with usable(base):
                remove_dead_runs(base)
                remove_old_logs(base)
                wanted.log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                inside.enter_context(folder_of_run(wanted.run_dir))
                control = inside.enter_context(sockets.listen(wanted.run_dir / CONTROL_SOCKET))
            yield control

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

    def _stuck_now(self) -> dict[str, float]:
        """The components with a call that does not return, and for how long."""
        return self._stuck.running_s(time.monotonic())

    # -- follow --------------------------------------------------------------------------------------------------

    def _follow(self, crew: Crew, listener: socket.socket) -> None:
        """Serves the workers until there is none any more and everything they said is heard."""
        with self._selector as selector:
            selector.register(self._sources.storing.fd, selectors.EVENT_READ, self._sources.storing.tell)
            self._control = control = Control(listener, crew.ask, crew.tell, selector, self._followers)
            look_at_s = 0.0
            while not crew.is_over:
                for key, _ in selector.select(self._patience_s(crew)):
                    key.data()
                if (now_s := time.monotonic()) >= look_at_s:
                    look_at_s = now_s + LOOK_EVERY_S / 2
                    self._say([*crew.log_lines(), *self._complaints()])
                self._pass_time(crew)
                control.pass_time(crew.ran)
        control.end()

    def _started(self, crew: Crew, wanted: Wanted) -> None:
        urls = self._exports.urls if self._exports is not None else {}
        self._tell(events.started(self._graph, wanted, crew.pids(), self._sources.addresses(), urls))
        for one in crew.pids():
            self._tell(events.worker(one["id"], one["pid"], "started", None))
        self._is_started = True
        if self._order.for_s is not None:
            self._run = Run(self._order.drain_s, stop_at_s=time.monotonic() + self._order.for_s)

    def _read_input(self, stdin: StandardInput) -> None:
        if stdin.is_terminal:
            self._say([HINT])
        stdin.start()

    def _patience_s(self, crew: Crew) -> float:
        soonest_s = min(self._run.next_at_s, crew.next_at_s()) - time.monotonic()
        return max(0.0, min(LOOK_EVERY_S, soonest_s))

    def _complaints(self) -> list[str]:
        return [] if self._exports is None else self._exports.complaints()

    def _say(self, lines: list[str]) -> None:
        if lines:
            self._tell({"event": "log", "text": "\n".join(lines)})

    # -- news of the crew --------------------------------------------------------------------------------------------

    def said(self, worker: int, event: Event) -> None:
        """A worker said something."""
        match event.get("event"):
            case "progress" if worker == self._crew.first() or self._told_at_s == NEVER:
                self._progress()
            case "position":
                self._store(worker, StoredPosition.of_json(event["record"]), event["number"], event["ended"])
            case "ended":
                self._ended(worker, event)
            case "stuck":
                self._stuck_call(worker, event)
            case "went_on":
                self._stuck.went_on(worker, event["place"])
            case "tap" if self._control is not None:
                self._control.tapped(event)
            case _:
                pass

    def changed(self, worker: int, pid: int, state: str, cause: Defect | None) -> None:
        """A worker is started, ready or lost."""
        if state == "lost":
            self._stuck.gone(worker)
        if state == "ready" and self._crew.is_whole:
            self._step(outcome.Ready())
        if state == "lost" and cause is not None:
            self._cause = cause
        if self._is_started:
            self._tell(events.worker(worker, pid, state, cause))

    def answered(self, answer: Event) -> None:
        """All workers have answered a command."""
        if self._control is None:
            return
        self._control.answered(answer)
        if "tap" in answer:
            for stuck in self._stuck.now():
                self._control.tell_stuck(stuck, time.monotonic())

    def began(self, stage: Stage) -> None:
        """A stage of the run has begun."""
        if stage.kind is StageKind.RUN:
            self._exhausted = False
            return self._step(outcome.Resumed())
        if self._run.phase in (Phase.STARTING, Phase.RUNNING):
            self._exhausted = stage.kind is not StageKind.CUT
        self._step(outcome.Draining())
        self._sources.close_listeners()

    def gave_up(self, why: Defect) -> None:
        """A worker cannot be had, or cannot go on."""
        self._step(outcome.Failed(why))
        if not self._crew.is_closing:  # else the others are let close what they have
            self._crew.kill()

    def _progress(self) -> None:
        self._told_at_s = time.monotonic()
        now = {"at_epoch_ms": int(time.time() * 1000), "phase": self._run.phase.value}
        known = {"event": "progress", "topology": self._graph.name, **now}
        figures = totals.merged(self._crew.totals)
        self._tell({**figures, **known, "workers": self._crew.figures(), "dead_letters": self._letters.now()})

    def _ended(self, worker: int, event: Event) -> None:
        """A worker said its last word: all has ended, or its own code ended it."""
        if (died := outcome.death_told(event, was_ready=self._crew.was_ready(worker))) is not None:
            component, why = died
            return self._crew.will_end(worker, why, component)
        self._crew.ended(worker)
        if not event["drained"]:
            self._step(outcome.Unfinished(event["busy"]))
        if (failure := outcome.failure_at_end(event)) is not None:
            self._step(outcome.Failed(failure))
            if self._run.phase in (Phase.STARTING, Phase.RUNNING):
                self._crew.kill()
        if self._crew.said_last_words:
            self._step(outcome.Ended())

    def _stuck_call(self, worker: int, event: Event) -> None:
        number: int = event["component"]
        component = self._components[number - 1]
        since_s = time.monotonic() - event["running_s"]
        place: int = event.pop("place", LOOP)  # the core's watchdog watches the loop alone
        waits_for: str = event.get("waits_for", "")
        stuck = Stuck(worker, component, since_s, place, self._crew.call(worker), waits_for)
        self._stuck.told(stuck)
        on_loop = self._graph.components[component].mode is Mode.LOOP
        about = {"component": component, "on_loop": on_loop, "worker": worker, "waits_for": waits_for}
        self._tell({**event, **about})
        if self._control is not None:
            self._control.tell_stuck(stuck, time.monotonic())

    def _store(self, worker: int, position: StoredPosition, number: int, ended: int | None) -> None:
        """Has a position made durable, and tells the life of its worker; one that is not is sent again."""
        life = self._crew.incarnation(worker)

        def told(why: Why) -> None:
            self._complain_of(position.component, why)
            if self._crew.incarnation(worker) != life:  # where the next one begins was said when this one died
                return
            if why is None:
                self._sources.keep(position)
                if ended is not None:
                    self._crew.positioned(position.component, position.task, ended)
            stored = {"component": position.component, "task": position.task, "number": number, "done": why is None}
            self._crew.tell_worker(worker, {"cmd": "position-stored", **stored})

        self._sources.put(position, told)

    def _complain_of(self, component: str, why: Why) -> None:
        match why:
            case None:
                self._unstored.discard(component)
            case ClusterError():
                self._step(outcome.Failed(why.defects[0]))
                self._step(outcome.Interrupted())
            case OSError() if component not in self._unstored:  # else it was said
                self._say([f'the position of "{component}" cannot be stored: {why.strerror}'])
                self._unstored.add(component)
            case _:
                pass

    # -- time --------------------------------------------------------------------------------------------------------

    def _pass_time(self, crew: Crew) -> None:
        while self._interrupts:
            self._interrupts -= 1
            self._step(outcome.Interrupted())
        crew.pass_time()
        now_s = time.monotonic()
        for late in self._stuck.passed(crew.call, now_s):
            crew.end_worker(late.worker, outcome.call_hangs(late.component, now_s - late.since_s))
        if now_s - self._told_at_s > PROGRESS_WITHIN_S:  # the first worker does not report: it hangs, or is replaced
            self._progress()
        self._step(outcome.Tick())

    def _step(self, event: outcome.Event) -> None:
        self._run, do = outcome.step(self._run, event, time.monotonic())
        if do is Do.STOP:
            self._tell({"event": "draining"})
            self._crew.stop()
        elif do is Do.KILL:
            self._crew.kill()

    # -- end -----------------------------------------------------------------------------------------------------

    def _end(self, crew: Crew, log_file: Path) -> int:
        """Says how it ended; the exit code."""
        self._sources.storing.finish()
        if not self._run.said_its_last_word:
            self._run, _ = outcome.step(self._run, outcome.Gone(self._cause), time.monotonic())
        if failure := self._run.failure:
            self._tell({"event": "failed", "code": failure.code, "text": str(failure), "log": str(log_file)})
        if self._run.exit_code == outcome.EXIT_OK and self._exhausted:
            self._sources.forget()
        figures = outcome.summary(totals.merged(crew.totals), time.monotonic() - self._began_s)
        self._tell({"event": "summary", "topology": self._graph.name, **figures})
        return self._run.exit_code

    @contextmanager
    def _signals(self) -> Generator[None]:
        def interrupt(_signal: int, _frame: object) -> None:
            self._interrupts += 1

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before: dict[int, Any] = {number: signal.signal(number, interrupt) for number in numbers}
        # Who ignores the end of children never gets to know how they ended; that is inherited.
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
