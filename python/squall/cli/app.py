"""The commands: `squall new`, `run`, `check`, `explain`, `top`, `ps`, `metrics`, `feed`, …; `dead` has a folder."""

from __future__ import annotations

import errno
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from squall.cli.feeding.command import feed
from squall.cli.kafka import kafka
from squall.cli.letters.commands import dead
from squall.cli.options import Parameters, Settings, Target, TopologyName, Workers, local_dir_of
from squall.errors import SquallError

EXIT_KILLED = 130
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What a write to standard output may meet, beside a reader that is gone."""

app = typer.Typer(
    name="squall",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Real-time stream processing: Storm's model, in Python, on a Rust core.\n\nStart with: squall new my-topology"
    ),
)
app.add_typer(dead, name="dead")
app.add_typer(kafka, name="kafka")


def main() -> None:
    """Runs the command of this process."""
    from squall.cli.streams import open_standard_streams

    open_standard_streams()
    sys.exit(exit_code_of(sys.argv[1:]))


def exit_code_of(arguments: list[str]) -> int:
    """Runs a command; a reader of its output that is gone is no error, an output that takes no more is one."""
    from squall.cli.failures import EXIT_FAILED, output_unwritable, show
    from squall.cli.streams import lead_output_nowhere

    try:
        code = _done(arguments)
        if not sys.stdout.closed:  # by user code
            sys.stdout.flush()
    except BrokenPipeError:
        lead_output_nowhere()
        return 0
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS:
            raise
        lead_output_nowhere()
        show(output_unwritable(error))
        return EXIT_FAILED
    return code


@cache
def tree() -> Any:
    """All commands as Click takes them. Made once a process: it takes longer than most refusals."""
    return typer.main.get_command(app)


def _done(arguments: list[str]) -> int:
    """Runs a command and turns errors of the project into 2 (wrong use) or 1, an interrupt into 130.

    Not by Typer's own `main`, which has other numbers for interrupts and broken pipes.
    """
    from squall.cli.failures import EXIT_USAGE, exit_code, show, wrong_use

    command = tree()
    try:
        with command.make_context(app.info.name, arguments) as context:
            try:
                command.invoke(context)
            except SquallError as error:
                show(error, context.meta.get("settings", ()))
                return exit_code(error)
        return 0
    except typer.Exit as done:
        return done.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return EXIT_KILLED
    except Exception as error:
        # Wrong options come as click's own exceptions.
        if not hasattr(error, "show") or not hasattr(error, "format_message"):
            raise
        usage: Any = error
        if type(usage).__name__ == "NoArgsIsHelpError":
            with suppress(OSError):
                usage.show()
            return EXIT_USAGE
        show(wrong_use(usage))
        return EXIT_USAGE


def _show_version(asked: bool) -> None:
    if asked:
        from squall import _core

        typer.echo(f"squall {_core.BUILD['version']}")
        raise typer.Exit


@app.callback()
def squall(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Only its options are of use: each command stands below."""


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
    workers: Workers = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print events as JSON lines: started, worker (its changes), progress each second, summary.",
        ),
    ] = False,
    summary: Annotated[
        str | None, typer.Option("--summary", metavar="FILE", help="Write the summary event to this file as JSON.")
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Forget where the sources of an interrupted run stopped.")
    ] = False,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING, ERROR.  [default: INFO]")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="FORMAT", help="text, or json: one object a line.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            "--metrics-port",
            metavar="[HOST:]PORT",
            help="Serve Prometheus metrics, on 127.0.0.1 if no host is given; port 0 is any that is free.",
        ),
    ] = None,
    otel: Annotated[
        bool, typer.Option("--otel", help="Push metrics by OTLP over HTTP, as OTEL_EXPORTER_OTLP_ENDPOINT etc. say.")
    ] = False,
) -> None:
    """Runs a topology on this machine until its sources end, --for is over, or Ctrl-C.

    A worker that dies is replaced, and what it had not ended is sent again. Ctrl-C stops the sources and lets
    everything pending end; a second one kills. The next run goes on where the sources of this one stopped, if they have
    positions (files do); --from-start forgets that.

    Exit codes: 0 done, 1 the topology failed or did not drain, 2 wrong use or definition, 130 killed.

    Examples:

      squall run examples/word_count.py --for 20s

      squall run shop.py:orders -p region=eu -c topology.max.spout.pending=1000 --json

      squall run examples/word_count.py -w 4

      zcat orders.gz | squall run shop.py

      squall run examples/word_count.py --metrics 9100 --log-format json
    """
    from squall.cli.running import Asked, run_topology

    asked = Asked(
        target=target,
        parameters=parameters or [],
        settings=settings or [],
        for_=for_,
        drain=drain,
        as_json=as_json,
        summary=summary,
        log_level=log_level,
        from_start=from_start,
        log_format=log_format,
        metrics=metrics,
        otel=otel,
        workers=workers,
    )
    raise typer.Exit(run_topology(asked))


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; it may be there if it is empty.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the topology.  [default: the folder's]")
    ] = None,
) -> None:
    """Makes a project to begin from: a small topology that runs, its tests, settings, a Dockerfile.

    Example: squall new warm-rooms
    """
    from squall.cli.creating import new_project

    new_project(folder, name)


