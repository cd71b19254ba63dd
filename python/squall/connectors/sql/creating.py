"""Tables made from the declared types of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from squall.errors import Defect, TopologyError

LONGEST_KEY = 191
"""Characters of a text in a key, where a database wants a bound: MariaDB's oldest limit, in bytes, by four."""


def make_table(connection: Any, who: str, name: str, columns: Mapping[str, str], types: Mapping[str, object],
               key: Sequence[str]) -> None:  # fmt: skip
    """Makes a table, if it is not there by now.

    Args:
        columns: fields and the columns that they go to.
        types: of the fields, as declared.
        key: the columns of its primary key.

    Raises:
        TopologyError: `sql_type_undeclared`.
    """
    sqlalchemy: Any = import_module("sqlalchemy")
    defects: list[Defect] = []
    made: list[Any] = []
    for field, column in columns.items():
        declared, may_be_null = _without_none(types.get(field))
        kind = _kind_of(sqlalchemy, declared, connection.dialect.name, is_key=column in key)
        if kind is None:
            message = f'{who} is to make table "{name}", and no type of a column is known for field "{field}"'
            facts = (("declared", "no type" if declared is None else str(declared)),)
            fix = "declare the types of the outputs before it, outputs={'id': int, 'name': str}, or make the table"
            defects.append(Defect("sql_type_undeclared", message, facts, fix))
            continue
        made.append(
            sqlalchemy.Column(
                column, kind, primary_key=column in key, nullable=may_be_null or column not in key, autoincrement=False
            )
        )
    if defects:
        raise TopologyError(*defects)
    schema, _, own = name.rpartition(".")
    table = sqlalchemy.Table(own, sqlalchemy.MetaData(), *made, schema=schema or None)
    connection.execute(sqlalchemy.schema.CreateTable(table, if_not_exists=True))


def _without_none(declared: Any) -> tuple[Any, bool]:
    if get_origin(declared) in (Union, UnionType):
        kinds = [one for one in get_args(declared) if one is not NoneType]
        return (kinds[0] if len(kinds) == 1 else declared), True
    return get_origin(declared) or declared, False


def _kind_of(sqlalchemy: Any, declared: object, dialect: str, *, is_key: bool) -> Any:
    if not isinstance(declared, type):
        return None
    is_bounded = is_key and dialect in ("mysql", "mariadb")
    moment = sqlalchemy.DateTime(timezone=True)
    if dialect in ("mysql", "mariadb"):
        moment = import_module("sqlalchemy.dialects.mysql").DATETIME(fsp=6)  # else whole seconds
    kinds: dict[type, Any] = {
        bool: sqlalchemy.Boolean(),
        int: sqlalchemy.BigInteger(),
        float: sqlalchemy.Double(),
        str: sqlalchemy.String(LONGEST_KEY) if is_bounded else sqlalchemy.Text(),
        bytes: sqlalchemy.LargeBinary(),
        Decimal: sqlalchemy.Numeric(38, 10) if dialect in ("mysql", "mariadb") else sqlalchemy.Numeric(),
        datetime: moment,
        date: sqlalchemy.Date(),
        time: sqlalchemy.Time(),
        timedelta: sqlalchemy.Interval() if dialect == "postgresql" else sqlalchemy.Text(),
        UUID: sqlalchemy.Uuid() if dialect == "postgresql" else sqlalchemy.String(36),
        dict: sqlalchemy.JSON(),
        list: sqlalchemy.JSON(),
        tuple: sqlalchemy.JSON(),
    }
    return kinds.get(declared)
