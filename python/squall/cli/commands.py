"""Commands to a running topology, through its control socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from squall.engines.embedded.runs import ask, running, stopped_process, topology_of
from squall.errors import ClusterError, ConfigError, Defect

ANSWER_WITHIN_S = 10.0


def control_socket(base: Path, topology: str) -> Path:
    """The control socket of the one run of a topology.

    Raises:
        ClusterError: `not_running`, or `running_twice`.
    """
    alive = running(base)
    found = [path for key, path in alive.items() if topology in (key, topology_of(key))]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(key for key in alive if topology_of(key) == topology)
        message = f'"{topology}" is running {len(found)} times'
        raise ClusterError(Defect("running_twice", message, (("running", names),), "name one of these"))
    names = ", ".join(alive) or "nothing"
    fix = "start it with squall run; storm.local.dir must be the same (-c)"
    raise ClusterError(
        Defect("not_running", f'"{topology}" is not running here', (("running", names),), fix), retryable=True
    )


def chosen(base: Path, topology: str | None, how: str) -> str:
    """The topology that is meant: the one that runs, if none is named.

    Args:
        how: one is named.

    Raises:
        ClusterError: `not_running`, or `running_several`.
    """
    if topology is not None:
        return topology
    alive = sorted(running(base))
    if len(alive) == 1:
        return topology_of(alive[0])
    if alive:
        facts = (("running", ", ".join(alive)),)
        raise ClusterError(Defect("running_several", f"{len(alive)} topologies are running here", facts, how))
    fix = "start one with squall run; storm.local.dir must be the same (-c)"
    raise ClusterError(Defect("not_running", "no topology is running here", (), fix), retryable=True)


def command(base: Path, topology: str, request: dict[str, Any]) -> dict[str, Any]:
    """Asks a running topology.

    Raises:
        ClusterError: it does not run, does not answer, or refuses the command.
    """
    path = control_socket(base, topology)
    try:
        answer = ask(path, request, ANSWER_WITHIN_S)
    except OSError as error:
        raise no_answer(topology, path, str(error) or type(error).__name__) from error
    return checked(topology, path, answer)


def checked(topology: str, path: Path, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of a running topology, if it is one.

    Args:
        path: its control socket.

    Raises:
        ClusterError: it was too busy, or refused the command.
        ConfigError: what it says that is wrong with the command.
    """
    if (busy_with := answer.get("busy_with")) is not None:
        where = f"it is busy in {_quoted(busy_with)}" if busy_with else "it is busy"
        raise no_answer(topology, path, where)
    if defects := answer.get("defects"):
        told = [_defect(**one) for one in defects]
        raise ClusterError(*told) if told[0].code == "tap_limit" else ConfigError(*told)
    if because := answer.get("error"):
        fix = "shorten it, or use the squall that the topology was started with"
        message = f'"{topology}" refused a command'
        raise ClusterError(Defect("command_refused", message, (("because", because),), fix))
    return answer


def no_answer(topology: str, path: Path, because: str) -> ClusterError:
    """The error of a command that the topology has not answered.

    Args:
        path: its control socket.
    """
    fix = "see what holds it up: squall stacks " + topology
    if (pid := stopped_process(path.parent.name)) is not None:
        because, fix = f"its process {pid} is stopped", f"let it go on: kill -CONT {pid}"
    message = f'"{topology}" did not answer in time'
    return ClusterError(Defect("no_answer", message, (("because", because),), fix), retryable=True)


def _defect(code: str, message: str, facts: list[list[str]], fix: str) -> Defect:
    """A defect that came over a socket."""
    return Defect(code, message, tuple((name, value) for name, value in facts), fix)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def show_stacks(base: Path, topology: str) -> None:
    """Prints the stacks of all threads."""
    typer.echo(command(base, topology, {"cmd": "stacks"})["stacks"])
