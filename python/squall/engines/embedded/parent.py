"""The parent of `squall run`: it never runs user code but to build the topology (semantics 38).

It binds the listening sockets, starts the worker in a session of its own, follows it to its end, answers other commands
on a control socket, keeps the totals, and leaves nothing behind.
"""

from __future__ import annotations

import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from squall import _core
from squall.config.load import local_dir
from squall.engines.embedded import sockets
from squall.engines.embedded.outcome import EXIT_FAILED, Do, Phase, Run, cause_of_death, step
from squall.model.graph import Graph, Plan
from squall.runtime.bootstrap import Bootstrap
from squall.runtime.dead_log import log_path

Event = dict[str, Any]
LOOK_EVERY_S = 0.1
DRAIN_GRACE_S = 3.0
"""What the worker gets on top of its drain to say its last word."""


@dataclass(frozen=True, slots=True)
class Order:
    """What `squall run` was asked for."""

    file: str
    name: str | None
    parameters: list[str]
    settings: dict[str, Any]
    for_s: float | None
    drain_s: float


@dataclass
class Totals:
    """The newest report of the worker; the parent's, so that a worker's death loses none."""

    report: Event = field(default_factory=dict[str, Any])

    def take(self, report: Event) -> None:
        """Keeps a newer report."""
        self.report = report

    def summary(self, wall_s: float, *, lost: bool) -> Event:
        """The totals at the end; roots of a worker that died count as failed."""
        report = self.report
        out: Event = {key: report.get(key, 0) for key in ("emitted", "acked", "failed", "pending", "dead")}
        if lost:
            out["failed"] += out["pending"]
            out["pending"] = 0
        latency = report.get("complete_ms", {})
        out |= {
            "wall_s": round(wall_s, 3),
            "cpu_s": report.get("cpu_s", 0.0),
            "complete_ms": {key: latency.get(key, 0.0) for key in ("p50", "p99", "max")},
            "components": report.get("components", {}),
        }
        if lost:
            out["approximate"] = True
        return out


