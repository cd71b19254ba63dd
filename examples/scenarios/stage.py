"""What the scenarios have in common: real servers, a run of squall beside them, and lines that tell what goes on."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))  # the servers are those of the tests

from servers import Kafka, Postgresql, Server, free_ports  # noqa: E402

__all__ = ["Kafka", "Postgresql", "Run", "Stage", "free_port"]

_S = TypeVar("_S", bound=Server)
PR_SET_PDEATHSIG = 1


class Stage:
    """Where a scenario plays; a context manager that ends all that it started."""

    def __init__(self) -> None:
        self._began_s, self._left = time.monotonic(), ExitStack()
        self.is_right = True

    def __enter__(self) -> Self:
        self.folder = Path(self._left.enter_context(tempfile.TemporaryDirectory(prefix="squall-scenario-")))
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.close()

    def say(self, text: str) -> None:
        """A line with the time since the beginning."""
        print(f"[{time.monotonic() - self._began_s:6.1f} s] {text}", flush=True)

    def server(self, kind: type[_S]) -> _S:
        """Installs a server if it is missing, and starts it."""
        if not kind.is_installed():
            self.say(f"installing {kind.title} …")
            kind.install()
        self.say(f"starting {kind.title} …")
        server = self._left.enter_context(kind())
        self.say(f"{kind.title} is at {server.address}")
        return server

    def run(self, file: str, **parameters: object) -> Run:
        """Starts `squall run` on a file of this folder."""
        run = Run(HERE / file, self.folder, {name: str(value) for name, value in parameters.items()})
        self._left.callback(run.kill)
        run.until(lambda: run.progress, "its first report")
        self.say(f"squall runs {file}, process {run.process.pid}")
        return run

    def squall(self, *words: str, lines: int = 12) -> str:
        """Runs a command against the run, and shows it as one would see it."""
        print(f"\n$ squall {' '.join(words)}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "squall.cli", *words],
            env=environment(self.folder), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        shown = (done.stdout + done.stderr).splitlines()
        print("\n".join(shown[:lines] + (["…"] if len(shown) > lines else [])) + "\n", flush=True)
        return done.stdout

    def check(self, what: str, wanted: object, got: object) -> None:
        """Says whether something is as it should be."""
        is_equal = wanted == got
        self.is_right &= is_equal
        self.say(f"{'right' if is_equal else 'WRONG'}: {what}" + ("" if is_equal else f": {got}, not {wanted}"))


class Run:
    """A `squall run` in a process of its own."""

    def __init__(self, file: Path, folder: Path, parameters: dict[str, str]) -> None:
        self._folder = folder
        self._events, self._log, self.summary_file = folder / "events", folder / "log", folder / "summary"
        given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        options = ["--json", "--summary", str(self.summary_file), "--drain", "60s"]
        with self._events.open("wb") as events, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "squall.cli", "run", str(file), *given, *options],
                env=environment(folder), stdout=events, stderr=log, start_new_session=True, preexec_fn=_die_with_us,
            )  # fmt: skip

    @property
    def progress(self) -> dict[str, Any]:
        """The newest report; empty if there is none yet."""
        lines = self._events.read_bytes().rpartition(b"\n")[0].splitlines()
        events = (json.loads(line) for line in reversed(lines))
        return next((event for event in events if event["event"] == "progress"), {})

    @property
    def log(self) -> str:
        """What its components have logged."""
        return "".join(path.read_text() for path in (self._folder / "state" / "logs").glob("*.log"))

    def until(self, condition: Callable[[], Any], what: str, within_s: float = 60.0) -> Any:
        """Waits for something while it runs.

        Raises:
            RuntimeError: it ended.
            TimeoutError: that did not come.
        """
        deadline_s = time.monotonic() + within_s
        while not (found := condition()):
            if self.process.poll() is not None:
                raise RuntimeError(f"squall ended before {what}:\n{self._log.read_text()}")
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{what} did not come within {within_s:.0f} s; {self.progress}")
            time.sleep(0.1)
        return found

    def stop(self) -> dict[str, Any]:
        """Ends it as Ctrl-C does: sources stop, what is pending ends. Its summary."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(90)
        return json.loads(self.summary_file.read_text())

    def kill(self) -> None:
        """Ends it at once, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def environment(folder: Path) -> dict[str, str]:
    """With a state folder of the scenario's own."""
    return os.environ | {"SQUALL_STORM_LOCAL_DIR": str(folder / "state")}


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]


def _die_with_us() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
