"""Many simulated workers as one: run, moved in time, drained, looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from squall import Tuple
from squall.cluster.placement import place
from squall.errors import ClusterError, Defect, SquallInternalError
from squall.model.graph import Graph
from squall.planner.plan import plan
from squall.runtime.build import Task
from squall.runtime.hooks import ErrorReport
from squall.testing.figures import figures, summed
from squall.testing.seen import Seen
from squall.testing.simulation.agenda import Agenda
from squall.testing.simulation.cables import Switchboard
from squall.testing.simulation.faults import Faults, Strikes
from squall.testing.simulation.fed import Feeds
from squall.testing.simulation.life import DRAIN_S, Given, Life, World
from squall.testing.simulation.parent import Parent
from squall.testing.simulation.process import SimulatedProcess
from squall.testing.sources import MockedSpout

LOOK_EVERY_S = 1.0
"""As often as the loop of a real worker looks at its links when nothing wakes it."""
OPEN_WITHIN_S = 600.0
END_WITHIN_S = 3600.0
"""Simulated time that a run may take; each fault may cost some seconds."""


class Workers:
    """The workers of a cluster, over all their lives, with their parent.

    Raises:
        ClusterError: by whatever has time pass: a worker cannot be had or go on.
        SquallInternalError: `simulation_law`: a law of delivery does not hold, which is a defect of squall.
    """

    def __init__(
        self,
        graph: Graph,
        workers: int,
        faults: Faults,
        seed: int,
        folder: Path,
        seen: Seen,
        mocked: Mapping[str, MockedSpout],
        positions: Mapping[str, Sequence[bytes]],
    ) -> None:
        placement = place(graph, workers)
        self._plan = plan(graph, placement.executors)
        self._agenda = Agenda()
        self.strikes = Strikes(faults, Random(f"{seed}/faults"))
        self._switchboard = Switchboard(self._agenda, self.strikes, Random(f"{seed}/links"), placement.workers)
        self._feeds = Feeds({name: graph.components[name].tasks for name in mocked}, mocked)
        self._world = World(self._plan, seed, folder, seen, self._feeds, positions)
        self._mocked = frozenset(mocked)
        self._newest: dict[int, Life] = {}
        self._buried: list[Life] = []
        self._processes: list[SimulatedProcess] = []
        self._lost: list[dict[str, dict[str, Any]]] = []
        self._ended_before = dict.fromkeys(self._feeds.counts(), 0)
        self._is_released = False
        self._parent = Parent(self._plan, folder, self._agenda, self.strikes, Random(f"{seed}/parent"), self._start)
        self._crew = self._parent.crew

    def _start(self, given: Given) -> SimulatedProcess:
        for key, ended in given.ended.items():
            self._ended_before[key] = ended
        process = SimulatedProcess(
            self._world, given, self._agenda, self.strikes, self._switchboard, self._parent.listen, self._ended
        )
        self._newest[given.number] = process.life
        self._processes.append(process)
        return process

    def _ended(self, life: Life) -> None:
        self._buried.append(life)
        self._check_counts(life)
        self._lost.append(figures(life.worker.snapshot(), life.built.tasks, None))

    def _living(self) -> Iterator[Life]:
        return (life for life in self._newest.values() if life.is_alive)

    # -- time --------------------------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        """The virtual time."""
        return self._agenda.now_s

    def _next_s(self) -> float:
        return min(self._agenda.next_s(), self._crew.next_at_s())

    def _step(self, bound_s: float) -> bool:
        """Does what is next; False: that is after the bound."""
        next_s = self._next_s()
        for life in self._living():
            if life.due_s <= next_s and life.due_s <= bound_s:
                life.turns.want(life.due_s)
                life.due_s = inf  # until it has looked again
                next_s = self._next_s()
        if next_s > bound_s:
            return False
        if (pass_at_s := self._crew.next_at_s()) <= self._agenda.next_s():
            self._agenda.now_s = max(self._agenda.now_s, pass_at_s)
            self._crew.pass_time()
        else:
            self._agenda.run_next()
        if (why := self._parent.failure) is not None and not self._crew.is_closing:  # then nothing is left to lose
            raise ClusterError(why)
        return True

    def _look(self) -> bool:
        """Has the links looked at after a while, if something is owed on one."""
        if self._crew.is_closing:
            return False
        owing = [life for life in self._living() if life.is_open and not life.is_at_rest()]
        for life in owing:
            life.turns.want(self._agenda.now_s + LOOK_EVERY_S)
        return bool(owing)

    def open(self) -> None:
        """Starts the workers, and waits until all components are open."""
        self._crew.begin()
        while not self._crew.is_whole:
            if not self._step(OPEN_WITHIN_S):
                raise self._never_ended("begin", OPEN_WITHIN_S)
        self.strikes.is_on = True

    def settle(self) -> None:
        """Runs until nothing is on its way and no worker has anything to do: time moves as that takes it."""
        bound_s = self._agenda.now_s + END_WITHIN_S
        while self._next_s() < inf or self._look():
            if not self._step(bound_s):
                raise self._never_ended("come to rest", END_WITHIN_S)

    def advance(self, by_s: float) -> None:
        """Moves time, running everything that comes due on the way."""
        target_s = self._agenda.now_s + by_s
        while self._step(target_s):
            pass
        self._agenda.now_s = max(self._agenda.now_s, target_s)  # an `open` that sleeps has moved it further
        for life in self._living():
            life.worker.advance_to(self._agenda.now_s)

    def drain(self) -> None:
        """Ends the run as Ctrl-C does."""
        self._crew.stop()
        self._close()

    def finish(self) -> None:
        """Nothing more is fed: the run comes to its end by itself."""
        self._feeds.are_over()
        self.wake(self._mocked)
        for life in self._living():
            life.may_end()
        self._close()
        self._check_end()

    def _close(self) -> None:
        bound_s = self._agenda.now_s + END_WITHIN_S
        while not self._crew.is_closing:
            if (not self._step(bound_s) and not self._look()) or self._agenda.now_s > bound_s:
                raise self._never_ended("end", END_WITHIN_S)
        for life in self._living():
            self._check_counts(life)
            life.report_drain()

    def intercept(self, component: str, before: Callable[[Tuple], None]) -> None:
        """Nothing: each life looks at the injections of its components from its beginning."""

    def wake(self, spouts: frozenset[str]) -> None:
        """Has these spouts asked."""
        for life in self._living():
            woken = [task for task in life.built.tasks if task.spec.name in spouts] if life.is_open else []
            for task in woken:
                life.worker.wake_spout(task.index)
            if woken:
                life.wake()

    # -- what is looked at -------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> list[Task]:
        """All tasks as the newest lives of their workers have them."""
        tasks = [task for life in self._newest.values() for task in life.built.tasks]
        return sorted(tasks, key=lambda task: task.task.task_id)

    @property
    def is_running(self) -> bool:
        """Whether code of the topology runs now."""
        return any(life.is_running for life in self._newest.values())

    def errors(self) -> list[ErrorReport]:
        """The errors that all lives have kept."""
        lives = [*self._buried, *self._living()]
        return [report for life in lives for kept in life.hooks.errors.values() for report in kept]

    def figures(self) -> dict[str, dict[str, Any]]:
        """What components counted, in all lives; what was pending when a worker was lost has failed."""
        lost = [_ended(one) for one in self._lost]
        living = [figures(life.worker.snapshot(), life.built.tasks, life.hooks.error) for life in self._living()]
        return summed([*lost, *living])

    def _never_ended(self, what: str, within_s: float) -> TimeoutError:
        left: list[str] = []
        for life in self._living():
            names = [task.spec.name for task in life.built.tasks]
            left += [f'{count} roots of "{names[task]}" pending' for task, count in life.worker.pending()]
            for task, queued, held in life.worker.busy():
                left.append(f'"{names[task]}" has {queued} tuples queued and {held} in its hands')
        where = "; ".join(left) or "its sources are not exhausted"
        name = self._plan.graph.name
        return TimeoutError(f'topology "{name}" did not {what} within {within_s:.0f} s of simulated time: {where}')

    # -- laws --------------------------------------------------------------------------------------------------------

    def _check_counts(self, life: Life) -> None:
        """Of each spout at every moment: emitted = acked + failed + pending (semantics 36)."""
        for row in life.worker.snapshot():
            if "pending" in row:
                emitted = sum(row["emitted"].values())
                if emitted != row["acked"] + row["failed"] + row["pending"]:
                    names = ("acked", "failed", "pending")
                    facts = (("emitted", str(emitted)), *((name, str(row[name])) for name in names))
                    self._broken(f'roots of "{row["component"]}" are not what became of them', facts)

    def _check_end(self) -> None:
        """All that was fed has ended, and nothing is left of it."""
        for life in self._living():
            if life.worker.pending():  # what user code still held when the time of the drain was over
                raise self._never_ended("end", DRAIN_S)
        for key, fed in self._feeds.counts().items():
            ended = self._ended_before[key] + self._ended_now(key)
            if ended != fed:
                self._broken(f'of {fed} values fed to "{key}" {ended} have ended', ())

    def _ended_now(self, key: str) -> int:
        for life in self._newest.values():
            for task in life.built.tasks:
                if f"{task.spec.name}/{task.task.index}" == key:
                    return life.worker.ended_prefix(task.index) or 0
        return 0

    def _broken(self, what: str, facts: tuple[tuple[str, str], ...]) -> None:
        struck = ", ".join(f"{kind} at {at_s} s" for at_s, kind in self.strikes.struck) or "none"
        known = (*facts, ("seed", str(self._world.seed)), ("faults", struck))
        fix = "that is a defect of squall: please report it, with the seed and the topology"
        raise SquallInternalError(Defect("simulation_law", what, known, fix))

    # -- end ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes the components of the living, and counts."""
        for life in self._living():
            life.close()
        for life in self._living():
            self._check_counts(life)

    def release(self) -> None:
        """Lets go of everything."""
        if self._is_released:
            return
        self._is_released = True
        self._switchboard.close()
        for process in self._processes:
            process.life.release()
            process.close()
        self._parent.close()


def _ended(lost: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of a life that is over."""
    for component in lost.values():
        component["failed"] += component["pending"]
        for name in ("pending", "retrying", "queue", "held", "in_flight"):
            component[name] = 0
    return lost
