"""The commands: `squall run`, `check`, `explain`, `dead`, `stacks`, `log-level`."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from squall.errors import SquallError

app = typer.Typer(
    name="squall",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Real-time stream processing: Storm's model, in Python, on a Rust core.\n\n"
        "Start with: squall run examples/word_count.py --for 10s"
    ),
)
dead = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Dead letters: tuples that were given up after their last try."
)
app.add_typer(dead, name="dead")

Target = Annotated[
    str,
    typer.Argument(metavar="FILE[:NAME]", help="A Python file; NAME of its Topology or function if there are several."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("-c", metavar="KEY=VALUE", help="A setting; may be repeated. All keys: docs/settings.md."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help="A parameter of the topology's function; may be repeated."),
]
TopologyName = Annotated[str, typer.Argument(metavar="TOPOLOGY", help="Name of the topology.")]


def main() -> None:
    """Runs a command and turns errors of the project into exit code 2 (wrong use) or 1."""
    from squall.cli.failures import exit_code, show

    open_standard_streams()
    try:
        app(standalone_mode=False)
    except SquallError as error:
        show(error)
        sys.exit(exit_code(error))
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except typer.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        # Wrong options come as click's own exceptions, which know how to say it.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            usage: Any = error
            usage.show()
            sys.exit(usage.exit_code)
        raise


def open_standard_streams() -> None:
    """Gives a process that was started without standard streams some that lead nowhere.

    Else a socket could get the number of standard output, and prints would go into it.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != fd:
                os.dup2(nowhere, fd)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r"))


@app.command()
def run(
    target: Target,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="Stop the sources after this long, e.g. 20s, 5m.")
    ] = None,
    drain: Annotated[
        str | None,
        typer.Option("--drain", metavar="DURATION", help="How long the rest may take after that.  [default: 30s]"),
    ] = None,
    settings: Settings = None,
    parameters: Parameters = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print events as JSON lines: started, progress each second, summary.")
    ] = False,
    summary: Annotated[
        str | None, typer.Option("--summary", metavar="FILE", help="Write the summary event to this file as JSON.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING, ERROR.  [default: INFO]")
    ] = None,
) -> None:
    """Runs a topology on this machine until its sources end, --for is over, or Ctrl-C.

    Ctrl-C stops the sources and lets everything pending end; a second one kills.

    Exit codes: 0 done, 1 the topology failed or did not drain, 2 wrong use or definition, 130 killed.

    Examples:

      squall run examples/word_count.py --for 20s

      squall run pipeline.py:orders -p region=eu -c topology.max.spout.pending=1000 --json
    """
    from squall.cli.running import run_topology

    overrides = list(settings or [])
    if log_level is not None:
        overrides.append(f"worker.log.level={log_level}")
    sys.exit(run_topology(target, list(parameters or []), overrides, for_, drain, as_json, summary))


@app.command()
def check(target: Target, settings: Settings = None, parameters: Parameters = None) -> None:
    """Validates a topology without running it, and draws its graph.

    Example: squall check examples/word_count.py
    """
    from squall.cli.checking import check_topology

    check_topology(target, list(parameters or []), list(settings or []))


@app.command()
def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The code at the end of an error message.")],
) -> None:
    """Explains an error: what happened, why, and what to do.

    Example: squall explain grouping_field_missing
    """
    from squall.cli.explaining import explain_code

    sys.exit(explain_code(code))


@app.command()
def stacks(topology: TopologyName) -> None:
    """Shows the stacks of all threads of a running topology, also while its code hangs.

    Example: squall stacks word_count
    """
    from squall.cli.commands import show_stacks

    show_stacks(topology)


@app.command("log-level")
def log_level_command(
    topology: TopologyName,
    changes: Annotated[
        list[str],
        typer.Argument(metavar="LOGGER=LEVEL[:DURATION]", help="e.g. squall.user.count=DEBUG:30s or root=INFO"),
    ],
) -> None:
    """Changes log levels of a running topology, for a while if a duration is given.

    Example: squall log-level word_count root=DEBUG:30s
    """
    from squall.cli.commands import change_levels

    change_levels(topology, changes)


@dead.command("list")
def dead_list(
    topology: TopologyName, every: Annotated[bool, typer.Option("--all", help="Replayed and dropped ones too.")] = False
) -> None:
    """Lists the dead letters of a topology."""
    from squall.cli.dead import list_letters

    list_letters(topology, every=every)


@dead.command("show")
def dead_show(topology: TopologyName, number: Annotated[int, typer.Argument(min=1)]) -> None:
    """Shows one dead letter whole: input, error, traceback."""
    from squall.cli.dead import show_letter

    show_letter(topology, number)


@dead.command("replay")
def dead_replay(
    topology: TopologyName,
    numbers: Annotated[list[int] | None, typer.Argument(min=1, help="Which ones; all open ones if left out.")] = None,
) -> None:
    """Emits dead letters' roots again: at once if the topology runs, else at its next start."""
    from squall.cli.dead import replay_letters

    replay_letters(topology, list(numbers or []))


@dead.command("drop")
def dead_drop(topology: TopologyName, numbers: Annotated[list[int], typer.Argument(min=1)]) -> None:
    """Marks dead letters as dropped; the log keeps them."""
    from squall.cli.dead import drop_letters

    drop_letters(topology, numbers)
