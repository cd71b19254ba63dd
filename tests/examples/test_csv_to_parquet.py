"""`examples/csv_to_parquet.py`: what is clean, where it goes, and what becomes of the rest."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from csv_to_parquet import SALES, Sale, build, sale_of
from squall.testing import LocalCluster


def run(output: Path, rows: list[list[str]]) -> None:
    with LocalCluster(build(output=output), mock_sources={"rows": [(row,) for row in rows]}) as cluster:
        cluster.run_until_idle()
        assert cluster.dead_letters() == []
        assert len(cluster.acked("rows")) == len(rows)


def sample() -> list[list[str]]:
    with SALES.open(newline="") as text:
        return list(csv.reader(text))[1:]


def test_a_row_is_cleaned() -> None:
    row = ["1", "2025-03-01", " de ", "lamp", "2", "1,50"]
    assert sale_of(row) == Sale(1, date(2025, 3, 1), "DE", "lamp", 2, Decimal("1.50"))


@pytest.mark.parametrize(("place", "value"), [(0, "x"), (1, "1.2.2025"), (2, " "), (4, "0"), (4, "two"), (5, "free")])
def test_a_bad_row_is_refused(place: int, value: str) -> None:
    row = ["1", "2025-03-01", "DE", "lamp", "2", "1.50"]
    row[place] = value
    with pytest.raises((ValueError, ArithmeticError)):
        sale_of(row)


def test_sales_are_one_table_parted_by_country_and_day_and_the_others_are_in_a_file(tmp_path: Path) -> None:
    run(tmp_path, sample())
    parts = {str(path.parent.relative_to(tmp_path / "clean")) for path in tmp_path.rglob("*.parquet")}
    assert parts == {
        "country=DE/day=2025-03-01",
        "country=DE/day=2025-03-02",
        "country=DE/day=2025-03-03",
        "country=FR/day=2025-03-01",
        "country=FR/day=2025-03-02",
        "country=FR/day=2025-03-03",
        "country=IT/day=2025-03-02",
        "country=IT/day=2025-03-03",
    }
    table = pq.read_table(tmp_path / "clean", partitioning="hive").to_pylist()
    assert len(table) == 10
    assert sum(row["quantity"] * row["price"] for row in table) == Decimal("1611.90")
    assert {row["country"] for row in table} == {"DE", "FR", "IT"}
    with (tmp_path / "rejected.csv").open(newline="") as text:
        rejected = list(csv.reader(text))
    assert rejected[0] == ["reason", "row"]
    assert [row.split(",")[0] for _, row in rejected[1:]] == ["1004", "1007", "1010", "1012", "1013"]


def test_a_country_cannot_leave_the_folder(tmp_path: Path) -> None:
    run(tmp_path, [["1", "2025-03-01", "../../etc", "lamp", "2", "1.50"]])
    (path,) = tmp_path.rglob("*.parquet")
    assert path.parent.parent.name == "country=..%2F..%2FETC"
