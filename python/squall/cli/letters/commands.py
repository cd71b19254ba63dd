"""The commands of `squall dead`, with their options."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from squall.cli.options import Parameters, Settings, TopologyName, local_dir_of

if TYPE_CHECKING:
    from squall.cli.letters.choosing import Filter

dead = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Dead letters: tuples that were given up after their last try.\n\n"
        "See what failed (list, show), mend the program, try it on the very input (debug), send it again (replay, "
        "edit), or put it away (drop). export is for other programs."
    ),
)

Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The number that `squall dead list` shows.")]
Component = Annotated[
    str | None, typer.Option("--component", metavar="NAME", help="Only letters that failed in this component.")
]
Error = Annotated[
    str | None,
    typer.Option("--error", metavar="TEXT", help="Only letters whose error has this text: a class, a part of it."),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="DURATION", help="Only letters of this last while, e.g. 10m, 2h.")
]


class State(StrEnum):
    """What became of a letter; the words of the log."""

    OPEN = "open"
    ASKED = "asked"
    RUNNING = "running"
    ACKED = "acked"
    DEAD_AGAIN = "dead_again"
    DROPPED = "dropped"


States = Annotated[
    list[State] | None,
    typer.Option("--state", metavar="STATE", help=f"Only letters in this state ({', '.join(State)}); may be repeated."),
]
Every = Annotated[bool, typer.Option("--all", help="Those that ended or were dropped, too.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show secrets, too: the values of password, token, …")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Wait = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Follow each letter to its end.  [default: on a terminal, if the topology runs]",
        show_default=False,
    ),
]


def _filter(
    component: str | None = None,
    error: str | None = None,
    since: str | None = None,
    states: Sequence[str] | None = None,
    *,
    every: bool = False,
) -> Filter:
    from squall.cli.letters.choosing import Filter, oldest_of

    return Filter(component, error, oldest_of(since), tuple(states or ()), every)


@dead.command("list")
def dead_list(
    topology: TopologyName,
    component: Component = None,
    error: Error = None,
    since: Since = None,
    state: States = None,
    every: Every = False,
    by: Annotated[
        Literal["error", "component"] | None,
        typer.Option("--by", metavar="error|component", help="Count them by that."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=0, help="Only the newest N; 0: all.  [default: 100 on a terminal]"),
    ] = None,
    reveal: Reveal = False,
    as_json: Json = False,
    settings: Settings = None,
) -> None:
    """Lists dead letters, oldest first: those that are open, asked for or running, if nothing else is said.

    States: open; asked (a replay is wanted), running (it is under way), acked (it ended well), dead again (it ended in
    the letter whose number follows), dropped.

    Examples:

      squall dead list orders --component price --since 10m

      squall dead list orders --by error
    """
    from squall.cli.letters.viewing import list_letters

    wanted = _filter(component, error, since, state, every=every)
    list_letters(local_dir_of(settings), topology, wanted, by=by, limit=limit, reveal=reveal, as_lines=as_json)


@dead.command("show")
def dead_show(
    topology: TopologyName, number: Number, reveal: Reveal = False, as_json: Json = False, settings: Settings = None
) -> None:
    """Shows one dead letter whole: input, root, error, traceback, what became of it, others of its failure.

    Values are hidden by the names of fields and of keys, as by squall tap (topology.mask.fields); the log, replays and
    exports have them. Errors and tracebacks are shown as they were raised.

    Example: squall dead show orders 3
    """
    from squall.cli.letters.viewing import show_letter

    show_letter(local_dir_of(settings), topology, number, reveal=reveal, as_lines=as_json)


@dead.command("replay")
def dead_replay(
    topology: TopologyName,
    numbers: Annotated[
        list[int] | None,
        typer.Argument(metavar="NUMBER", min=1, help="Which ones; all open ones if left out."),
    ] = None,
    component: Component = None,
    error: Error = None,
    since: Since = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Emit this value (JSON or text) instead; may be repeated."),
    ] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only show what would be emitted.")] = False,
    wait: Wait = None,
    yes: Yes = False,
    as_json: Json = False,
    settings: Settings = None,
) -> None:
    """Emits dead letters' roots again: at once if the topology runs, else at its next start.

    Followed letters are told with their outcome: acked, or dead again with the number of the new letter.

    Exit codes: 0 all well as far as it was followed, 1 a letter died again or cannot be replayed, 2 wrong use.

    Examples:

      squall dead replay orders 3 --set price=12.5 --wait

      squall dead replay orders --error TimeoutError --yes
    """
    from squall.cli.letters.replaying import Manner, replay_letters

    wanted = _filter(component, error, since, [State.OPEN])
    manner = Manner(yes, dry, wait, as_json)
    code = replay_letters(local_dir_of(settings), topology, numbers or [], wanted, changes or [], manner)
    raise typer.Exit(code)


@dead.command("edit")
def dead_edit(
    topology: TopologyName,
    number: Number,
    wait: Wait = None,
    yes: Yes = False,
    as_json: Json = False,
    settings: Settings = None,
) -> None:
    """Opens a letter's root in $EDITOR and replays it with the values that were saved; the letter itself stays.

    Example: squall dead edit orders 3
    """
    from squall.cli.letters.replaying import Manner, edit_letter

    manner = Manner(yes, wait=wait, as_lines=as_json)
    raise typer.Exit(edit_letter(local_dir_of(settings), topology, number, manner))


@dead.command("drop")
def dead_drop(
    topology: TopologyName,
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="NUMBER", min=1, help="Which ones, if no filter says it.")
    ] = None,
    component: Component = None,
    error: Error = None,
    since: Since = None,
    all_open: Annotated[bool, typer.Option("--all-open", help="Every open one.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    settings: Settings = None,
) -> None:
    """Marks dead letters as dropped; the log keeps them.

    Examples:

      squall dead drop orders 3 4

      squall dead drop orders --error "no such customer"
    """
    from squall.cli.letters.replaying import drop_letters

    is_filtered = any((component, error, since, all_open))
    wanted = _filter(component, error, since, [State.OPEN] if is_filtered else None)
    drop_letters(local_dir_of(settings), topology, numbers or [], wanted, yes=yes, as_lines=as_json)


@dead.command("export")
def dead_export(
    topology: TopologyName,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write; standard output if left out.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="jsonl|csv", help="[default: jsonl, or csv for FILE.csv]")
    ] = None,
    component: Component = None,
    error: Error = None,
    since: Since = None,
    state: States = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only open ones; the same as --state open.")] = False,
    settings: Settings = None,
) -> None:
    """Writes dead letters for other programs, all states if nothing else is said; values in the words of JSON.

    What JSON has no word for is {"$": type, "v": value}.

    Examples:

      squall dead export orders --open | jq .input

      squall dead export orders letters.csv
    """
    from squall.cli.letters.exporting import export_letters

    states = [*(state or []), State.OPEN] if only_open else state
    wanted = _filter(component, error, since, states, every=not states)
    export_letters(local_dir_of(settings), topology, wanted, file, format_)


@dead.command("debug")
def dead_debug(
    topology: TopologyName,
    number: Number,
    target: Annotated[
        str | None,
        typer.Argument(metavar="FILE[:NAME]", help="The topology's file; that of the letter's run if left out."),
    ] = None,
    step: Annotated[
        bool, typer.Option("--step/--post-mortem", help="Stop at the first line, or where it raises (the default).")
    ] = False,
    parameters: Parameters = None,
    settings: Settings = None,
) -> None:
    """Runs the component where a letter failed on the recorded input, under Python's debugger.

    The component is made and opened anew, so what it had kept from earlier tuples is not there. Only its code runs;
    what it would emit is shown, not sent. What its code does elsewhere is done: a sink writes the row.

    Examples:

      squall dead debug orders 3

      squall dead debug orders 3 mended.py --step
    """
    from squall.cli.letters.debugging import debug_letter

    code = debug_letter(local_dir_of(settings), topology, number, target, parameters, settings or [], step=step)
    raise typer.Exit(code)
