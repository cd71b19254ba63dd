"""The main job: `squall run examples/word_count.py` with a feeder in a process of its own, and a check at the end.

Usage: python run_word_count.py [--for 20s]     Ctrl-C stops the feeder, drains and ends; a second one kills.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from squall.model.durations import parse_duration

HERE = Path(__file__).parent
KILLED = 130
PR_SET_PDEATHSIG = 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent() -> None:
    """Has the kernel kill this process when the one that started it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(*command: object, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Starts Python in a session of its own, so that Ctrl-C comes to this process first."""
    arguments = [sys.executable, *map(str, command)]
    return subprocess.Popen(arguments, stdout=stdout, start_new_session=True, preexec_fn=die_with_parent)


class MainJob:
    """The feeder and the run."""

    def __init__(self, summary: Path) -> None:
        self.summary = summary
        self.interrupts = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.interrupted)
        address = f"127.0.0.1:{free_port()}"
        options = ["-p", f"address={address}", "--summary", summary]
        self.run = start("-m", "squall.cli", "run", HERE / "word_count.py", *options)
        self.feeder = start(HERE / "feeder.py", address, "--for", "365d", stdout=subprocess.PIPE)

    def interrupted(self, *_: object) -> None:
        self.interrupts += 1
        if self.interrupts > 1:
            for process in (self.feeder, self.run):
                process.kill()

    def __call__(self, for_s: float) -> int:
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline and self.run.poll() is None and not self.interrupts:
            time.sleep(0.05)
        if self.run.poll() is not None:
            return self.run.returncode or 1
        self.feeder.terminate()  # it ends its line and waits until the topology has taken everything
        sent = self.feeder.communicate()[0]
        self.run.send_signal(signal.SIGINT)
        code = self.run.wait()
        if self.interrupts > 1:
            return KILLED
        return code or self.compare(json.loads(sent)["words"])

    def compare(self, sent: int) -> int:
        counted = json.loads(self.summary.read_text())["components"]["count"]["executed"]
        print(f"words sent {sent:,}, words counted {counted:,}: {'equal' if sent == counted else 'DIFFERENT'}")
        return 0 if sent == counted else 1

    def close(self) -> None:
        for process in (self.feeder, self.run):
            if process.poll() is None:
                process.kill()
                process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="for_s", type=parse_duration, default="20s", metavar="DURATION")
    for_s = parser.parse_args().for_s
    with tempfile.TemporaryDirectory() as folder:
        job = MainJob(Path(folder) / "summary.json")
        try:
            return job(for_s)
        finally:
            job.close()


if __name__ == "__main__":
    sys.exit(main())
