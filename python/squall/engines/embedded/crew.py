"""The workers of a run: started, heard, replaced, ended. What to do when is decided in `squall.cluster`."""

from __future__ import annotations

import secrets
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from squall.cluster import acquaintance, incarnations, levels, settling, totals, worker_life
from squall.cluster.acquaintance import Acquaintance, Meet, Part, Word
from squall.cluster.causes import not_started, told
from squall.cluster.incarnations import Incarnations
from squall.cluster.legacy import Key, Legacy
from squall.cluster.settling import Settling
from squall.cluster.totals import Totals
from squall.engines.embedded.process import Process
from squall.engines.embedded.questions import Questions
from squall.engines.embedded.seat import Event, Origin, Remains, Seat
from squall.engines.embedded.tail import Tail
from squall.engines.embedded.worker_process import Wanted, WorkerProcess, link_name
from squall.errors import ClusterError, Defect
from squall.model.graph import Plan
from squall.runtime import stats


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


class Crew:
    """The workers of one run.

    Args:
        wanted: what all workers are to run.
        selector: has this object called when a worker says something, or ends.
        inputs: what a new life is to have.
        start: starts a life; see `WorkerProcess`.
        clock: the monotonic one, in seconds.
    """

    def __init__(
        self,
        wanted: Wanted,
        plan: Plan,
        selector: selectors.BaseSelector,
        news: News,
        inputs: Inputs,
        start: Callable[..., Process] = WorkerProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted, self._plan, self._news, self._inputs = wanted, plan, news, inputs
        self._start_process, self._clock = start, clock
        self._secret = secrets.token_bytes(32)
        self._incarnations, self._acquaintance, self._legacy = Incarnations(), Acquaintance(), Legacy()
        components, specs = [*(spout.name for spout in plan.graph.spouts), *plan.graph.order], plan.graph.components
        self.totals = Totals({name: stats.empty(specs[name].kind.value, specs[name].tasks) for name in components})
        numbers = sorted({task.worker for task in plan.tasks})
        self._settling: Settling = settling.settling(numbers, ())
        self._drains: set[str] = set()
        self._stopping = self._is_begun = False
        self._levels = levels.Levels()
        self._questions = Questions(news.answered, self.tell)
        settings = plan.graph.settings
        limits = worker_life.Limits(
            settings["topology.worker.start.deaths.max"], settings["topology.worker.deaths.max"]
        )
        self._seats = {
            number: Seat(
                number,
                "the worker" if len(numbers) == 1 else f"worker {number}",
                worker_life.begun(number, limits)[0],
                Tail(wanted.log_of(number)),
                wanted.listener_of(number) if len(numbers) > 1 else None,
                components,
                selector,
                self._heard,
                self._bury,
            )
            for number in numbers
        }

    # -- what it is told ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts the workers."""
        for seat in self._seats.values():
            self._start(seat)
        self._is_begun = True

    def stop(self) -> None:
        """Has the sources stopped and the run drained."""
        self._settle(settling.Stop())

    def kill(self) -> None:
        """Ends all workers; none is replaced."""
        self._stopping = True
        for seat in self._seats.values():
            seat.kill()

    def end_worker(self, number: int, why: Defect) -> None:
        """Ends a worker whose call hangs; another life follows."""
        self._seats[number].kill(why)

    def ended(self, number: int) -> None:
        """The worker said its last word, and its exit is no death."""
        self._step(self._seats[number], worker_life.Ended())

    def will_end(self, number: int, why: Defect, component: str) -> None:
        """The worker said why it is about to end, by whose exception; another life follows."""
        self._seats[number].will_end(why, component)

    def positioned(self, component: str, index: int, ended: int) -> None:
        """A position of a spout's task is stored at which so many outputs of this life had ended."""
        self._legacy.positioned(_key(component, index), ended)

    def tell(self, command: Event) -> None:
        """Gives all workers a command that needs no answer."""
        if command.get("cmd") == "untap":
            self._questions.untap(command["tap"])
        for seat in self._seats.values():
            seat.tell(command)

    def tell_worker(self, number: int, command: Event) -> None:
        """Gives one worker a command that needs no answer."""
        self._seats[number].tell(command)

    def ask(self, request: Event) -> None:
        """Gives all workers a command with an `id`; `News.answered` gets what they say, as one answer."""
        asked = [seat for seat in self._living() if seat.was_ready] or self._living()
        self._questions.ask(request, (seat.incarnation for seat in asked))
        changed = levels.told(self._levels, request, self._clock()) if asked else self._levels
        # Who only starts has been told of the levels before, and takes part.
        for seat in asked if changed == self._levels else self._living():
            seat.tell(request, may_be_lost=True)
        self._levels = changed

    # -- what it looks at --------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether there is no worker, and will be none."""
        over = (worker_life.Phase.ENDED, worker_life.Phase.GIVEN_UP)
        seats = self._seats.values()
        return all(not seat.is_living and (self._stopping or seat.life.phase in over) for seat in seats)

    @property
    def is_whole(self) -> bool:
        """Whether every worker was ready once."""
        return all(seat.was_ready for seat in self._seats.values())

    @property
    def said_last_words(self) -> bool:
        """Whether each worker has reported its final figures."""
        return all(seat.life.phase is worker_life.Phase.ENDED for seat in self._seats.values())

    @property
    def is_closing(self) -> bool:
        """Whether everything has ended but the closing of components."""
        return self._settling.is_over

    def was_ready(self, number: int) -> bool:
        """Whether a life of the worker has been ready."""
        return self._seats[number].was_ready

    def incarnation(self, number: int) -> int:
        """Which life of the worker it is; 0: there is none now."""
        seat = self._seats[number]
        return seat.incarnation if seat.is_living else 0

    def first(self) -> int | None:
        """The number of the first worker that there is."""
        return next((seat.number for seat in self._living()), None)

    def figures(self) -> list[Event]:
        """What the operating system knows of each worker, and how old its last report is."""
        return [seat.figures() for seat in self._living()]

    def pids(self) -> list[Event]:
        """The workers with their process ids."""
        return [{"id": seat.number, "pid": seat.pid} for seat in self._living()]

    def ran(self) -> list[str]:
        """The components whose code runs now."""
        return sorted({name for seat in self._seats.values() for name in seat.ran()})

    def call(self, number: int) -> int:
        """The number of the call of user code that the worker's loop runs; 0: none."""
        return self._seats[number].call()

    def log_lines(self) -> list[str]:
        """What the workers' logs have got since the last call."""
        return [line for seat in self._seats.values() for line in seat.tail.lines()]

    def pass_time(self) -> None:
        """Looks at the clock; called a few times a second."""
        for seat in self._seats.values():
            seat.flush()
            if not self._stopping:
                self._step(seat, worker_life.Tick())

    def next_at_s(self) -> float:
        """When the clock has to be looked at next, on the monotonic clock."""
        return min(seat.life.start_at_s for seat in self._seats.values())

    def close(self) -> list[str]:
        """Lets go of everything; what the logs got last."""
        return [line for seat in self._seats.values() for line in seat.close()]

    # -- the life of a worker ----------------------------------------------------------------------------------------

    def _living(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if seat.is_living]

    def _step(self, seat: Seat, event: worker_life.Event) -> None:
        seat.life, actions = worker_life.step(seat.life, event, self._clock())
        for action in actions:
            match action:
                case worker_life.Start():
                    self._start(seat)
                case worker_life.GiveUp(defect):
                    self._news.gave_up(defect)

    def _start(self, seat: Seat) -> None:
        self._incarnations, incarnation = incarnations.given(self._incarnations)
        names = {task.component for task in self._plan.tasks_in(seat.number)}
        try:
            if incarnation is None:  # 65,534 lives that others remember, which are stopped: until they go on
                raise OSError("the others remember too many lives that were lost")
            process = self._process(seat, incarnation, names)
        except (OSError, ClusterError) as error:
            if not self._is_begun:
                raise
            if incarnation is not None:
                self._incarnations = incarnations.lost(self._incarnations, incarnation, ())
            return self._step(seat, worker_life.Died(told(not_started(seat.who, error))))
        seat.begin(process, incarnation)
        self.totals = totals.begun(self.totals, incarnation, names)
        self._step(seat, worker_life.Started())
        self._news.changed(seat.number, seat.pid, "started", None)

    def _process(self, seat: Seat, incarnation: int, names: set[str]) -> Process:
        """The process of a new life, which runs tasks of these components."""
        places = {(task.component, task.index) for task in self._plan.tasks_in(seat.number)}
        reads_stdin = any(self._plan.graph.components[name].reads_stdin for name, index in places if index == 0)
        spouts = self._spouts_of(seat.number)
        return self._start_process(
            self._wanted,
            number=seat.number,
            workers=len(self._seats),
            incarnation=incarnation,
            secret=self._secret,
            link=seat.listener,
            listeners={name: one for name, one in self._inputs.listeners().items() if name in names},
            stdin=self._inputs.standard_input() if reads_stdin else None,
            positions=[one for one in self._inputs.positions() if (one["component"], one["task"]) in places],
            ended=self._legacy.ended(spouts),
            suspects=self._legacy.suspects(spouts),
            levels=levels.in_force(self._levels, self._clock()),
        )

    def _heard(self, seat: Seat, event: Event) -> None:
        match event.get("event"):
            case "ready":
                self._ready(seat, event["drains"])
            case "quiet":
                self._settle(settling.Quiet(seat.incarnation, event["stage"]))
            case "wave":
                self._settle(settling.Answer.of_json(seat.incarnation, event))
            case "link-lost":
                lost = (seat.number, event["incarnation"], event["session"])
                self._acquaintance, words = acquaintance.link_lost(self._acquaintance, *lost)
                self._say(words)
                if words:
                    self._settle(settling.LinkLost())
            case "output-closed":
                self._settle(settling.OutputClosed())
            case "progress" | "ended":
                seat.reported()
                self._incarnations = incarnations.forgotten(self._incarnations, seat.incarnation, event["let_go"])
                self.totals = totals.reported(self.totals, seat.incarnation, event)
                self._news.said(seat.number, event)
            case "failed" if seat.was_ready:  # it could begin before, so it is what it needs that is gone for now
                seat.will_end(Defect(**event["defect"]), None)
            case "failed":
                self._step(seat, worker_life.Ended())
                self._news.gave_up(Defect(**event["defect"]))
            case None if "id" in event:
                self._questions.answer(seat.number, seat.incarnation, event)
            case _:
                self._news.said(seat.number, event)

    def _ready(self, seat: Seat, drains: Iterable[str]) -> None:
        """All components of a life are open: it and all others that are ready get to know each other."""
        self._drains |= set(drains)
        order = tuple(name for name in self._plan.graph.order if name in self._drains)
        self._settling = settling.with_order(self._settling, order)
        seat.was_ready = True
        self._step(seat, worker_life.Ready())
        for tap in self._questions.missed(seat.incarnation):
            seat.tell(tap)
        self._acquaintance, words = acquaintance.ready(self._acquaintance, seat.number, seat.incarnation)
        self._say(words)
        self._settle(settling.Joined(seat.number, seat.incarnation))
        self._news.changed(seat.number, seat.pid, "ready", None)

    def _bury(self, seat: Seat) -> None:
        """The process of a life has ended: what is left of it is taken, and it is told of."""
        keys = self._spouts_of(seat.number)
        remains = seat.bury(len(keys))
        self._questions.lost(remains.incarnation)
        self._acquaintance, words = acquaintance.lost(self._acquaintance, seat.number, remains.incarnation)
        peers = (self._seats[word.to].incarnation for word in words)
        self._incarnations = incarnations.lost(self._incarnations, remains.incarnation, peers)
        if seat.life.phase is worker_life.Phase.ENDED:
            return
        self.totals = totals.lost(self.totals, remains.incarnation, remains.counted)
        suspects = self._suspects(remains)
        died_on = [*self._origins(seat, suspects), *self._known(seat, remains.reading)]
        self._legacy.life_ended(dict(zip(keys, remains.prefixes, strict=True)), died_on)
        self._say(words, remains.component, list(suspects))
        self._news.changed(seat.number, remains.pid, "lost", remains.cause.defect)
        self._settle(settling.Lost(seat.number, remains.incarnation))
        if not self._stopping:
            self._step(seat, worker_life.Died(remains.cause))

    def _suspects(self, remains: Remains) -> dict[int, Origin | None]:
        """The roots against which a death is held: what a spout ran on is nobody's tuple.

        Of an exception that ended the worker is known whose it was; else every call away from the loop may be to blame.
        """
        is_bolt = remains.component in self._plan.graph.order
        return {
            root: origin
            for is_away, root, origin in remains.suspects
            if (not remains.has_raised if is_away else is_bolt)
        }

    def _origins(self, seat: Seat, suspects: Mapping[int, Origin | None]) -> Iterator[tuple[Key, int]]:
        """With which outputs of whose spouts these began: if that worker dies too they come as other roots."""
        for root, origin in suspects.items():
            if origin is not None:
                yield from self._known(seat, origin)
            else:
                for other in self._living():
                    yield from self._known(other, other.origin(root))

    def _known(self, seat: Seat, origin: Origin | None) -> Iterator[tuple[Key, int]]:
        keys = self._spouts_of(seat.number)
        if origin is not None and origin[0] < len(keys):
            yield keys[origin[0]], origin[1]

    def _spouts_of(self, number: int) -> list[Key]:
        """The tasks of spouts that a worker has, in its core's order."""
        spouts = (task for spout in self._plan.graph.spouts for task in self._plan.tasks_of(spout.name))
        return [_key(task.component, task.index) for task in spouts if task.worker == number]

    def _say(self, words: Iterable[Word], ran: str | None = None, suspects: Sequence[int] = ()) -> None:
        """Tells workers of each other. Of one that is lost: the component that `ran`, and the roots on whose tuples."""
        for word in words:
            told_of = {"worker": word.worker, "incarnation": word.incarnation}
            match word:
                case Meet(to, session=session):
                    path = link_name(word.worker)
                    self.tell_worker(to, {"cmd": "peer", **told_of, "session": session, "path": path})
                case Part(to):
                    self.tell_worker(to, {"cmd": "peer-lost", **told_of, "ran": ran, "suspects": suspects})

    # -- stages ------------------------------------------------------------------------------------------------------

    def _settle(self, event: settling.Event) -> None:
        self._settling, actions = settling.step(self._settling, event)
        for action in actions:
            match action:
                case settling.Ask(wave, asked):
                    self._tell_incarnations(asked, {"cmd": "wave", "wave": wave})
                case settling.Begin(stage, begun):
                    self._tell_incarnations(begun, {"cmd": "stage", "stage": stage.json()})
                    if self.is_closing:
                        for seat in self._seats.values():
                            self._step(seat, worker_life.Closing())
                    self._news.began(stage)

    def _tell_incarnations(self, incarnations: frozenset[int], command: Event) -> None:
        for seat in self._living():
            if seat.incarnation in incarnations:
                seat.tell(command)


def _key(component: str, index: int) -> Key:
    return f"{component}/{index}"