@app.command()
def check(target: Target, settings: Settings = None, parameters: Parameters = None, workers: Workers = None) -> None:
    """Validates a topology without running it, draws its graph, and shows which worker runs which tasks.

    Examples:

      squall check examples/word_count.py

      squall check examples/word_count.py -w 2
    """
    from squall.cli.checking import check_topology

    check_topology(target, list(parameters or []), list(settings or []), workers)


app.command()(feed)


@app.command()
def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The code at the end of an error message.")],
) -> None:
    """Explains an error: what happened, why, and what to do.

    Example: squall explain grouping_field_missing
    """
    from squall.cli.explaining import explain_code

    explain_code(code)


@app.command()
def top(
    topology: Annotated[
        str | None, typer.Argument(metavar="[TOPOLOGY]", help="Its name; not needed if only one is running.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one screen as text and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print its events as JSON lines, as `squall run --json` does.")
    ] = False,
    settings: Settings = None,
) -> None:
    """Shows a topology that runs in another terminal: rates on its graph, who holds up whom, latencies, errors.

    Keys: q leaves, ? tells the others. The topology goes on.

    Examples:

      squall top

      squall top word-count --once
    """
    from squall.cli.top import show

    raise typer.Exit(show(local_dir_of(settings), topology, once=once, as_json=as_json))


@app.command()
def ps(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    settings: Settings = None,
) -> None:
    """Lists the topologies that are running here, with their rates.

    Example: squall ps
    """
    from squall.cli.top import show_running

    show_running(local_dir_of(settings), as_json=as_json)


@app.command()
def stacks(topology: TopologyName, settings: Settings = None) -> None:
    """Shows the stacks of all threads of a running topology, also while its code hangs.

    Example: squall stacks word-count
    """
    from squall.cli.commands import show_stacks

    show_stacks(local_dir_of(settings), topology)


@app.command("log-level")
def log_level_command(
    topology: TopologyName,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LOGGER=LEVEL[:DURATION]",
            help="e.g. squall.user.count=DEBUG:30s or root=INFO; LOGGER= undoes; without any the levels are shown.",
        ),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Undo all changes first.")] = False,
    settings: Settings = None,
) -> None:
    """Shows or changes log levels of a running topology, for a while if a duration is given.

    Examples:

      squall log-level word-count

      squall log-level word-count root=DEBUG:30s

      squall log-level word-count --reset
    """
    from squall.cli.log_levels import levels

    levels(local_dir_of(settings), topology, changes or [], reset=reset)


@app.command()
def metrics(
    topology: Annotated[
        str | None, typer.Argument(metavar="[TOPOLOGY]", help="Its name; not needed if only one is running.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The newest progress event, as `squall run --json`.")] = False,
    as_prometheus: Annotated[bool, typer.Option("--prometheus", help="The text that Prometheus reads.")] = False,
    settings: Settings = None,
) -> None:
    """Prints the metrics of a running topology once; it needs no port for it, and answers while its code hangs.

    Examples:

      squall metrics

      squall metrics word-count --prometheus
    """
    from squall.cli.metrics import show

    show(local_dir_of(settings), topology, as_json=as_json, as_prometheus=as_prometheus)


@app.command()
def connectors(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them, shown whole.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print only the example of NAME, to be run.")] = False,
) -> None:
    """Shows what there is to read from and to write to: what each connector promises, needs, and whether that is there.

    Examples:

      squall connectors

      squall connectors KafkaSpout

      squall connectors TcpSpout --example > my.py
    """
    from squall.cli.connectors import show_all, show_one

    if name is None:
        if example:
            raise typer.BadParameter("name the connector whose example is wanted", param_hint="--example")
        show_all(as_json=as_json)
    else:
        show_one(name, as_json=as_json, example_only=example)


@app.command()
def tap(
    edge: Annotated[
        str, typer.Argument(metavar="COMPONENT[:STREAM]", help="Whose tuples; all of its streams if none is named.")
    ],
    topology: Annotated[
        str | None,
        typer.Option("--topology", "-t", metavar="TOPOLOGY", help="Which topology, if several run here."),
    ] = None,
    ratio: Annotated[
        float, typer.Option("--ratio", metavar="SHARE", min=1e-9, max=1, help="Share of the tuples, taken at random.")
    ] = 1.0,
    where: Annotated[
        str | None, typer.Option("--where", metavar="EXPRESSION", help="Only tuples whose fields fit, as in Python.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="End after this many tuples.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print tuples as JSON lines.")] = False,
    settings: Settings = None,
) -> None:
    """Shows the tuples that a component of a running topology emits, live, until Ctrl-C or its end.

    Nothing has to be prepared for it, and it costs nothing when it is off. Passwords, tokens and the like are hidden
    by the names of fields and of keys (topology.mask.fields). At most 1,000 tuples a second are shown.

    --where takes comparisons, and, or, not, in, arithmetic, x[key], len, str, int, float, abs, round, min, max, and
    methods of texts: startswith, endswith, lower, upper, strip, find, isdigit; get of a dict.

    Examples:

      squall tap count

      squall tap count --where "failures > 2 and user.startswith('a')" --limit 10

      squall tap parse:late -t logins --ratio 0.01 --json
    """
    from squall.cli.tapping import Wanted, show_tuples

    component, _, stream = edge.partition(":")
    wanted = Wanted(component, stream or None, ratio, where, limit, as_text=not as_json)
    show_tuples(local_dir_of(settings), topology, wanted, as_json=as_json)
