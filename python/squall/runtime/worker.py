"""A worker's process: `python -m squall.runtime.worker BOOTSTRAP`, started by the embedded engine or a supervisor."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import logging
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from squall import _core
from squall.errors import SquallError
from squall.model.graph import DEAD_LETTERS, ComponentSpec, TaskSpec
from squall.planner.load import load_topology
from squall.planner.plan import plan
from squall.planner.validate import validate
from squall.runtime import dead_log, life, logs, stats
from squall.runtime.bootstrap import Bootstrap
from squall.runtime.build import Built, build, core_settings
from squall.runtime.context import WorkerServices
from squall.runtime.dead_stream import DeadLetterSpout
from squall.runtime.failures import summary
from squall.runtime.hooks import Hooks
from squall.runtime.letters import Letter
from squall.runtime.offload import Offloaders

log = logging.getLogger("squall.worker")
REPORT_EVERY_S = 1.0
PR_SET_PDEATHSIG = 1


class WorkerProcess:
    """One life of a worker: built from its bootstrap, run, drained, ended."""

    def __init__(self, boot: Bootstrap) -> None:
        self.boot = boot
        self.levels = logs.Levels()
        self.began_s = time.monotonic()
        topology = load_topology(boot.file, boot.name, boot.parameters)
        graph = validate(topology, boot.settings)
        self.plan = plan(graph)
        self.hooks = Hooks(graph.settings, lambda: datetime.now(UTC), time.monotonic, self)
        self.worker = _core.Worker(
            incarnation=boot.incarnation,
            seed=boot.seed,
            hooks=self.hooks,
            virtual=False,
            settings=core_settings(graph.settings),
            page_fd=boot.page_fd,
        )
        self.session = _core.Session(
            self.worker,
            boot.session_fd,
            self.answer,
            dump_fd=boot.dump_fd,
            stuck_after=graph.settings["topology.stuck.secs"],
            timeout=graph.settings["topology.message.timeout.secs"],
        )
        self.offloaders = Offloaders()
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
        )
        self.built: Built = build(services, offloader=self.offloaders, replace_spout=self._spout)
        self.hooks.built = self.built

    # -- dead letters ------------------------------------------------------------------------------------------

    def put(self, handle: int, letter: Letter) -> None:
        """Stores a dead letter; the log is opened with the first one."""
        if self.dead_letters is None:
            path = Path(self.boot.dead_log)
            self.dead_letters = dead_log.DeadLog(path, self.worker.dead_stored, self._offer)
        self.dead_letters.put(handle, letter)

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
            life.open_all(self.worker, self.built)
        except life.OpenFailed as failed:
            self.send("failed", component=failed.component, where="open", error=summary(failed.error))
            log.error("event=open_failed", exc_info=failed.error, extra={"component": failed.component, "task": failed.task})
            return 1
        self.send("ready")
        self.worker.every(-1, REPORT_EVERY_S, self.report, ())
        self._replay_asked()
        reason = self.worker.run()
        failures: list[dict[str, str]] = []
        drained = True
        if reason == "died":
            self._say_death()
            drained = False
        else:
            self.send("draining")
            drain = life.drain(self.worker, self.built, self.boot.drain_s)
            drained = drain.in_time
            for task, place, error in drain.failures + life.close_all(self.built):
                self.hooks.error(task.index, place, error)
                failures.append({"component": task.spec.name, "where": place, "error": summary(error)})
        for name, error in self.hooks.ended_spouts.items():
            failures.append({"component": name, "where": "spout", "error": summary(error)})
        if self.dead_letters is not None:
            self.dead_letters.close()
        ok = drained and not any(failure["where"] != "close" for failure in failures)
        self.send("ended", ok=ok, drained=drained, failures=failures, busy=self._busy(), **self.totals())
        return 0 if ok else 1

    def _say_death(self) -> None:
        death = self.worker.death()
        assert death is not None
        task, error = death
        name = self.built.tasks[task].spec.name
        log.error("event=died", exc_info=error, extra={"component": name, "task": self.built.tasks[task].task.task_id})
        self.send("failed", component=name, where="on_error=die", error=summary(error))

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
        errors = {name: {"count": len(kept), "last": kept[-1].error} for name, kept in self.hooks.errors.items()}
        return {
            **stats.summary(self.worker.snapshot(), self.built),
            "uptime_s": round(time.monotonic() - self.began_s, 3),
            "cpu_s": round(times.user + times.system, 3),
            "errors": errors,
        }

    def report(self) -> None:
        """Sends one progress event."""
        self.send("progress", **self.totals())

    def send(self, event: str, **fields: Any) -> None:
        """Sends an event to the parent."""
        self.session.send(json.dumps({"event": event, **fields}, default=repr).encode())

    # -- commands ----------------------------------------------------------------------------------------------

    def answer(self, line: bytes) -> bytes | None:
        """Answers a command that needs the interpreter; runs on a thread of its own."""
        request: dict[str, Any] = json.loads(line)
        match request.get("cmd"):
            case "log-level":
                done = self.levels.change(request["logger"], request["level"], request.get("for_s"))
            case "replay":
                done = {"replayed": self._replay_asked()}
            case "metrics":
                done = self.totals()
            case other:
                done = {"error": f"unknown command {other!r}"}
        return json.dumps({"id": request.get("id"), **done}, default=repr).encode()

    def _replay_asked(self) -> int:
        """Emits the roots of letters whose replay was asked for."""
        path = Path(self.boot.dead_log)
        if not path.exists():
            return 0
        asked = [stored for stored in dead_log.read(path) if stored.state == dead_log.ASKED and stored.replayable]
        for stored in asked:
            for task in self.built.of(stored.letter.spout)[:1]:
                stream = list(task.spec.streams).index(stored.letter.spout_stream)
                assert stored.letter.root_values is not None
                self.worker.replay(task.index, stream, stored.letter.root_values)
        if asked:
            dead_log.mark(path, [stored.number for stored in asked], dead_log.REPLAYED)
        return len(asked)


def running_component(process: list[WorkerProcess]) -> str | None:
    """Name of the component whose code runs on this thread."""
    if not process or not hasattr(process[0], "built"):
        return None
    call = _core.current_call.get(None)
    if call is not None:
        return process[0].built.tasks[call.task].spec.name
    number = process[0].worker.current_component()
    names = list(dict.fromkeys(task.spec.name for task in process[0].built.tasks))
    return names[number] if number is not None and number < len(names) else None


def main() -> None:
    """Runs the worker that the bootstrap file describes."""
    path = Path(sys.argv[1])
    boot = Bootstrap.read(path)
    path.unlink()
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    dump = os.fdopen(os.dup(boot.dump_fd), "wb", buffering=0)
    faulthandler.register(signal.SIGUSR2, file=dump, all_threads=True)
    faulthandler.enable(file=sys.stderr.fileno())
    process: list[WorkerProcess] = []
    logs.install(Path(boot.log_file), boot.worker, boot.settings["worker.log.level"], lambda: running_component(process))
    try:
        process.append(WorkerProcess(boot))
    except SquallError as error:
        log.error("event=build_failed\n%s", error)
        _last_word(boot, {"event": "failed", "component": None, "where": "build", "error": str(error)})
        os._exit(1)
    except Exception as error:
        log.exception("event=build_failed")
        _last_word(boot, {"event": "failed", "component": None, "where": "build", "error": summary(error)})
        os._exit(1)
    code = process[0].run()
    flush(process[0].session)
    logging.shutdown()
    os._exit(code)


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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
