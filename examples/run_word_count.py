"""The main job: `squall run examples/word_count.py` with a feeder in a process of its own, and a check at the end.

Usage: python run_word_count.py [--for 20s]     Ctrl-C stops the feeder, drains and ends; a second one kills.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from squall.config.durations import parse_duration

HERE = Path(__file__).parent
KILLED = 130


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class MainJob:
    """The feeder and the run, each in a session of its own, so that Ctrl-C comes here first."""

    def __init__(self, summary: Path) -> None:
        address = free_address()
        self.interrupts = 0
        self.summary = summary
        signal.signal(signal.SIGINT, self.interrupted)
        command = ["run", str(HERE / "word_count.py"), "-p", f"address={address}", "--summary", str(summary)]
        self.run = subprocess.Popen([sys.executable, "-m", "squall.cli", *command], start_new_session=True)
        self.feeder = subprocess.Popen(
            [sys.executable, str(HERE / "feeder.py"), address, "--for", "365d"],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

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
    with tempfile.TemporaryDirectory() as folder:
        job = MainJob(Path(folder) / "summary.json")
        try:
            return job(parser.parse_args().for_s)
        finally:
            job.close()


if __name__ == "__main__":
    sys.exit(main())
