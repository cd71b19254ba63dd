"""Whether a table can have what a sink is to write; all that is wrong is told at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from squall.errors import Defect, did_you_mean

NUMBERS = (int, float, Decimal)
FITTING: dict[type, tuple[type, ...]] = {
    **dict.fromkeys(NUMBERS, (*NUMBERS, str, bool, dict)),
    bool: (bool, *NUMBERS, str, dict),
    bytes: (bytes,),
    bytearray: (bytes,),
    datetime: (datetime, date, time, str),
    date: (date, datetime, str),
    time: (time, str),
    timedelta: (timedelta, time, str),
    UUID: (UUID, str, bytes),
    dict: (dict, list, str),
    list: (list, dict, str),
    tuple: (list, dict, str),
}
"""The kinds of columns that a field of a type may go to; texts may go to all but binary ones."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its type as the database calls it, and Python's for it, if there is one.

    Args:
        is_required: it has neither a default nor may it be null.
        is_computed: the database alone writes it.
    """

    name: str
    type: str
    python: type | None
    is_required: bool = False
    is_computed: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.type}{' not null' if self.is_required else ''}"


@dataclass(frozen=True, slots=True)
class Described:
    """A table as far as it matters to who writes it. `keys`: its primary key and what else is unique."""

    name: str
    columns: tuple[Column, ...]
    keys: tuple[frozenset[str], ...]

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What every error about it tells."""
        return (("columns", "\n".join(map(str, self.columns)) or "none"),)


def described(name: str, table: Any, uniques: Sequence[Sequence[str]]) -> Described:
    """A table of SQLAlchemy; `uniques`: the columns of its unique constraints and indexes."""
    key = [column.name for column in table.primary_key.columns]
    numbered = table.autoincrement_column
    columns: list[Column] = []
    for column in table.columns:
        is_computed = column.computed is not None or bool(column.identity is not None and column.identity.always)
        has_default = column.server_default is not None or column is numbered or is_computed
        columns.append(
            Column(
                column.name,
                str(column.type).lower(),
                _python_of(column.type),
                not column.nullable and not has_default,
                is_computed,
            )
        )
    keys = [frozenset(one) for one in (key, *uniques) if one]
    return Described(name, tuple(columns), tuple(keys))


def defects_of(
    who: str, table: Described, columns: Mapping[str, str], types: Mapping[str, object], upsert: Sequence[str]
) -> list[Defect]:
    """What is wrong with writing fields to columns.

    Args:
        columns: fields and the columns that they go to.
        types: of the fields, where they are declared.
        upsert: the columns of the key.
    """
    known = {column.name: column for column in table.columns}
    given = set(columns.values())
    defects: list[Defect] = []
    for field, name in columns.items():
        column = known.get(name)
        if column is None:
            near = did_you_mean(name, known)
            fix = f'did you mean "{near}"?' if near else "name the columns with columns={field: column}"
            defects.append(
                _defect(f'{who} writes column "{name}", which table "{table.name}" does not have', table, fix)
            )
        elif column.is_computed:
            fix = "leave it out with columns=…"
            defects.append(_defect(f'{who} writes column "{name}", which the database makes itself', table, fix))
        elif not _fits(types.get(field), column.python):
            declared = getattr(types[field], "__name__", str(types[field]))
            message = f'{who} writes field "{field}", {declared}, to column "{name}", which is {column.type}'
            defects.append(_defect(message, table, "convert it in a bolt before, or change the column"))
    for column in table.columns:
        if column.is_required and column.name not in given:
            message = f'{who} gives no value for column "{column.name}" of table "{table.name}"'
            fix = "emit a field of this name, name one with columns=…, or give the column a default"
            defects.append(_defect(message, table, fix))
    if upsert and (missing := [name for name in upsert if name not in given]):
        message = f"{who} has upsert={tuple(upsert)!r}, and writes no {', '.join(missing)}"
        defects.append(_defect(message, table, "name columns that it writes"))
    elif upsert and frozenset(upsert) not in table.keys:
        keys = "; ".join(", ".join(sorted(key)) for key in table.keys) or "none"
        message = f'{who} has upsert={tuple(upsert)!r}, and nothing makes that unique in table "{table.name}"'
        facts = (("unique", keys), *table.facts)
        fix = f"CREATE UNIQUE INDEX ON {table.name} ({', '.join(upsert)}), or name the columns of one that is there"
        defects.append(Defect("sql_columns", message, facts, fix))
    return defects


def table_missing(who: str, name: str, where: str, others: Sequence[str]) -> Defect:
    """The defect of a table that is not there."""
    near = did_you_mean(name, others)
    fix = f'did you mean "{near}"?' if near else "make the table, or have it made with create=True"
    facts = (("tables", ", ".join(others[:50]) or "none"),)
    return Defect("sql_table_missing", f'{who} needs table "{name}", which {where} does not have', facts, fix)


def _defect(message: str, table: Described, fix: str) -> Defect:
    return Defect("sql_columns", message, table.facts, fix)


def _fits(declared: object, column: type | None) -> bool:
    if column is None or not isinstance(declared, type):
        return True
    if declared is str:
        return column is not bytes
    return column in FITTING.get(declared, (column,))


def _python_of(kind: Any) -> type | None:
    try:
        python: object = kind.python_type
    except Exception:  # not every type has one
        return None
    return python if isinstance(python, type) else None


def missing_column(who: str, table: Described, name: str, known: Sequence[str]) -> Defect:
    """The defect of a column that is to be read and is not there."""
    near = did_you_mean(name, known)
    fix = f'did you mean "{near}"?' if near else "name a column that is there"
    facts = table.facts if table.columns else (("columns", ", ".join(known)),)
    return Defect("sql_columns", f'{who} reads column "{name}", which {_called(table)} does not have', facts, fix)


def _called(table: Described) -> str:
    return f'table "{table.name}"' if table.columns else table.name
