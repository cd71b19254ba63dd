"""The workers of a run: started, heard, replaced, ended. What to do when is decided in `squall.cluster`."""

from __future__ import annotations

import secrets
import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from squall.cluster import incarnations, levels, settling, totals, worker_life
from squall.cluster.causes import Cause, cause_of, not_started, told
from squall.cluster.incarnations import Incarnations
from squall.cluster.settling import Settling
from squall.cluster.totals import Totals
from squall.cluster.worker_life import WorkerLife
from squall.engines.embedded import sockets
from squall.engines.embedded.questions import Questions
from squall.engines.embedded.suspicion import Suspicion
from squall.engines.embedded.tail import Tail
from squall.engines.embedded.worker_process import Wanted, WorkerProcess
from squall.errors import ClusterError, Defect
from squall.model.graph import Mode, Plan
from squall.runtime import stats

Event = dict[str, Any]
INCARNATION_SHIFT = 48
"""Where a root says which life opened it."""


class News(Protocol):
    """Who leads the run hears this."""

    def said(self, worker: int, event: Event) -> None:
        """A worker said something that is not the crew's business."""
        ...

    def changed(self, worker: int, pid: int, state: str, cause: Defect | None) -> None:
        """A worker is started, ready or lost."""
        ...

    def answered(self, answer: Event) -> None:
        """All workers have answered a command."""
        ...

    def began(self, stage: settling.Stage) -> None:
        """A stage of the run has begun."""
        ...

    def gave_up(self, why: Defect) -> None:
        """A worker cannot be had, or cannot go on: the run has failed."""
        ...


class Inputs(Protocol):
    """What a new life of a worker is given, as it is then."""

    def listeners(self) -> Mapping[str, socket.socket]:
        """The listening sockets of the spouts that have one."""
        ...

    def standard_input(self) -> socket.socket | None:
        """Where it is passed on, if a spout reads it."""
        ...

    def positions(self) -> Sequence[Mapping[str, Any]]:
        """Where the spouts had got to, as JSON."""
        ...


@dataclass
class Seat:
    """One worker over its lives.

    `process` None: there is none. `said`: why it will end, in its own words. `raised`: the component whose exception
    ends it.
    """

    number: int
    life: WorkerLife
    listener: socket.socket | None
    tail: Tail
    process: WorkerProcess | None = None
    lines: sockets.LineBuffer = field(default_factory=sockets.LineBuffer)
    incarnation: int = 0
    said: Cause | None = None
    raised: str | None = None
    was_ready: bool = False
    suspicion: Suspicion = field(default_factory=Suspicion)


