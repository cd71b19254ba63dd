"""One life of a simulated worker: built, opened, run by turns, told and asked by its parent, ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from squall import Spout, Tuple, _core
from squall.model.graph import DEAD_LETTERS, ComponentSpec, Kind, Plan, TaskSpec
from squall.runtime import life as tasks_life
from squall.runtime import stages
from squall.runtime.build import Task, build, core_settings
from squall.runtime.context import WorkerServices
from squall.runtime.dead_stream import DeadLetterSpout
from squall.runtime.failures import summary
from squall.runtime.hooks import Hooks
from squall.runtime.partings import Partings
from squall.runtime.positions import Positions, StoredPosition, seek
from squall.runtime.running import Running
from squall.runtime.stages import Stage, Stages
from squall.runtime.tracing import open_trace
from squall.testing.letters import MemoryLetters
from squall.testing.seen import BEGAN_AT, Seen
from squall.testing.simulation.fed import Feeds, ReplayedSpout
from squall.testing.simulation.turns import Turns
from squall.testing.stamps import Stamps
from squall.testing.virtual import VirtualLoop, VirtualOffloaders

DRAIN_S = 600.0
"""Simulated time that a drain may take."""
TURNS = (1, 1, 2, 3, 5, 8, 16, 64)
"""How many inputs of bolts, and roots of spouts, a turn has about; by the seed."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the parent gives a new life; see `WorkerProcess`."""

    number: int
    workers: int
    incarnation: int
    positions: Sequence[Mapping[str, Any]]
    ended: Mapping[str, int]
    suspects: Mapping[str, Mapping[int, int]]
    was_ready: bool
    """Whether an earlier life of the worker was."""


@dataclass(frozen=True, slots=True)
class World:
    """What all lives have in common."""

    plan: Plan
    seed: int
    folder: Path
    seen: Seen
    feeds: Feeds
    positions: Mapping[str, Sequence[bytes]]


