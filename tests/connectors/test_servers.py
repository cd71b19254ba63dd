"""The servers that tests run against keep what they confirmed, stand still when told, and end with their owners."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import Redis, free_ports, installing

TESTS = Path(__file__).parents[1]
WITHIN_S = 20.0


def said(port: int, command: str, within_s: float = 5.0) -> str:
    """What Redis answers to a command."""
    with socket.create_connection(("127.0.0.1", port), within_s) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(100).decode().strip()


def is_served(port: int) -> bool:
    try:
        return said(port, "PING") == "+PONG"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def started(code: str) -> tuple[subprocess.Popen[str], int]:
    """A process that owns or shares a Redis, and the port that it told."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_what_a_server_confirmed_outlives_its_kill(own_redis: Redis) -> None:
    assert said(own_redis.port, "SET word 7") == "+OK"
    own_redis.kill()
    assert not is_served(own_redis.port)
    own_redis.start()
    assert said(own_redis.port, "GET word").split() == ["$1", "7"]


def test_a_suspended_server_takes_connections_and_answers_later(own_redis: Redis) -> None:
    own_redis.suspend()
    with pytest.raises(TimeoutError):
        said(own_redis.port, "PING", within_s=0.3)
    own_redis.resume()
    assert said(own_redis.port, "PING") == "+PONG"


def test_a_server_ends_with_its_owner_also_when_that_is_killed() -> None:
    owner, port = started("from servers import Redis\nwith Redis() as r:\n print(r.port, flush=True)\n input()")
    assert is_served(port)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_until(lambda: not is_served(port))


def test_processes_of_a_session_share_one_server_until_the_last_is_killed() -> None:
    code = (
        "from servers import Redis\nfrom servers.shared import Shared\n"
        f"shared = Shared('test-{free_ports(1)[0]}')\nprint(shared.ask(Redis).port, flush=True)\ninput()"
    )
    first, port = started(code)
    second, same = started(code)
    assert port == same
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert is_served(port)
    second.send_signal(signal.SIGKILL)
    second.wait()
    wait_until(lambda: not is_served(port))


def test_archives_that_are_not_those_of_the_list_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    for name in ("same.jar", "other.jar", "unknown.jar"):
        (fetched / name).write_text(name)
    listed = {"same.jar": installing.sha256(fetched / "same.jar"), "other.jar": "0" * 64, "missing.jar": "0" * 64}
    (tmp_path / "kind.sha256").write_text("".join(f"{digest}  {name}\n" for name, digest in listed.items()))
    monkeypatch.setattr(installing, "LOCKS", tmp_path)
    with pytest.raises(RuntimeError, match=r"missing\.jar, other\.jar, unknown\.jar"):
        installing.check("kind", fetched)
