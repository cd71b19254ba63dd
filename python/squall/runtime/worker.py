"""A worker's process: `python -m squall.runtime.worker < BOOTSTRAP`, started by the embedded engine or a supervisor."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

from squall import _core
from squall.config.table import DEFAULTS
from squall.errors import Defect, SquallError, TopologyError
from squall.model.graph import DEAD_LETTERS, ComponentSpec, TaskSpec
from squall.planner.describe import describe, differences
from squall.planner.load import load_topology
from squall.planner.plan import plan
from squall.planner.validate import validate
from squall.runtime import dead_log, inquiries, levels, life, logs, output, stages, standard_input, stats
from squall.runtime.bootstrap import Bootstrap
from squall.runtime.build import Built, Task, build, core_settings
from squall.runtime.context import WorkerServices
from squall.runtime.dead_stream import DeadLetterSpout
from squall.runtime.failures import summary, users_traceback
from squall.runtime.hints import Hints
from squall.runtime.hooks import ErrorReport, Hooks
from squall.runtime.letter_lines import Run
from squall.runtime.letters import Letter
from squall.runtime.marks import Marks
from squall.runtime.offload import Offloaders
from squall.runtime.partings import Partings
from squall.runtime.positions import Positions, StoredPosition
from squall.runtime.recent import Recent
from squall.runtime.replay import Replays
from squall.runtime.running import Running
from squall.runtime.stages import Stage, Stages
from squall.runtime.taps import Taps
from squall.runtime.tracing import open_trace
from squall.runtime.watch import Life, Told, Watch

log = logging.getLogger("squall.worker")
REPORT_EVERY_S = 1.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """User code that raised where no tuple could be failed instead; `where` None: it ended the worker."""

    component: str
    where: str | None
    error: str


class WorkerProcess:
    """One life of a worker: built from its bootstrap, run, drained, ended."""

    def __init__(self, boot: Bootstrap, worker_log: logs.WorkerLog) -> None:
        self.boot = boot
        self.worker_log = worker_log
        self.levels = levels.Levels()
        self.began_s = time.monotonic()
        self._is_cut = False
        if boot.stdin_fd is not None:
            standard_input.SOURCE = socket.socket(fileno=boot.stdin_fd)
        output.STANDARD = output.StandardOutput(boot.stdout_fd, self.output_closed)
        try:
            topology = load_topology(boot.file, boot.name, boot.parameters)
        finally:
            worker_log.keep()
        graph = validate(topology, boot.settings)
        _check_same(boot.described, describe(graph))
        if (level := graph.settings["worker.log.level"]) != boot.settings["worker.log.level"]:
            logging.getLogger().setLevel(level)
        for one in boot.levels:
            self.levels.restore(**one)
        worker_log.use(graph.settings)
        self.plan = plan(graph, boot.placed)
        page_fd = os.dup(boot.page_fd)
        self.hooks = Hooks(
            graph.settings, lambda: datetime.now(UTC), time.monotonic, self, run=f"{boot.topology_id}-{os.getpid()}"
        )
        self.worker = _core.Worker(
            incarnation=boot.incarnation,
            seed=boot.seed,
            hooks=self.hooks,
            virtual=False,
            settings=core_settings(graph.settings),
            page_fd=boot.page_fd,
            trace=open_trace(graph.settings, f"{boot.topology_id}-{boot.parent}", boot.worker, boot.incarnation),
        )
        self.partings = Partings()
        self.stages = Stages(self.worker, lambda stage: self.send("quiet", stage=stage.number))
        if boot.link_fd is not None:
            self._run_dir = os.open(boot.run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.worker.open_links(boot.worker, boot.workers, boot.link_fd, bytes.fromhex(boot.secret))
        self.taps = Taps(graph, self.worker, lambda line: self.session.offer(line))
        self.session = _core.Session(
            self.worker,
            boot.session_fd,
            self.answer,
            dump_fd=boot.dump_fd,
            stuck_after=graph.settings["topology.stuck.secs"],
            timeout=_message_timeout_s(graph.settings),
        )
        components = [*(s.name for s in graph.spouts), *graph.order]
        self.numbers = {name: number for number, name in enumerate(components, 1)}
        marks = Marks(page_fd, components)
        life_of_tasks = Life(marks.roving())
        watch = Watch(graph.settings["topology.stuck.secs"], self.stuck, self.went_on)
        watch.add(life_of_tasks)
        watch.start()
        self.offloaders = Offloaders(marks, watch.add)
        self.letter_stream: DeadLetterSpout | None = None
        self.dead_letters: dead_log.DeadLog | None = None
        services = WorkerServices(
            worker=self.worker,
            plan=self.plan,
            topology_id=boot.topology_id,
            number=boot.worker,
            work_dir=Path(boot.run_dir) / "work",
            seed=boot.seed,
            report_error=self.hooks.error,
            life=life_of_tasks,
            ended=boot.ended,
        )
        self.built: Built = build(services, offloader=self.offloaders, replace_spout=self._spout)
        for fd in boot.listen_fds.values():  # each task has one of its own, which it closes when it is stopped
            os.close(fd)
        self.hooks.built = self.built
        self.hooks.tell_link_lost = self.link_lost
        self.hooks.replays = self.replays = Replays(
            Path(boot.dead_log), self.built, self.worker.replay, lambda change: self._log_of_letters().change(change)
        )
        self.hints = Hints(graph.components.values())
        stored = [StoredPosition.of_json(record) for record in boot.positions]
        self.positions = Positions(self.built, stored, self.tell_position, self.hooks.error)
        for task in self.built.tasks:
            for place, deaths in boot.suspects.get(f"{task.spec.name}/{task.task.index}", {}).items():
                self.worker.suspect(task.index, int(place), deaths)
        self.running = Running(self.worker.current_component, self.built)
        self.recent = Recent()
        self.taps.attach(self.built)

    # -- dead letters ------------------------------------------------------------------------------------------

    def put(self, handle: int, letter: Letter) -> None:
        """Stores a dead letter."""
        self._log_of_letters().put(handle, letter)

    def _log_of_letters(self) -> dead_log.DeadLog:
        """The log of this run, opened when there is something to write."""
        if self.dead_letters is None:
            self.dead_letters = dead_log.DeadLog(
                Path(self.boot.dead_log),
                self.worker.dead_stored,
                self._offer,
                self.replays.marked,
                self._run(),
                self.replays.forget,
            )
        return self.dead_letters

    def _run(self) -> Run:
        boot = self.boot
        settings = {key: value for key, value in boot.settings.items() if value != DEFAULTS.get(key)}
        mask = self.plan.graph.settings["topology.mask.fields"]
        return Run(self.hooks.run, boot.file, boot.name, boot.parameters, settings, mask)

    def discard(self, handle: int) -> None:
        """Lets a root go without a letter."""
        self.worker.dead_stored(handle)

    def _offer(self, letter: Letter) -> None:
        if self.letter_stream is not None:
            self.letter_stream.offer(letter)

    def _spout(self, spec: ComponentSpec, _task: TaskSpec) -> Any:
        if spec.name == DEAD_LETTERS:
            self.letter_stream = DeadLetterSpout(spec.make(None))
            return self.letter_stream
        made = spec.make(None) if spec.name in self.boot.listen_fds else None
        if made is not None:
            made.adopt(self.boot.listen_fds[spec.name])
        return made

    # -- life --------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Runs to the end. The exit code."""
        try:
            self._open_all()
        except life.OpenFailed as failed:
            extra = {"component": failed.component, "task": failed.task}
            error = failed.error
            log.error("event=open_failed", exc_info=(type(error), error, users_traceback(error)), extra=extra)
            if isinstance(failed.error, SquallError):  # it says by itself what is to be done
                self.send("failed", defect=asdict(_of(failed.component, failed.error.defects[0])))
                return self._end([])
            return self._end([Failure(failed.component, "open", summary(failed.error))])
        self.send("ready", drains=life.drains(self.built))
        self.worker.every(-1, REPORT_EVERY_S, self.report, ())
        self.replays.begin(at_start=True)
        self.positions.begin()
        drain = life.Drain(self.worker, self.built)
        if not self._through_stages(drain):
            return self._end([self._death()])
        drained = self._is_cut or (self.stages.stage.kind == stages.CLOSE and not self.worker.pending())
        failures = self._reported(drain.failures)
        self.positions.finish()
        failures += self._reported(life.close_all(self.built, waits=not self._is_cut))
        failures += [Failure(name, "its spout", summary(error)) for name, error in self.hooks.ended_spouts.items()]
        if self.dead_letters is not None:
            self.dead_letters.close()
        return self._end(failures, drained)

    def _through_stages(self, drain: life.Drain) -> bool:
        """Runs until there is nothing left but to close, or no time, or nobody who reads the output; False: it died."""
        while not self._is_cut and self.worker.monotonic() < self.stages.deadline:
            while (stage := self.stages.next()) is not None:  # the loop is stopped once for several that came together
                self._begin(stage, drain)
            if self.stages.stage.kind == stages.CLOSE:
                break
            seen = self.stages.look()
            if self._turns(seen) == "died":
                return False
        return True

    def _turns(self, seen: int) -> str:
        """Runs the loop until the worker may rest, or something else is to be looked at; why it came back."""
        if self.stages.stage.kind == stages.RUN:
            return self.worker.run(known=seen)
        look_at = min(self.stages.deadline, self.worker.monotonic() + life.LOOK_EVERY_S)
        return self.worker.run(deadline=look_at, known=seen)

    def _begin(self, stage: Stage, drain: life.Drain) -> None:
        """The parent has begun a stage."""
        if self._is_cut or stage.kind == stages.CUT:
            self._is_cut = True
            return
        if stage.kind == stages.RUN:
            self.stages.deadline = inf
            return drain.resume()
        now_s = self.worker.monotonic()
        if self.stages.deadline == inf:
            self.stages.deadline = now_s + self.boot.drain_s
            self.stages.polls_until = now_s + min(self.boot.drain_s, life.POLL_GRACE_S)
        drain.stop_sources(self.stages.polls_until)
        if stage.component is not None:
            drain.component(stage.component)

    def link_lost(self, worker: int, incarnation: int, session: int) -> None:
        """Tells that there is no way any more to another worker that is alive."""
        self.send("link-lost", worker=worker, incarnation=incarnation, session=session)

    def tell_position(self, position: StoredPosition, number: int, ended: int | None) -> None:
        """Has the parent store a position."""
        self.send("position", number=number, record=position.json(), ended=ended)

    def _open_all(self) -> None:
        try:
            life.open_all(self.worker, self.built, self.positions.restore)
        finally:
            self.worker_log.keep()

    def output_closed(self) -> None:
        """Ends the run at once, in all its workers: nobody reads its standard output any more. Any thread."""
        if not self._is_cut:
            self.send("output-closed")
        self._is_cut = True
        self.worker.request_stop()

    def _end(self, failures: list[Failure], drained: bool = True) -> int:
        """Says the last word; the exit code."""
        self.taps.end()
        ok = drained and not any(failure.where != "close" for failure in failures)
        told = [asdict(failure) for failure in failures]
        ended = {"ok": ok, "drained": drained, "failures": told, "busy": self._busy()}
        self.send("ended", let_go=[], **ended, **self.totals())
        return 0 if ok else 1

    def _reported(self, failures: list[tuple[Task, str, BaseException]]) -> list[Failure]:
        """Adds failures of the life's calls to the components' errors."""
        for task, place, error in failures:
            self.hooks.error(task.index, place, error)
        return [Failure(task.spec.name, place, summary(error)) for task, place, error in failures]

    def _death(self) -> Failure:
        death = self.worker.death()
        assert death is not None
        index, error = death
        task = self.built.tasks[index]
        extra = {"component": task.spec.name, "task": task.task.task_id}
        log.error("event=died", exc_info=(type(error), error, users_traceback(error)), extra=extra)
        return Failure(task.spec.name, None, summary(error))

    def _busy(self) -> dict[str, int]:
        """What is still queued, held or pending, by component."""
        busy: dict[str, int] = {}
        for task, count in self.worker.pending():
            busy[self.built.tasks[task].spec.name] = busy.get(self.built.tasks[task].spec.name, 0) + count
        for task, queued, held in self.worker.busy():
            busy[self.built.tasks[task].spec.name] = busy.get(self.built.tasks[task].spec.name, 0) + queued + held
        return busy

    def totals(self) -> dict[str, Any]:
        """The counters now, as events carry them."""
        times = os.times()
        uptime_s = time.monotonic() - self.began_s
        figures = stats.summary(self.worker.snapshot(), self.built, self.hooks.error)
        return {
            **figures,
            **self.recent.rates(uptime_s, figures),
            "links": {str(self.boot.worker): self.worker.links()} if self.boot.link_fd is not None else {},
            "uptime_s": round(uptime_s, 3),
            "cpu_s": round(times.user + times.system, 3),
            "errors": {name: _shown(kept) for name, kept in self.hooks.errors.items()},
        }

    def report(self) -> None:
        """Sends one progress event, unless the parent has a long way to go to it: the next one says the same, newer."""
        self.worker_log.keep()
        totals = self.totals()
        self.recent.keep(totals["uptime_s"], totals)
        self.hints.look(totals["components"])
        let_go = self.partings.over()
        if not self.session.offer(_line("progress", let_go=let_go, **totals)):
            self.partings.untold(let_go)

    def stuck(self, call: Told) -> None:
        """Tells of a call that does not return, as the core's watchdog does of those of the loop."""
        about = {"component": self.numbers[call.component], "stack": call.stack, "waits_for": call.waits_for}
        self.send("stuck", place=call.place, running_s=round(call.running_s, 1), **about)

    def went_on(self, place: int) -> None:
        """Tells that this is over."""
        self.send("went_on", place=place)

    def send(self, event: str, **fields: Any) -> None:
        """Sends an event to the parent."""
        self.session.send(_line(event, **fields))

    # -- commands ----------------------------------------------------------------------------------------------

    def answer(self, line: bytes) -> bytes | None:
        """Answers a command that needs the interpreter; runs on a thread of its own."""
        request: dict[str, Any] = json.loads(line)
        try:
            done = self._carried_out(request)
        except MemoryError:  # the core ends the worker
            raise
        except Exception as error:  # a malformed one, perhaps: whoever asks waits for an answer
            log.warning("event=command_failed cmd=%r", request.get("cmd"), exc_info=error)
            done = {"error": f"it failed: {summary(error)}"}
        return None if done is None else json.dumps({"id": request.get("id"), **done}, default=repr).encode()

    def _carried_out(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """What a command is answered; None: nothing. Raises whatever one that is malformed leads to."""
        match request.get("cmd"):
            case "log-level":
                return self.levels.change(request["logger"], request["level"], request.get("for_s"))
            case "log-level-reset":
                return self.levels.reset(request.get("logger"))
            case "log-levels":
                return self.levels.listed()
            case "stage":
                self.stages.begin(Stage.of_json(request["stage"]))
                return None
            case "wave":
                self.send("wave", **self.stages.answer(request["wave"]))
                return None
            case "peer":
                path = f"/proc/self/fd/{self._run_dir}/{request['path']}"  # of any length, where addresses are short
                self.worker.peer(request["worker"], request["incarnation"], request["session"], path)
                return None
            case "peer-lost":
                self.worker.peer_lost(request["worker"], request["incarnation"], request["ran"], request["suspects"])
                self.partings.told(request["incarnation"])
                return None
            case "replay":
                return self.replays.begin()
            case "position-stored":
                self.positions.stored(request["component"], request["task"], request["number"], done=request["done"])
                return None
            case "component":
                return inquiries.answered(self.built, request["component"], request["request"])
            case "tap":
                return self.taps.open(request["id"], request)
            case "untap":
                return self.taps.close(request["tap"])
            case other:
                return {"error": f"unknown command {other!r}"}


def _shown(kept: Sequence[ErrorReport]) -> dict[str, Any]:
    """A component's errors as events carry them: how many are kept, and the newest."""
    last = kept[-1]
    at = last.at.isoformat(timespec="milliseconds")
    return {"count": len(kept), "last": last.error, "where": last.where, "task": last.task, "at": at}


def main() -> None:
    """Runs the worker that the bootstrap on standard input describes."""
    boot = Bootstrap.take(sys.stdin.fileno())
    die_with_parent(boot.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    dump = os.fdopen(os.dup(boot.dump_fd), "wb", buffering=0)
    faulthandler.register(signal.SIGUSR2, file=dump, all_threads=True)
    faulthandler.enable(file=sys.stderr.fileno())
    process: list[WorkerProcess] = []
    topology = boot.described["topology"]
    worker_log = logs.WorkerLog(
        Path(boot.log_file), topology, boot.worker, boot.settings, lambda: process[0].running() if process else None
    )
    try:
        process.append(WorkerProcess(boot, worker_log))
    except Exception as error:
        # Of an error that says all itself only what user code raised is worth its frames.
        log.error("event=build_failed", exc_info=error.__cause__ if isinstance(error, SquallError) else error)
        worker_log.close()
        _last_word(boot, {"event": "failed", "defect": asdict(_why_not_built(error))})
        os._exit(1)
    code = process[0].run()
    flush(process[0].session)
    worker_log.close()
    os._exit(code)


def _line(event: str, **fields: Any) -> bytes:
    """An event as the parent gets it."""
    return json.dumps({"event": event, **fields}, default=repr).encode()


def _message_timeout_s(settings: Mapping[str, Any]) -> float:
    """How long a call may keep its tuple; 0: for ever."""
    return settings["topology.message.timeout.secs"] if settings["topology.enable.message.timeouts"] else 0.0


def _of(component: str, defect: Defect) -> Defect:
    """What a component's `open` told, with its name."""
    return replace(defect, facts=(*defect.facts, ("raised by", f'open of "{component}"')))


def _why_not_built(error: Exception) -> Defect:
    if isinstance(error, SquallError):
        return error.defects[0]
    fix = "make the file give the same topology wherever it is imported; the log has the traceback"
    facts = (("error", summary(error)),)
    return Defect("worker_build_failed", "the worker could not build the topology", facts, fix)


def _check_same(parents: dict[str, Any], own: dict[str, Any]) -> None:
    if differs := list(differences(parents, own)):
        fix = "make the file give the same topology whenever it is imported"
        facts = (("parent ≠ worker", "; ".join(differs)[:500]),)
        raise TopologyError(Defect("topology_differs", "the worker built another topology than its parent", facts, fix))


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent dies; ends it if that has died already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def flush(session: _core.Session) -> None:
    """Waits until the events are written."""
    deadline = time.monotonic() + 2
    while not session.flushed() and time.monotonic() < deadline:
        time.sleep(0.002)


def _last_word(boot: Bootstrap, event: dict[str, Any]) -> None:
    with os.fdopen(boot.session_fd, "wb", closefd=False) as file:
        file.write(json.dumps(event).encode() + b"\n")


if __name__ == "__main__":
    main()