class Life:
    """A life of a worker.

    Args:
        say: tells the parent something.
        page: of what it writes there it has a descriptor of its own; the page outlives it.
    """

    def __init__(self, world: World, given: Given, turns: Turns, say: Callable[..., None], page: int) -> None:
        self.number, self.incarnation, self.is_alive = given.number, given.incarnation, True
        self.turns = turns
        self.random = Random(f"{world.seed}/life/{given.incarnation}")
        self._world, self._given, self._say = world, given, say
        self._left = 0
        self._letters = MemoryLetters(letters=world.seen.letters)
        settings = world.plan.graph.settings
        self.hooks = Hooks(settings, self._now, turns.now_s, self._letters, self._observe)
        trace = open_trace(settings, world.folder.name, given.number, given.incarnation)
        self.worker = _core.Worker(
            incarnation=given.incarnation,
            seed=self.random.getrandbits(64),
            hooks=self.hooks,
            virtual=True,
            settings=core_settings(settings),
            page_fd=os.dup(page),
            trace=trace,
        )
        self._letters.worker = self.worker
        self.worker.advance_to(turns.now_s())
        if given.workers > 1:
            self.worker.open_links(given.number, given.workers)
        self._loop = VirtualLoop(self.worker.monotonic, self.worker.advance_to)
        self._offloaders = VirtualOffloaders(self._loop)
        self._stages = Stages(self.worker, self._rests)
        self._unsaid: Stage | None = None
        self._partings = Partings()
        self.is_open = False
        self.due_s = inf
        """When a timer of it is due, as it was after its last turn."""
        try:
            self._build()
        except BaseException:  # a constructor raised: nobody else knows of this life
            self.release()
            raise

    def _build(self) -> None:
        world, given = self._world, self._given
        services = WorkerServices(
            worker=self.worker,
            plan=world.plan,
            topology_id=f"{world.plan.graph.name}-1-0",
            number=given.number,
            work_dir=world.folder / "work",
            seed=self.random.getrandbits(64),
            began_at=BEGAN_AT,
            report_error=self.hooks.error,
            ended=given.ended,
        )
        self.built = build(services, offloader=self._offloaders, replace_spout=self._replace)
        self._offloaders.serve(self.built.tasks)
        self.hooks.built = self.built
        self.hooks.tell_link_lost = self._link_lost
        self._stamps = Stamps(Running(self.worker.current_component, self.built), self._now, given.number)
        self._drain = tasks_life.Drain(self.worker, self.built)
        stored = [StoredPosition.of_json(record) for record in given.positions]
        own = [task for task in self.built.tasks if not isinstance(task.instance, ReplayedSpout)]
        self._positions = Positions(replace(self.built, tasks=own), stored, self._tell_position, self.hooks.error)
        self._placed = {(one.component, one.task) for one in stored}
        for task in self.built.tasks:
            for place, deaths in given.suspects.get(f"{task.spec.name}/{task.task.index}", {}).items():
                self.worker.suspect(task.index, place, deaths)
            if task.spec.kind is Kind.BOLT:
                self.worker.intercept(task.index, self._interceptor(task))
                continue
            for number in range(len(task.spec.streams)):
                self.worker.tap(task.index, number, self._count)
        world.seen.watch(self.worker, self.built)

    def _replace(self, spec: ComponentSpec, task: TaskSpec) -> Spout | None:
        if spec.name == DEAD_LETTERS:
            self._letters.subscriber = DeadLetterSpout(spec.make(None))
            return self._letters.subscriber
        if (feed := self._world.feeds.of(spec.name, task.index)) is not None:
            return ReplayedSpout(feed, self._given.ended.get(f"{spec.name}/{task.index}", 0))
        return None

    def _interceptor(self, task: Task) -> Callable[[Tuple], None]:
        injections = self._world.seen.injections(task.spec.name)

        def before(tup: Tuple) -> None:
            self._count()
            injections.before(tup)

        return before

    def _count(self, *_row: object) -> None:
        """One more input of a bolt, or root of a spout: the turn ends behind it if it was the last one."""
        self._left -= 1
        if self._left <= 0:
            self.worker.request_stop()

    def _now(self) -> Any:
        return self._world.seen.at(self.turns.now_s())

    def _observe(self, event: str, task: int, message_id: Any, _attempt: int) -> None:
        self._world.seen.observe(event, self.built.tasks[task].spec.name, message_id)

    # -- turns ---------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Has it take a turn, as soon as it can."""
        self.turns.want(self.turns.now_s())

    def _look_at_timers(self) -> None:
        worker_s, loop_s = self.worker.next_due(), self._loop.next_due()
        self.due_s = min(inf if worker_s is None else worker_s, inf if loop_s is None else loop_s)

    @property
    def is_running(self) -> bool:
        """Whether code of its tasks runs now."""
        return self.worker.is_running() or self._loop.is_here()

    def turn(self) -> bool:
        """Takes a turn; whether there is more to do at once.

        Raises:
            life.OpenFailed: `open` of a component raised, and no life of the worker was ready before.
        """
        more = self._take_turn()
        self._look_at_timers()
        return more

    def _take_turn(self) -> bool:
        self.worker.advance_to(self.turns.now_s())
        self._left = self.random.choice(TURNS)
        with self._stamps:
            if not self.is_open:
                return self._open()
            while (stage := self._stages.next()) is not None:
                self._begin(stage)
            ended = self.worker.run(until_idle=True)
            more = self._loop.run_ready() or ended == "stopped"
        if ended == "died":
            self._died()
            return False
        self._stages.look()
        return more

    def _open(self) -> bool:
        try:
            tasks_life.open_all(self.worker, self.built, self._restore)
        except tasks_life.OpenFailed as failed:
            if not self._given.was_ready:  # it is wrong by itself
                raise
            self._not_opened(failed)
            return False
        self.is_open = True
        self.turns.follow(self.worker.monotonic())
        self._say("ready", drains=tasks_life.drains(self.built))
        self._positions.begin()
        return True

    def _not_opened(self, failed: tasks_life.OpenFailed) -> None:
        """What a component needs is gone for now, and another life follows; as in a worker's process."""
        index = next(task.index for task in self.built.tasks if task.task.task_id == failed.task)
        self.hooks.error(index, "open", failed.error)
        self._end_by(failed.component, "open", failed.error)

    def _restore(self, task: Task) -> None:
        self._positions.restore(task)
        name, index = task.spec.name, task.task.index
        initial = self._world.positions.get(name, ())
        if (name, index) not in self._placed and index < len(initial):
            seek(task, initial[index])

    def _begin(self, stage: Stage) -> None:
        """The parent has begun a stage; as in a worker's process."""
        now_s = self.worker.monotonic()
        if stage.kind == stages.RUN:
            self._stages.deadline = inf
            return self._drain.resume()
        if self._stages.deadline == inf:
            self._stages.deadline, self._stages.polls_until = now_s + DRAIN_S, now_s
        self._drain.stop_sources(self._stages.polls_until)
        if stage.component is not None:
            self._drain.component(stage.component)

    def _died(self) -> None:
        """Code of a component raised that its `on_error` lets end the worker."""
        death = self.worker.death()
        assert death is not None
        index, error = death
        self.hooks.error(index, "die", error)
        self._end_by(self.built.tasks[index].spec.name, None, error)

    def _end_by(self, component: str, where: str | None, error: BaseException) -> None:
        failure = {"component": component, "where": where, "error": summary(error)}
        self._say("ended", ok=False, drained=True, failures=[failure], busy={}, let_go=[])
        self.turns.die()

    # -- words -------------------------------------------------------------------------------------------------------

    def hear(self, request: Mapping[str, Any]) -> None:
        """The parent tells it something, or asks; as in a worker's process."""
        match request.get("cmd"):
            case "stage":
                self._stages.begin(Stage.of_json(request["stage"]))
            case "wave":
                self._say("wave", **self._stages.answer(request["wave"]))
            case "peer":
                self.worker.peer(request["worker"], request["incarnation"], request["session"], request["path"])
            case "peer-lost":
                self.worker.peer_lost(request["worker"], request["incarnation"], request["ran"], request["suspects"])
                self._partings.told(request["incarnation"])
            case "position-stored":
                stored = (request["component"], request["task"], request["number"])
                self._positions.stored(*stored, done=request["done"])
            case _:
                pass
        self.wake()

    def _rests(self, stage: Stage) -> None:
        """It has come to rest: where sources run that is told when the test has them come to their end."""
        self._unsaid = stage
        if self._world.feeds.is_over or stage.kind != stages.RUN:
            self.may_end()

    def may_end(self) -> None:
        """Says that it rests, if it does: what it has to do since shows when it is asked."""
        if self._unsaid is not None:
            self._say("quiet", stage=self._unsaid.number)
            self._unsaid = None

    def _link_lost(self, worker: int, incarnation: int, session: int) -> None:
        self._say("link-lost", worker=worker, incarnation=incarnation, session=session)

    def _tell_position(self, position: StoredPosition, number: int, ended: int | None) -> None:
        self._say("position", number=number, record=position.json(), ended=ended)

    # -- what is looked at -------------------------------------------------------------------------------------------

    def is_at_rest(self) -> bool:
        """Whether its links owe nothing and are owed nothing."""
        peers = self.worker.links().get("peers", {}).values()
        return all(peer["is_up"] and not peer["unreceipted_frames"] for peer in peers)

    def report_drain(self) -> None:
        """Adds what the calls of the drain raised to the components' errors."""
        self._report(self._drain.failures)

    def close(self) -> None:
        """Closes its components, if they are open."""
        if self.is_open:
            with self._stamps:
                self._report(tasks_life.close_all(self.built))

    def _report(self, failures: Iterable[tuple[Task, str, BaseException]]) -> None:
        for task, place, error in failures:
            self.hooks.error(task.index, place, error)

    def release(self) -> None:
        """Lets go of everything."""
        self._offloaders.close()
        self.worker.close()
