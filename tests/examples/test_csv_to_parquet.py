"""`examples/csv_to_parquet.py`: what is clean, where it goes, and what becomes of the rest."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from csv_to_parquet import build, day_of, price_of
from squall.testing import LocalCluster

DAY = date(2025, 3, 1)


def sale(order: int, country: str, quantity: int = 1, product: str = "lamp") -> tuple[Any, ...]:
    return order, DAY, country, product, quantity, Decimal("24.90")


def write(output: Path, sales: list[tuple[Any, ...]]) -> None:
    with LocalCluster(build(output=output), mock_sources={"rows": sales}) as cluster:
        cluster.run_until_idle()
        assert len(cluster.acked("rows")) == len(sales)


def test_days_and_prices_are_read_as_people_write_them() -> None:
    assert (day_of(" 2025-03-01 "), price_of("129,00 ")) == (DAY, Decimal("129.00"))


def test_countries_are_written_one_way_and_sales_without_sense_go_to_a_file(tmp_path: Path) -> None:
    write(tmp_path, [sale(1, "de"), sale(2, " DE "), sale(3, "fr"), sale(4, " "), sale(5, "FR", quantity=0)])
    table = pq.read_table(tmp_path / "clean", partitioning="hive").to_pylist()
    assert sorted((row["order"], row["country"], row["day"]) for row in table) == [
        (1, "DE", "2025-03-01"),
        (2, "DE", "2025-03-01"),
        (3, "FR", "2025-03-01"),
    ]
    assert table[0]["price"] == Decimal("24.90")
    with (tmp_path / "rejected.csv").open(newline="") as text:
        assert list(csv.reader(text)) == [
            ["reason", "sale"],
            ["no country", "4 2025-03-01 lamp"],
            ["quantity 0", "5 2025-03-01 lamp"],
        ]


def test_a_country_cannot_leave_the_folder(tmp_path: Path) -> None:
    write(tmp_path, [sale(1, "../../etc")])
    (path,) = tmp_path.rglob("*.parquet")
    assert path.parent.parent.name == "country=..%2F..%2FETC"


def test_the_sample_becomes_one_table_and_what_cannot_be_read_is_a_dead_letter(tmp_path: Path) -> None:
    with LocalCluster(build(output=tmp_path), simulated_time=False) as cluster:
        cluster.run_until_idle()
        assert [letter.values[0] for letter in cluster.dead_letters()] == ["1004", "1007", "1013"]
    table = pq.read_table(tmp_path / "clean", partitioning="hive").to_pylist()
    assert len(table) == 10
    assert sum(row["quantity"] * row["price"] for row in table) == Decimal("1611.90")