class EmbeddedRun:
    """One run of a topology with its worker process.

    Args:
        tell: gets every event: started, progress, stuck, log, failed, summary.
    """

    def __init__(self, order: Order, graph: Graph, plan: Plan, tell: Callable[[Event], None]) -> None:
        self.order, self.graph, self.plan, self.tell = order, graph, plan, tell
        self.run = Run()
        self.totals = Totals()
        self.began_s = time.monotonic()
        self.base = local_dir(order.settings)
        stamp = f"{graph.name}-{os.getpid()}"
        self.topology_id = f"{graph.name}-1-{int(time.time())}"
        self.run_dir = self.base / "runs" / stamp
        self.log_file = self.base / "logs" / f"{stamp}-{int(time.time())}.log"
        self._interrupts = 0
        self._stop_at = float("inf")
        self._kill_at = float("inf")
        self._waiting: dict[int, socket.socket] = {}
        self._next_id = 1

    def __call__(self) -> int:
        """Runs to the end. The exit code."""
        remove_dead_runs(self.base / "runs")
        for folder in (self.run_dir, self.log_file.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with self._signals(), sockets.listen(self.run_dir / "control.sock") as control:
                return self._follow(control)
        finally:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    # -- start ---------------------------------------------------------------------------------------------------

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket, int]:
        listeners = self._listeners()
        ours, theirs = socket.socketpair()
        page = _core.page_create()
        dump = os.memfd_create("squall-stacks")
        boot = Bootstrap(
            file=str(Path(self.order.file).resolve()),
            name=self.order.name,
            parameters=self.order.parameters,
            settings=self.order.settings,
            topology_id=self.topology_id,
            worker=0,
            incarnation=1,
            seed=secrets.randbits(64),
            session_fd=theirs.fileno(),
            page_fd=os.dup(page),
            dump_fd=dump,
            listen_fds={name: listener.fileno() for name, listener in listeners.items()},
            log_file=str(self.log_file),
            run_dir=str(self.run_dir),
            dead_log=str(log_path(self.base, self.graph.name)),
            drain_s=self.order.drain_s,
        )
        path = self.run_dir / "worker-0.json"
        boot.write(path)
        fds = [theirs.fileno(), boot.page_fd, dump, 1, *boot.listen_fds.values()]
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        stdout = os.dup(1)
        process = subprocess.Popen(
            [sys.executable, "-m", "squall.runtime.worker", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[fd for fd in fds if fd != 1] + [stdout],
            start_new_session=True,
            env=os.environ | {"SQUALL_STDOUT_FD": str(stdout), "PYTHONUNBUFFERED": "1"},
        )
        for fd in (log, stdout, boot.page_fd, dump):
            os.close(fd)
        theirs.close()
        for listener in listeners.values():
            listener.close()
        return process, ours, page

    def _listeners(self) -> dict[str, socket.socket]:
        listeners: dict[str, socket.socket] = {}
        for spec in self.graph.spouts:
            if spec.listens:
                listeners[spec.name] = spec.make(None).bind()
        return listeners

    # -- follow --------------------------------------------------------------------------------------------------

    def _follow(self, control: socket.socket) -> int:
        process, session, page = self._start()
        lines = sockets.LineBuffer()
        tail = Tail(self.log_file)
        pidfd = os.pidfd_open(process.pid)
        self.tell(
            {
                "event": "started",
                "topology": self.graph.name,
                "workers": [{"id": 0, "pid": process.pid}],
                "log": str(self.log_file),
            }
        )
        if self.order.for_s is not None:
            self._stop_at = time.monotonic() + self.order.for_s
        with selectors.DefaultSelector() as selector:
            selector.register(session, selectors.EVENT_READ, "session")
            selector.register(pidfd, selectors.EVENT_READ, "exit")
            selector.register(control, selectors.EVENT_READ, "control")
            gone = False
            while not gone:
                for key, _ in selector.select(self._patience()):
                    match key.data:
                        case "session":
                            if not self._read(session, lines):
                                selector.unregister(session)
                        case "exit":
                            gone = True
                        case "control":
                            self._accept(control, selector)
                        case _:
                            self._command(key.fileobj, session, selector)  # pyright: ignore[reportArgumentType]
                for text in tail.lines():
                    self.tell({"event": "log", "text": text})
                self._decide(process, session)
            while self._read(session, lines, wait=False):
                pass
        status = process.wait()
        component, _ = _core.page_read(page)
        for fd in (pidfd, page):
            os.close(fd)
        session.close()
        for text in tail.lines():
            self.tell({"event": "log", "text": text})
        return self._end(status, component)

    def _patience(self) -> float:
        soonest = min(self._stop_at, self._kill_at) - time.monotonic()
        return max(0.0, min(LOOK_EVERY_S, soonest))

    def _read(self, session: socket.socket, lines: sockets.LineBuffer, *, wait: bool = True) -> bool:
        try:
            data = session.recv(1 << 16, 0 if wait else socket.MSG_DONTWAIT)
        except OSError:
            return False
        for event in lines.feed(data):
            self._event(event)
        return bool(data)

    def _event(self, event: Event) -> None:
        match event.get("event"):
            case "progress":
                self.totals.take(event)
                self.tell({**event, "topology": self.graph.name, "phase": self.run.phase.value})
            case "ended":
                self.totals.take(event)
                reason = ""
                if not event["drained"]:
                    busy = ", ".join(f'{count} in "{name}"' for name, count in event["busy"].items())
                    reason = f"the drain did not end in {self.order.drain_s:g} s; pending: {busy}"
                elif event["failures"]:
                    first = event["failures"][0]
                    reason = f'"{first["component"]}" raised in `{first["where"]}`: {first["error"]}'
                self._step("ended", ok=event["ok"] and self.run.exit_code is None, reason=self.run.reason or reason)
            case "failed":
                self._step("failed", text=_failure_text(event))
            case "stuck":
                names = [*(s.name for s in self.graph.spouts), *self.graph.order]
                name = names[event["component"] - 1] if event["component"] <= len(names) else "?"
                self.tell({**event, "component": name})
            case None if "id" in event:
                self._answered(event)
            case other:
                self._step(str(other))

    def _step(self, event: str, **facts: Any) -> Do:
        self.run, do = step(self.run, event, **facts)
        if event == "draining" or do is Do.STOP:
            self._kill_at = time.monotonic() + self.order.drain_s + DRAIN_GRACE_S
            self._stop_at = float("inf")
        return do

    def _decide(self, process: subprocess.Popen[bytes], session: socket.socket) -> None:
        now = time.monotonic()
        dos: list[Do] = []
        while self._interrupts:
            self._interrupts -= 1
            dos.append(self._step("interrupt"))
        if now >= self._stop_at:
            dos.append(self._step("time_up"))
        if now >= self._kill_at:
            self._kill_at = float("inf")
            dos.append(self._step("drain_time_up"))
        for do in dos:
            if do is Do.STOP:
                self.tell({"event": "draining"})
                _send(session, {"cmd": "stop"})
            elif do is Do.KILL:
                process.kill()

    def _end(self, status: int, component: int) -> int:
        if self.run.phase not in (Phase.ENDED, Phase.KILLED):
            names = [*(s.name for s in self.graph.spouts), *self.graph.order]
            running = names[component - 1] if 0 < component <= len(names) else None
            cause = cause_of_death(status, running, oom=False)
            self._step("worker_gone", text=cause)
            lost = True
        else:
            lost = self.run.phase is Phase.KILLED
        summary = self.totals.summary(time.monotonic() - self.began_s, lost=lost)
        if self.run.reason and self.run.exit_code:
            self.tell({"event": "failed", "text": self.run.reason, "log": str(self.log_file)})
        self.tell({"event": "summary", "topology": self.graph.name, **summary})
        return EXIT_FAILED if self.run.exit_code is None else self.run.exit_code

    # -- control socket ------------------------------------------------------------------------------------------

    def _accept(self, control: socket.socket, selector: selectors.BaseSelector) -> None:
        connection, _ = control.accept()
        connection.settimeout(1)
        selector.register(connection, selectors.EVENT_READ, sockets.LineBuffer())

    def _command(self, connection: socket.socket, session: socket.socket, selector: selectors.BaseSelector) -> None:
        buffer: sockets.LineBuffer = selector.get_key(connection).data
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            selector.unregister(connection)
            connection.close()
            return
        for request in buffer.feed(data):
            request["id"] = self._next_id
            self._waiting[self._next_id] = connection
            self._next_id += 1
            _send(session, request)

    def _answered(self, answer: Event) -> None:
        connection = self._waiting.pop(answer["id"], None)
        if connection is not None:
            try:
                connection.sendall(sockets.line(answer))
            except OSError:
                pass

    # -- signals -------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def interrupt(_signal: int, _frame: object) -> None:
            self._interrupts += 1

        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Tail:
    """The new lines of a growing file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def lines(self) -> list[str]:
        """Whole lines that came since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read(1 << 20)
        except OSError:
            return []
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]


