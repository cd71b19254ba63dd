"""Servers by hand: `python -m servers start kafka redis`, from `tests`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from servers import KINDS, installing
from servers.java import JavaServer
from servers.server import Server


def install(names: Sequence[str]) -> None:
    """Installs what is missing of these, packages of the system all at once."""
    wanted: dict[str, str] = {}
    for name in names:
        wanted |= KINDS[name].missing()
    installing.packages(wanted)
    for name in names:
        KINDS[name].install()


def start(names: Sequence[str], folder: Path | None) -> None:
    """Runs servers until it is interrupted."""
    with contextlib.ExitStack() as running:
        for name in names:
            print(f"{KINDS[name].title}: starting …", flush=True)
            server = running.enter_context(KINDS[name](folder and folder / name))
            print(f"{server.title}: {told(server)}", flush=True)
        print("Ctrl-C ends it." if len(names) == 1 else "Ctrl-C ends them.", flush=True)
        while True:
            signal.pause()


def told(server: Server) -> str:
    """Where it is, as somebody types it."""
    facts = {"at": server.address}
    for fact in ("url", "sasl_address", "user", "password"):
        if value := getattr(server, fact, None):
            facts[fact] = value
    return "  ".join(f"{name} {value}" for name, value in facts.items())


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in {
        "install": "installs servers",
        "start": "runs servers until it is interrupted",
        "list": "which there are",
        "learn": "runs servers in Java once, for a quick start of others",
        "lock": "writes the checksums of archives anew",
    }.items():
        command = commands.add_parser(name, help=what, description=what)
        if name != "list":
            command.add_argument("names", nargs="+", choices=[*KINDS], metavar="SERVER", help=", ".join(KINDS))
        if name == "start":
            command.add_argument("--folder", type=Path, help="keeps the data here (without it: nowhere)")
    options = parser.parse_args()
    try:
        match options.command:
            case "install":
                install(options.names)
            case "start":
                signal.signal(signal.SIGTERM, signal.default_int_handler)
                with contextlib.suppress(KeyboardInterrupt):
                    start(options.names, options.folder)
            case "learn":
                for name in options.names:
                    if issubclass(kind := KINDS[name], JavaServer):
                        kind.learn()
            case "lock":
                for name in options.names:
                    installing.lock(name)
            case _:
                for name, kind in KINDS.items():
                    print(f"{name:12} {kind.title:28} {'' if kind.is_installed() else 'not '}installed")
    except (RuntimeError, TimeoutError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
