"""A CSV with bad rows into Parquet: clean rows go to folders by country and day, bad ones to a file with the reason.

    $ squall run examples/csv_to_parquet.py        # -p input=FILE -p output=FOLDER
    invalid literal for int() with base 10: 'n/a'    1004,2025-03-01,IT,lamp,n/a,24.90
    Invalid isoformat string: '02.03.2025'    1007,02.03.2025,DE,desk,1,189.00
    no country    1010,2025-03-02,,lamp,1,24.90
    quantity -1    1012,2025-03-03,DE,desk,-1,189.00
    3 columns instead of 6    1013,2025-03-03,FR

Without another folder it writes `squall-sales` in the one for temporary files: `clean`, with a Parquet file for each
country and day, which tools read as one table, and `rejected.csv`. Files appear whole, and a row is acked when it is on
disk: the run may be killed at any time, and what was acked is there.

Shows fields in a sink's path, a schema, two outputs of a function, and that a row that fails is no reason to stop.
"""

import csv
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

from squall import Emit, Topology
from squall.connectors.files import Csv, FileSink, Parquet, Rotation
from squall.connectors.standard import Print

SALES = Path(__file__).parent / "data" / "sales.csv"
OUTPUT = Path(gettempdir()) / "squall-sales"
COLUMNS = {"order": int, "product": str, "quantity": "int32", "price": Decimal}  # country and day are in the path


class Sale(NamedTuple):
    order: int
    day: date
    country: str
    product: str
    quantity: int
    price: Decimal


def rows(input: Path) -> Iterator[tuple[list[str]]]:
    with input.open(encoding="utf-8", newline="") as text:
        for row in list(csv.reader(text))[1:]:
            yield (row,)


def sale_of(row: list[str]) -> Sale:
    if len(row) != len(Sale._fields):
        raise ValueError(f"{len(row)} columns instead of {len(Sale._fields)}")
    order, day, country, product, quantity, price = (value.strip() for value in row)
    if not country:
        raise ValueError("no country")
    if int(quantity) < 1:
        raise ValueError(f"quantity {quantity}")
    amount = Decimal(price.replace(",", "."))
    return Sale(int(order), date.fromisoformat(day), country.upper(), product, int(quantity), amount)


def clean(row: list[str]) -> Sale | Emit:
    try:
        return sale_of(row)
    except (ValueError, ArithmeticError) as error:
        return Emit(str(error), ",".join(row), stream="rejected")


def build(input: Path = SALES, output: Path = OUTPUT) -> Topology:
    topology = Topology("csv_to_parquet")
    source = topology.spout("rows", lambda: rows(input), outputs=("row",))
    sales = topology.bolt("clean", clean, outputs=Sale, streams={"rejected": ("reason", "row")}).shuffle(source)
    path = output / "clean" / "country={country}" / "day={day}" / "part.parquet"
    sink = FileSink(path, format=Parquet(COLUMNS), rotate=Rotation(size="64MB", every=300))
    topology.bolt("parquet", sink, parallelism=2).fields(sales, "country")
    topology.bolt("rejected", FileSink(output / "rejected.csv", format=Csv())).shuffle(sales["rejected"])
    topology.bolt("print", Print).shuffle(sales["rejected"])
    return topology
