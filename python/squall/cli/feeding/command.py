"""`squall feed` as the command line takes it."""

from __future__ import annotations

from typing import Annotated

import typer


def feed(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The receiver: HOST:PORT, or unix:PATH.")],
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files; .gz is unpacked; - is standard input.")],
    framing: Annotated[
        str, typer.Option(metavar="HOW", help="lines, delimiter:HEX, fixed:SIZE, length:BYTES[:little].")
    ] = "lines",
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.001, max=1e9, help="At most so many records a second.", show_default=False),
    ] = None,
    repeat: Annotated[int, typer.Option(metavar="N", min=0, help="Send everything so often; 0: for ever.")] = 1,
    connections: Annotated[
        int, typer.Option(metavar="N", min=1, max=1024, help="Over so many connections; order is kept on each.")
    ] = 1,
    skip: Annotated[int, typer.Option(metavar="N", min=0, help="Leave out the first records: go on from there.")] = 0,
    no_receipts: Annotated[
        bool, typer.Option("--no-receipts", help="The receiver sends none; what a break finds on its way is lost.")
    ] = False,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS, with the certificates that the system trusts.")] = False,
    ca: Annotated[str | None, typer.Option(metavar="FILE", help="Certificates to trust instead (TLS).")] = None,
    cert: Annotated[str | None, typer.Option(metavar="FILE", help="A certificate of your own (TLS).")] = None,
    key: Annotated[str | None, typer.Option(metavar="FILE", help="Its key, if that is in a file of its own.")] = None,
    server_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whom the certificate must be for, if not the address's host.")
    ] = None,
    give_up_after: Annotated[
        str, typer.Option(metavar="DURATION", help="How long there may be no connection, e.g. 10s, never.")
    ] = "1m",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but what goes wrong.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: progress each second, summary.")] = False,
) -> None:
    """Sends the records of files to a topology's TCP source, and waits until all are processed.

    The receiver sends receipts (TcpSpout.listen with receipts="processed"): what is not receipted when a connection
    breaks is sent again, so nothing is lost, and some records may arrive twice. Ctrl-C tells what was receipted, and
    the command that goes on from there.

    Exit codes: 0 everything is receipted, 1 it is not, 2 wrong use, 130 interrupted.

    Examples:

      squall feed 127.0.0.1:9999 words.txt

      squall feed feeds.example.org:9999 --tls orders.jsonl.gz --rate 5000 --connections 4

      squall feed unix:/run/feed.sock --framing fixed:883 captured.bin --repeat 100

      squall feed 127.0.0.1:9999 - --no-receipts
    """
    from squall.cli.feeding.feed import Feed
    from squall.cli.feeding.feed import feed as feed_files

    receipts = not no_receipts
    options = (framing, rate, repeat, connections, skip, receipts, tls, ca, cert, key, server_name, give_up_after)
    feed_files(Feed(address, files, *options, quiet=quiet, as_json=as_json))