def _failure_text(event: Event) -> str:
    if event.get("component"):
        return f'"{event["component"]}" failed in {event["where"]}: {event["error"]}'
    return str(event["error"])


def _send(session: socket.socket, message: Event) -> None:
    try:
        session.sendall(sockets.line(message))
    except OSError:
        pass  # the worker is gone; its exit is an event of its own


def remove_dead_runs(folder: Path) -> None:
    """Removes what runs left whose parent was killed."""
    for run in folder.glob("*-*"):
        pid = run.name.rpartition("-")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(run, ignore_errors=True)


def running(base: Path) -> dict[str, Path]:
    """Control sockets of the runs that are alive, by topology name and pid."""
    found: dict[str, Path] = {}
    for run in sorted((base / "runs").glob("*-*")):
        name, _, pid = run.name.rpartition("-")
        if pid.isdecimal() and Path(f"/proc/{pid}").exists() and (run / "control.sock").exists():
            found[f"{name}-{pid}"] = run / "control.sock"
    return found


def ask(path: Path, request: Event, timeout_s: float) -> Event:
    """Sends one command to a run and returns its answer.

    Raises:
        TimeoutError: no answer came in time.
        OSError: the run has gone.
    """
    with sockets.connect(path, timeout_s) as connection:
        connection.sendall(sockets.line(request))
        buffer = sockets.LineBuffer()
        while data := connection.recv(1 << 16):
            for answer in buffer.feed(data):
                return answer
    raise ConnectionResetError("the run ended before it answered")