class Crew:
    """The workers of one run.

    Args:
        wanted: what all workers are to run.
        selector: has this object called when a worker says something, or ends.
        inputs: what a new life is to have.
    """

    def __init__(
        self,
        wanted: Wanted,
        plan: Plan,
        selector: selectors.BaseSelector,
        news: News,
        inputs: Inputs,
    ) -> None:
        self._wanted, self._plan, self._selector, self._news = wanted, plan, selector, news
        self._inputs = inputs
        settings = plan.graph.settings
        limits = worker_life.Limits(
            settings["topology.worker.start.deaths.max"], settings["topology.worker.deaths.max"]
        )
        self._numbers = sorted({task.worker for task in plan.tasks})
        self._secret = secrets.token_bytes(32)
        self._incarnations = Incarnations()
        self._sessions = 0
        self._mended: dict[tuple[int, int], int] = {}
        self._ended: dict[str, int] = {}
        self._components = [*(spout.name for spout in plan.graph.spouts), *plan.graph.order]
        specs = plan.graph.components
        self.totals = Totals(
            {name: stats.empty(specs[name].kind.value, specs[name].tasks) for name in self._components}
        )
        self._settling: Settling | None = None
        self._drains: set[str] = set()
        self._stopping = self._is_begun = False
        self._levels = levels.Levels()
        self._questions = Questions(news.answered, lambda: totals.merged(self.totals), self.tell)
        self.seats: dict[int, Seat] = {}
        for number in self._numbers:
            life, _ = worker_life.begun(number, limits)
            listener = sockets.listen(self._socket_of(number)) if len(self._numbers) > 1 else None
            self.seats[number] = Seat(number, life, listener, Tail(wanted.log_of(number)))

    # -- what it is told ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts the workers."""
        self._settling = settling.settling(self._numbers, ())
        for seat in self.seats.values():
            self._start(seat)
        self._is_begun = True

    def stop(self) -> None:
        """Has the sources stopped and the run drained."""
        self._settle(settling.Stop())

    def kill(self) -> None:
        """Ends all workers; none is replaced."""
        self._stopping = True
        for seat in self._living():
            seat.process.kill()

    def end_worker(self, number: int, why: Defect) -> None:
        """Ends a worker whose call hangs; another life follows."""
        seat = self.seats[number]
        if seat.process is not None:
            seat.said = told(why)
            seat.process.kill()

    def tell(self, command: Event) -> None:
        """Gives all workers a command that needs no answer."""
        if command.get("cmd") == "untap":
            self._questions.untap(command["tap"])
        for seat in self._living():
            seat.process.tell(command)

    def tell_worker(self, number: int, command: Event) -> None:
        """Gives one worker a command that needs no answer."""
        if (process := self.seats[number].process) is not None:
            process.tell(command)

    def ask(self, request: Event) -> None:
        """Gives all workers a command with an `id`; `News.answered` gets what they say, as one answer."""
        asked = [seat for seat in self._living() if seat.was_ready] or self._living()
        self._questions.ask(request, (seat.incarnation for seat in asked))
        changed = levels.told(self._levels, request, time.monotonic()) if asked else self._levels
        # Who only starts has been told of the levels before, and takes part.
        for seat in asked if changed == self._levels else self._living():
            seat.process.tell(request, may_be_lost=True)
        self._levels = changed

    # -- what it looks at --------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether there is no worker, and will be none."""
        over = (worker_life.Phase.ENDED, worker_life.Phase.GIVEN_UP)
        gone = (seat.process is None and (self._stopping or seat.life.phase in over) for seat in self.seats.values())
        return all(gone)

    @property
    def is_whole(self) -> bool:
        """Whether every worker was ready once."""
        return all(seat.was_ready for seat in self.seats.values())

    @property
    def said_last_words(self) -> bool:
        """Whether each worker has reported its final figures."""
        return all(seat.life.phase is worker_life.Phase.ENDED for seat in self.seats.values())

    @property
    def is_closing(self) -> bool:
        """Whether everything has ended but the closing of components."""
        return self._settling is not None and self._settling.is_over

    def first(self) -> int | None:
        """The number of the first worker that there is."""
        return next((seat.number for seat in self._living()), None)

    def figures(self) -> list[Event]:
        """What the operating system knows of each worker."""
        return [seat.process.figures() for seat in self._living()]

    def pids(self) -> list[Event]:
        """The workers with their process ids."""
        return [{"id": seat.number, "pid": seat.process.pid} for seat in self._living()]

    def ran(self) -> list[str]:
        """The components whose code runs now."""
        return sorted({name for seat in self._living() for name in self._ran(seat.process)})

    def calls(self, number: int) -> int:
        """How many calls of user code the worker's loop has begun; -1 while there is none."""
        process = self.seats[number].process
        return -1 if process is None else process.calls()

    def log_lines(self) -> list[str]:
        """What the workers' logs have got since the last call."""
        return [line for seat in self.seats.values() for line in seat.tail.lines()]

    def pass_time(self) -> None:
        """Looks at the clock; called a few times a second."""
        now_s = time.monotonic()
        for seat in self.seats.values():
            if seat.process is not None:
                seat.process.flush()
            if not self._stopping:
                self._step(seat, worker_life.Tick(), now_s)

    def next_at_s(self) -> float:
        """When the clock has to be looked at next, on the monotonic clock."""
        return min(seat.life.start_at_s for seat in self.seats.values())

    def close(self) -> list[str]:
        """Lets go of everything; what the logs got last."""
        lines = [line for seat in self.seats.values() for line in seat.tail.rest()]
        for seat in self.seats.values():
            seat.tail.close()
            if seat.listener is not None:
                seat.listener.close()
        return lines

    # -- the life of a worker ----------------------------------------------------------------------------------------

    def _living(self) -> list[_Living]:
        return [seat for seat in self.seats.values() if _is_living(seat)]

    def _step_all(self, event: worker_life.Event) -> None:
        for seat in self.seats.values():
            self._step(seat, event, time.monotonic())

    def _step(self, seat: Seat, event: worker_life.Event, now_s: float) -> None:
        seat.life, actions = worker_life.step(seat.life, event, now_s)
        for action in actions:
            match action:
                case worker_life.Start():
                    self._start(seat)
                case worker_life.TellPeersLost():
                    pass  # told with what is suspected, where the life is buried
                case worker_life.TellPeersReady(incarnation):
                    self._introduce(seat, incarnation)
                case worker_life.GiveUp(defect):
                    self._news.gave_up(defect)

    def _start(self, seat: Seat) -> None:
        self._incarnations, incarnation = incarnations.given(self._incarnations)
        assert incarnation is not None  # 65,534 lives that someone remembers: there are not so many workers
        names = {task.component for task in self._plan.tasks_in(seat.number)}
        try:
            process = seat.process = self._process(seat, incarnation, names)
        except (OSError, ClusterError) as error:
            if not self._is_begun:
                raise
            self._incarnations = incarnations.lost(self._incarnations, incarnation)
            return self._step(seat, worker_life.Died(told(not_started(self._who(seat), error))), time.monotonic())
        seat.incarnation, seat.said, seat.raised, seat.lines = incarnation, None, None, sockets.LineBuffer()
        self.totals = totals.begun(self.totals, incarnation, names)
        self._step(seat, worker_life.Started(incarnation), time.monotonic())
        self._selector.register(process.session, selectors.EVENT_READ, lambda: self._hear(seat, process))
        self._selector.register(process.pidfd, selectors.EVENT_READ, lambda: self._bury(seat, process))
        self._news.changed(seat.number, process.pid, "started", None)

    def _process(self, seat: Seat, incarnation: int, names: set[str]) -> WorkerProcess:
        """The process of a new life, which runs tasks of these components."""
        places = {(task.component, task.index) for task in self._plan.tasks_in(seat.number)}
        reads_stdin = any(self._plan.graph.components[name].reads_stdin for name, index in places if index == 0)
        return WorkerProcess(
            self._wanted,
            number=seat.number,
            workers=len(self._numbers),
            incarnation=incarnation,
            secret=self._secret,
            link=seat.listener,
            listeners={name: one for name, one in self._inputs.listeners().items() if name in names},
            stdin=self._inputs.standard_input() if reads_stdin else None,
            positions=[one for one in self._inputs.positions() if (one["component"], one["task"]) in places],
            ended=self._ended,
            suspects=seat.suspicion.to_come(),
            levels=levels.in_force(self._levels, time.monotonic()),
        )

    def _introduce(self, seat: Seat, incarnation: int) -> None:
        """A worker is ready: it and all others that are get to know each other."""
        for tap in self._questions.missed(incarnation):
            self.tell_worker(seat.number, tap)
        for other in self._living():
            if other is not seat and other.life.phase is worker_life.Phase.READY:
                self._introduce_two(seat, other)
        self._settle(settling.Joined(seat.number, incarnation))

    def _introduce_two(self, one: Seat, other: Seat) -> None:
        """Both get to know each other, in a session of their link that is new."""
        self._sessions += 1
        for seat, peer in ((one, other), (other, one)):
            told = {"worker": peer.number, "incarnation": peer.incarnation, "session": self._sessions}
            self.tell_worker(seat.number, {"cmd": "peer", **told, "path": self._socket_name(peer.number)})

    def _socket_name(self, number: int) -> str:
        return f"worker-{number}.sock"

    def _socket_of(self, number: int) -> Path:
        return self._wanted.run_dir / self._socket_name(number)

    def _hear(self, seat: Seat, process: WorkerProcess) -> None:
        if not self._heard_some(seat, process):
            self._selector.unregister(process.session)

    def _heard_some(self, seat: Seat, process: WorkerProcess) -> bool:
        """Takes what the worker said; whether it may say more."""
        try:
            data = process.session.recv(1 << 16, socket.MSG_DONTWAIT)
        except OSError:
            return False
        for event in seat.lines.feed(data):
            self._heard(seat, event)
        return bool(data)

    def _heard(self, seat: Seat, event: Event) -> None:
        now_s = time.monotonic()
        match event.get("event"):
            case "ready":
                self._drains |= set(event["drains"])
                self._order_drains()
                seat.was_ready = True
                self._step(seat, worker_life.Ready(), now_s)
                self._news.changed(seat.number, self._pid(seat), "ready", None)
            case "quiet":
                self._settle(settling.Quiet(seat.incarnation, event["stage"]))
            case "wave":
                self._settle(_answer(seat.incarnation, event))
            case "link-lost":
                self._mend_link(seat, event)
            case "progress":
                self.totals = totals.reported(self.totals, seat.incarnation, event)
                self._news.said(seat.number, event)
            case "failed":
                self._step(seat, worker_life.Ended(), now_s)
                self._news.gave_up(Defect(**event["defect"]))
            case "ended":
                self.totals = totals.reported(self.totals, seat.incarnation, event)
                self._news.said(seat.number, event)
            case None if "id" in event:
                self._questions.answer(seat.number, seat.incarnation, event)
            case _:
                self._news.said(seat.number, event)

    def _mend_link(self, seat: Seat, event: Event) -> None:
        """Two living workers have no stream between them that goes on: what was on its way is sent again, anew."""
        other = next((one for one in self._living() if one.incarnation == event["incarnation"]), None)
        if other is None or event["session"] <= self._mended.get((seat.number, other.number), 0):
            return
        for one, peer in ((seat, other), (other, seat)):
            self._mended[one.number, peer.number] = self._sessions
            self._tell_lost(one, peer.number, peer.incarnation, [])
        self._introduce_two(seat, other)

    def _tell_lost(self, seat: Seat, number: int, incarnation: int, suspects: Sequence[int]) -> None:
        lost = {"worker": number, "incarnation": incarnation, "suspects": suspects}
        self.tell_worker(seat.number, {"cmd": "peer-lost", **lost})

    def ended(self, number: int) -> None:
        """The worker said its last word, and its exit is no death."""
        self._step(self.seats[number], worker_life.Ended(), time.monotonic())

    def will_end(self, number: int, why: Defect, component: str) -> None:
        """The worker said why it is about to end, by whose exception; another life follows."""
        self.seats[number].said, self.seats[number].raised = told(why), component

    def _pid(self, seat: Seat) -> int:
        return 0 if seat.process is None else seat.process.pid

    def _bury(self, seat: Seat, process: WorkerProcess) -> None:
        """The worker's process has ended: killed with all that it started, reaped, heard to its last word, told of."""
        status = process.reap()
        while self._heard_some(seat, process):
            pass
        for fd in (process.session, process.pidfd):
            if fd in self._selector.get_map():
                self._selector.unregister(fd)
        cause = seat.said or cause_of(status, self._ran(process), process.out_of_memory(), self._who(seat))
        prefixes = process.prefixes(len(self._spouts_of(seat.number)))
        counted, suspects = process.totals(), self._suspects(seat, process)
        pid = process.pid
        process.close()
        seat.process = None
        self._incarnations = incarnations.lost(self._incarnations, seat.incarnation)
        self._questions.lost(seat.incarnation)
        if seat.life.phase is worker_life.Phase.ENDED:
            return
        self.totals = totals.lost(self.totals, seat.incarnation, counted)
        self._count_ended(seat.number, prefixes)
        self._remember(seat, suspects)
        for other in self._living():
            self._tell_lost(other, seat.number, seat.incarnation, [root for root, _, _ in suspects])
        self._news.changed(seat.number, pid, "lost", cause.defect)
        self._settle(settling.Lost(seat.number, seat.incarnation))
        if not self._stopping:
            self._step(seat, worker_life.Died(cause), time.monotonic())

    def _who(self, seat: Seat) -> str:
        return "the worker" if len(self._numbers) == 1 else f"worker {seat.number}"

    def _ran(self, process: WorkerProcess) -> list[str]:
        return [self._components[number - 1] for number in process.ran()]

    def _count_ended(self, number: int, prefixes: Sequence[int]) -> None:
        """What its generators' outputs have ended is not to be made again (semantics 31)."""
        for key, prefix in zip(self._spouts_of(number), prefixes, strict=True):
            self._ended[key] = self._ended.get(key, 0) + prefix

    def _spouts_of(self, number: int) -> list[str]:
        """The tasks of spouts that a worker has, in its core's order."""
        spouts = (task for spout in self._plan.graph.spouts for task in self._plan.tasks_of(spout.name))
        return [f"{task.component}/{task.index}" for task in spouts if task.worker == number]

    def _suspects(self, seat: Seat, process: WorkerProcess) -> list[tuple[int, int, int]]:
        """On which tuples the process died: those that a bolt worked on; what a spout ran on is nobody's tuple."""
        number = process.on_loop()
        name = seat.raised or (self._components[number - 1] if number else None)
        is_bolt = name in self._plan.graph.order and self._plan.graph.components[name].mode is Mode.LOOP
        return process.suspects() if is_bolt else []

    def _remember(self, seat: Seat, suspects: Sequence[tuple[int, int, int]]) -> None:
        """Notes on which of its own outputs a life has died: they come again, as other roots."""
        keys = self._spouts_of(seat.number)
        for root, spout, place in suspects:
            if root >> INCARNATION_SHIFT == seat.incarnation and spout < len(keys):
                seat.suspicion.died_on(keys[spout], place)
        seat.suspicion.next_life(self._ended)

    def positioned(self, number: int, component: str, index: int, ended: int) -> None:
        """A position of a spout's task is stored at which so many outputs of this life had ended."""
        self.seats[number].suspicion.positioned(f"{component}/{index}", ended)

    # -- stages ------------------------------------------------------------------------------------------------------

    def _order_drains(self) -> None:
        order = tuple(name for name in self._plan.graph.order if name in self._drains)
        assert self._settling is not None
        self._settling = settling.with_order(self._settling, order)

    def _settle(self, event: settling.Event) -> None:
        assert self._settling is not None
        self._settling, actions = settling.step(self._settling, event)
        for action in actions:
            match action:
                case settling.Ask(wave, asked):
                    self._tell_incarnations(asked, {"cmd": "wave", "wave": wave})
                case settling.Begin(stage, begun):
                    told_of = {"number": stage.number, "kind": stage.kind.value, "component": stage.component}
                    self._tell_incarnations(begun, {"cmd": "stage", "stage": told_of})
                    if stage.kind is settling.Kind.CLOSE:
                        self._step_all(worker_life.Closing())
                    self._news.began(stage)

    def _tell_incarnations(self, incarnations: frozenset[int], command: Event) -> None:
        for seat in self._living():
            if seat.incarnation in incarnations:
                seat.process.tell(command)


class _Living(Seat):
    """A seat with a process."""

    process: WorkerProcess  # pyright: ignore[reportIncompatibleVariableOverride]


def _is_living(seat: Seat) -> TypeGuard[_Living]:
    return seat.process is not None


def _answer(incarnation: int, event: Event) -> settling.Answer:
    """What a worker says in a wave."""

    def counts(key: str) -> dict[int, int]:
        return {int(number): count for number, count in event[key].items()}

    return settling.Answer(
        incarnation,
        event["wave"],
        event["is_quiet"],
        event["exhausted"],
        counts("sent"),
        counts("received"),
        waits=event["waits"],
        holds=event["holds"],
    )
