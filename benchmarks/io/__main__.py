"""What it costs to reach the outside: `python -m benchmarks.io [--quick] [--json]`.

Starts a broker and a database of its own, which `make servers` has installed, and ends them. Without `--quick` the
results go into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))  # the room of the servers

from servers import Kafka, Postgresql

from benchmarks.io import kafka, report, rows
from benchmarks.io.kafka import BARE, BYTEWAX, FAUST, PEERS_PYTHON, QUIX, SQUALL, say


class Broker(Kafka):
    """A broker whose code is compiled as well as it can be."""

    compiling = ()


def measure(*, quick: bool) -> report.Results:
    """Everything."""
    if not (PEERS_PYTHON.exists() and Broker.is_installed() and Postgresql.is_installed()):
        raise SystemExit("Kafka, PostgreSQL or the peers are not installed; fix: make servers")
    clients = (BARE, SQUALL, BYTEWAX, QUIX) if quick else (BARE, SQUALL, BYTEWAX, QUIX, FAUST)
    records, rounds, pairs, count = (200_000, 3, 5, 40_000) if quick else (500_000, 7, 11, 100_000)
    say("[1/3] Kafka → count words → Kafka …")
    with Broker() as broker:
        compared = kafka.compare(broker, clients, records, rounds)
    say("[2/3] sentences → count words → PostgreSQL …")
    with Postgresql() as database:
        sinks = {"sql_cpu_ratio": rows.sql(database, count, pairs)}
        if not quick:
            sinks["sql_one_by_one"] = rows.sql(database, count, 3, rows.one_by_one)
    say("[3/3] sentences → count words → a file …")
    sinks["file_cpu_ratio"] = rows.files(count, pairs)
    if not quick:
        sinks["file_no_work"] = rows.files(count, pairs, works=False)
    return report.Results(clients, compared, sinks)


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.io", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs, under 55 s; writes nothing")
    parser.add_argument("--json", action="store_true", help="print the ratios as one JSON object")
    options = parser.parse_args()
    results = measure(quick=options.quick)
    for name, must in report.MUSTS.items():
        say(f"{name:24} {results.ratios()[name]:6.2f}  must {must}")
    if not options.quick:
        report.write(results)
        say("wrote docs/benchmarks.md")
    if options.json:
        print(json.dumps(results.ratios()))


if __name__ == "__main__":
    main()
