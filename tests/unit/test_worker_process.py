"""A worker's process: what it is given, and what becomes of it where something goes wrong."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from squall.engines.embedded.worker_process import Wanted, WorkerProcess


def started(folder: Path, secret: bytes = b"") -> WorkerProcess:
    """A process of a worker whose topology is not there."""
    wanted = Wanted(
        file=str(folder / "topology.py"),
        name=None,
        parameters=[],
        described={"topology": "t"},
        placed={},
        settings={},
        topology_id="t-1-1",
        run_dir=folder,
        log_file=folder / "t.log",
        dead_log=folder / "dead",
        drain_s=1.0,
        stdout_fd=1,
    )
    given: dict[str, Any] = {"listeners": {}, "stdin": None, "positions": [], "ended": {}, "suspects": {}, "levels": []}
    with socket.socket(socket.AF_UNIX) as link:
        return WorkerProcess(wanted, number=1, workers=2, incarnation=1, secret=secret, link=link, **given)


def test_one_that_cannot_be_followed_is_ended_and_its_secret_was_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = secrets.token_bytes(32)
    begun: list[int] = []

    def no_descriptor_left(pid: int, _flags: int = 0) -> int:
        begun.append(pid)
        shown = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
        shown += [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        assert not any(secret.hex().encode() in text for text in shown)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", no_descriptor_left)
    opened = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Too many open files"):
        started(tmp_path, secret)
    assert not Path(f"/proc/{begun[0]}").exists()
    assert list(tmp_path.glob("group-*")) == []
    assert len(os.listdir("/proc/self/fd")) == opened


def test_one_whose_parent_died_before_it_could_ask_to_die_with_it_ends() -> None:
    code = "from squall.runtime.worker import die_with_parent; die_with_parent({}); print('lives on', flush=True)"

    def said(parent: int) -> bytes:
        return subprocess.run([sys.executable, "-c", code.format(parent)], stdout=subprocess.PIPE, check=False).stdout

    assert said(os.getpid()) == b"lives on\n"
    assert said(os.getppid()) == b""
