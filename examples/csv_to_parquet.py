"""A CSV with bad rows into Parquet: clean rows go to folders by country and day, the others to where one can look.

    $ squall run examples/csv_to_parquet.py        # -p input=FILE -p output=FOLDER
    no country    1010 2025-03-02 lamp
    quantity -1    1012 2025-03-03 desk

What the file says wrongly (a row that is cut off, a day that is none) becomes a dead letter with its line, shown by
`squall dead list csv_to_parquet`. What is readable but makes no sense goes to `rejected.csv`. The rest is in `clean`, a
Parquet file for each country and day, which tools read as one table. Without another folder all that is in
`squall-sales` in the one for temporary files.

Killed at any time and started again, the run goes on where it was: the source keeps its position, the sink acks a row
when it is on disk, and files appear whole. Shows a CSV source with types, fields in a sink's path, and a schema.
"""

from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

from squall import Emit, Topology
from squall.connectors.files import Csv, FileSink, FileSpout, Parquet, Rotation
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


def day_of(text: str) -> date:
    return date.fromisoformat(text.strip())


def price_of(text: str) -> Decimal:
    return Decimal(text.strip().replace(",", "."))


def clean(order: int, day: date, country: str, product: str, quantity: int, price: Decimal) -> Sale | Emit:
    country = country.strip().upper()
    reason = "no country" if not country else f"quantity {quantity}" if quantity < 1 else None
    if reason:
        return Emit(reason, f"{order} {day} {product}", stream="rejected")
    return Sale(order, day, country, product.strip(), quantity, price)


def build(input: Path = SALES, output: Path = OUTPUT) -> Topology:
    topology = Topology("csv_to_parquet")
    types = {"order": int, "day": day_of, "quantity": int, "price": price_of}
    source = FileSpout(input, format=Csv(fields=Sale._fields, types=types))
    rows = topology.spout("rows", source)
    sales = topology.bolt("clean", clean, outputs=Sale, streams={"rejected": ("reason", "sale")}).shuffle(rows)
    path = output / "clean" / "country={country}" / "day={day}" / "part.parquet"
    sink = FileSink(path, format=Parquet(COLUMNS), rotate=Rotation(size="64MB", every=300))
    topology.bolt("parquet", sink, parallelism=2).fields(sales, "country")
    topology.bolt("rejected", FileSink(output / "rejected.csv", format=Csv())).shuffle(sales["rejected"])
    topology.bolt("print", Print).shuffle(sales["rejected"])
    return topology
