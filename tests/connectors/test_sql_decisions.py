"""What the SQL connectors decide without a database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from squall.connectors.lookup import Cache
from squall.connectors.sql import SqlLookup, SqlSink, SqlSpout, failures
from squall.connectors.sql.address import Address, shown
from squall.connectors.sql.columns import Column, Described, defects_of
from squall.connectors.sql.dialects.arrays import array, array_array, json_array
from squall.connectors.sql.dialects.values import in_utc, plain
from squall.connectors.sql.failures import Meaning
from squall.connectors.sql.polling import Polling, Start, behind, is_measured
from squall.errors import TopologyError

# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "shop.db", "oracle://db/shop", "postgresql+asyncpg://db/shop", 7, None, "a\0b"])
def test_an_address_of_an_unknown_kind_is_refused_without_being_shown(url: object) -> None:
    with pytest.raises(TopologyError) as refused:
        SqlSink(url, "orders")  # pyright: ignore[reportArgumentType]
    assert refused.value.code == "sql_option"


def test_a_near_scheme_is_suggested() -> None:
    with pytest.raises(TopologyError, match='did you mean "postgresql"'):
        SqlSink("postgressql://db/shop", "orders")


def test_a_password_comes_from_the_environment_and_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "s3cret/@:%")
    address = Address.of("SqlSink", "postgresql://app:env:SHOP_PASSWORD@db:5432/shop")
    resolved = address.resolve()
    assert resolved.url.password == "s3cret/@:%"
    assert resolved.shown == "PostgreSQL at db:5432/shop"
    assert "s3cret" not in repr(address) + repr(resolved) + str(resolved)
    assert resolved.hidden("cannot: s3cret/@:% is wrong") == "cannot: *** is wrong"


def test_the_whole_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///shop.db")
    assert Address.of("SqlSink", "env:DATABASE_URL").resolve().shown == "SQLite at shop.db"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u:sec/ret@db:5432/shop", "PostgreSQL at db:5432/shop"),
        ("postgresql://u:sec?ret@db/shop", "PostgreSQL at db/shop"),
        ("postgresql://u:sec#ret@db/shop", "PostgreSQL at db/shop"),
        ("mariadb://u:sec@ret@db/shop?charset=utf8", "MariaDB at db/shop"),
        ("postgresql://db/shop?options=a@b", "PostgreSQL at db/shop"),
        ("postgresql:///shop", "PostgreSQL at shop"),
        ("sqlite:////var/a@b.db", "SQLite at /var/a@b.db"),
    ],
)
def test_what_is_shown_of_an_address_has_no_part_of_a_password(url: str, told: str) -> None:
    assert shown(url) == told
    assert told in SqlSink(url, "orders").where()


def test_a_password_with_a_sign_that_ends_it_is_refused() -> None:
    """Else the name of the server would be part of it, and told wherever that cannot be reached."""
    with pytest.raises(TopologyError, match="percent signs") as refused:
        Address.of("SqlSink", "postgresql://u:sec@ret@db/shop").resolve()
    assert "ret" not in str(refused.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SqlSink("sqlite:///a", ""),
        lambda: SqlSink("sqlite:///a", "t", columns=()),
        lambda: SqlSink("sqlite:///a", "t", columns="id"),
        lambda: SqlSink("sqlite:///a", "t", columns=("id", "id")),
        lambda: SqlSink("sqlite:///a", "t", columns={"a": "x", "b": "x"}),
        lambda: SqlSink("sqlite:///a", "t", upsert="id"),
        lambda: SqlSink("sqlite:///a", "t", batch=0),
        lambda: SqlSink("sqlite:///a", "t", timeout=0),
        lambda: SqlLookup("sqlite:///a", "t", keys=(), outputs=("a",)),
        lambda: SqlLookup("sqlite:///a", "t", keys=("a",), outputs=()),
        lambda: SqlLookup("sqlite:///a", "t", keys=("a",), outputs=("b",), missing="skip"),  # pyright: ignore[reportArgumentType]
        lambda: SqlLookup("sqlite:///a", "t", keys=("a",), outputs=("b",), cache=-1),
        lambda: SqlLookup("sqlite:///a", "t", keys=("a",), outputs=("b",), ttl=-1),
        lambda: SqlSpout("sqlite:///a", "t", columns=(), cursor="id"),
        lambda: SqlSpout("sqlite:///a", "t", columns=("id",), cursor=""),
        lambda: SqlSpout("sqlite:///a", "SELECT 1 AS id", columns=("id",), cursor="id"),
        lambda: SqlSpout("sqlite:///a", "t", columns=("id",), cursor="id", lag=-1),
        lambda: SqlSpout("sqlite:///a", "t", columns=("id",), cursor="id", every=0),
        lambda: SqlSpout("sqlite:///a", "t", columns=("id",), cursor="id", page=True),
    ],
)
def test_an_option_of_no_use_is_refused_when_the_connector_is_made(make: object) -> None:
    with pytest.raises(TopologyError) as refused:
        make()  # pyright: ignore[reportCallIssue]
    assert refused.value.code == "sql_option"


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        (None, Meaning.AWAY),
        ("57P01", Meaning.AWAY),
        ("53100", Meaning.AWAY),
        ("57014", Meaning.AWAY),
        ("25006", Meaning.AWAY),
        ("40001", Meaning.AGAIN),
        ("40P01", Meaning.AGAIN),
        ("23505", Meaning.ROW),
        ("22P02", Meaning.ROW),
        ("P0001", Meaning.ROW),
        ("42P01", Meaning.DEFINITION),
        ("42501", Meaning.DEFINITION),
        ("XX000", Meaning.OTHER),
    ],
)
def test_what_a_sqlstate_means(state: str | None, meaning: Meaning) -> None:
    assert failures.postgresql(state) is meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('connection failed: FATAL:  password authentication failed for user "app"', Meaning.DEFINITION),
        ('FATAL:  database "shop" does not exist', Meaning.DEFINITION),
        ("FATAL:  the database system is starting up", Meaning.AWAY),
        ("FATAL:  sorry, too many clients already", Meaning.AWAY),
        ("Connection refused", Meaning.AWAY),
        ("connection timeout expired", Meaning.AWAY),
        ("server closed the connection unexpectedly", Meaning.AWAY),
    ],
)
def test_what_a_connection_that_was_not_made_means(text: str, meaning: Meaning) -> None:
    assert failures.postgresql_refusal(text) is meaning


def test_what_other_numbers_mean() -> None:
    mariadb, sqlite = failures.mariadb, failures.sqlite
    assert [mariadb(number) for number in (2013, 1213, 1062, 1146, 1045, 99999, None)] == [
        *(Meaning.AWAY, Meaning.AGAIN, Meaning.ROW, Meaning.DEFINITION, Meaning.DEFINITION),
        *(Meaning.OTHER, Meaning.OTHER),
    ]
    assert [sqlite(code) for code in (13, 5, 19, 2067, 1, None)] == [
        *(Meaning.AWAY, Meaning.AWAY, Meaning.ROW, Meaning.ROW, Meaning.DEFINITION, Meaning.OTHER)
    ]


# -- values ------------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int


def test_values_become_what_every_driver_knows() -> None:
    uuid = UUID(int=1)
    values = [
        Colour.RED,
        Decimal("1.50"),
        uuid,
        bytearray(b"ab"),
        {"a": [1, Decimal(2)]},
        Point(1, 2),
        date(2025, 3, 1),
    ]
    assert [plain(value) for value in values] == [
        *("red", "1.50", str(uuid), b"ab", '{"a": [1, "2"]}', '{"x": 1, "y": 2}', "2025-03-01")
    ]
    with pytest.raises(TypeError, match="no column can have a object"):
        plain(object())


def test_a_time_with_a_zone_is_told_in_utc_where_columns_have_none() -> None:
    moment = datetime.fromisoformat("2025-03-01T12:00:00.5+02:00")
    assert in_utc(moment) == "2025-03-01 10:00:00.500000"


def test_columns_become_array_literals() -> None:
    assert array([1, -2, None]) == "{1,-2,NULL}"
    assert array(["a", 'say "hi"', "back\\slash", "", "NULL", None]) == (
        r'{"a","say \"hi\"","back\\slash","","NULL",NULL}'
    )
    assert array([True, 1.5, b"\x00\xff", Decimal("2.0")]) == r'{true,1.5,"\\x00ff","2.0"}'
    assert array([float("nan"), float("-inf")]) == "{nan,-inf}"
    assert array([]) == "{}"
    assert json_array([{"a": 'b"'}, "[1]", None]) == r'{"{\"a\": \"b\\\"\"}","[1]",NULL}'
    assert array_array([[1, None], ["a,b"], None]) == r'{"{1,NULL}","{\"a,b\"}",NULL}'
    with pytest.raises(ValueError, match="NUL"):
        array(["a\0b"])


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_a_text_is_quoted_so_that_nothing_of_it_is_taken_for_a_part_of_the_array(texts: list[str]) -> None:
    """Undone by the rules that PostgreSQL's manual gives for array literals."""
    literal, found, at = array(texts), list[str](), 1
    while at < len(literal) - 1:
        assert literal[at] == '"'
        at, text = at + 1, ""
        while literal[at] != '"':
            at += literal[at] == "\\"
            text += literal[at]
            at += 1
        found.append(text)
        at += 2
    assert found == texts


# -- columns -----------------------------------------------------------------------------------------------------------

ORDERS = Described(
    "orders",
    (
        Column("id", "bigint", int, is_required=True),
        Column("name", "text", str),
        Column("at", "timestamp", datetime),
        Column("photo", "bytea", bytes),
        Column("total", "numeric", Decimal, is_computed=True),
    ),
    (frozenset({"id"}), frozenset({"name", "at"})),
)


def told(fields: dict[str, object], upsert: tuple[str, ...] = ()) -> list[str]:
    return [str(defect) for defect in defects_of('bolt "b"', ORDERS, {name: name for name in fields}, fields, upsert)]


def test_fields_that_fit_are_no_defect() -> None:
    assert told({"id": int, "name": str, "at": datetime, "photo": bytes}, ("id",)) == []
    assert told({"id": Decimal, "name": None, "at": str}, ("at", "name")) == []


def test_all_that_does_not_fit_is_told_at_once_with_the_columns_of_the_table() -> None:
    wrong = told({"nmae": str, "at": int, "photo": str, "total": float}, ("nmae",))
    assert [one.splitlines()[0] for one in wrong] == [
        'bolt "b" writes column "nmae", which table "orders" does not have',
        'bolt "b" writes field "at", int, to column "at", which is timestamp',
        'bolt "b" writes field "photo", str, to column "photo", which is bytea',
        'bolt "b" writes column "total", which the database makes itself',
        'bolt "b" gives no value for column "id" of table "orders"',
        'bolt "b" has upsert=(\'nmae\',), and nothing makes that unique in table "orders"',
    ]
    assert 'did you mean "name"?' in wrong[0]
    assert "id bigint not null" in wrong[0]


# -- polling -----------------------------------------------------------------------------------------------------------


def test_without_a_lag_a_page_begins_after_the_last_row() -> None:
    polling = Polling(0)
    assert polling.start() is None
    assert polling.take([(1, 10), (1, 11)], is_full=True) == [0, 1]
    assert polling.start() == Start((1, 11))
    assert polling.take([], is_full=False) == []
    assert polling.start() == Start((1, 11))


def test_with_a_lag_a_sweep_begins_before_the_newest_and_leaves_out_what_was_seen() -> None:
    polling = Polling(5)
    polling.begin(9)
    polling.take([(1, 0), (7, 0), (9, 0)], is_full=False)
    assert polling.start() == Start((4,))
    polling.begin(9)
    assert polling.take([(5, 0), (7, 0), (9, 0), (9, 1)], is_full=False) == [0, 3]
    assert polling.take([(5, 0), (7, 0), (9, 0), (9, 1)], is_full=False) == []


def test_a_row_that_is_committed_behind_the_pages_of_a_sweep_is_found_by_the_next() -> None:
    polling = Polling(5)
    polling.begin(10)
    polling.take([(8, 0)], is_full=True)
    assert polling.take([(99, 0)], is_full=False) == [0]  # it came since
    assert polling.start() == Start((5,))
    polling.ended(2)
    again = Polling(5)
    again.restore(polling.encode())
    assert again.start() == Start((5,))


def test_times_are_lagged_by_seconds() -> None:
    polling, noon = Polling(60), datetime(2025, 3, 1, 12, tzinfo=UTC)
    polling.begin(noon)
    polling.take([(noon, 1)], is_full=False)
    assert polling.start() == Start((noon - timedelta(minutes=1),))


def test_a_position_is_what_all_outputs_before_have_ended_up_to() -> None:
    polling = Polling(0)
    polling.take([(1, "a"), (2, "b"), (3, "c")], is_full=False)
    polling.ended(2)
    again = Polling(0)
    again.restore(polling.encode())
    assert again.start() == Start((2, "b"))
    fresh = Polling(0)
    fresh.restore(Polling(0).encode())
    assert fresh.start() is None


@pytest.mark.parametrize(
    "value", [1, 1.5, "a", b"\xff", Decimal("1.50"), UUID(int=3), date(2025, 1, 1), datetime(2025, 1, 1, 1, 2, 3, 4)]
)
def test_cursors_survive_in_positions(value: object) -> None:
    polling, again = Polling(0), Polling(0)
    polling.take([(value, value)], is_full=False)
    polling.ended(1)
    again.restore(polling.encode())
    assert again.start() == Start((value, value))


def test_how_far_a_cursor_is_behind() -> None:
    noon = datetime(2025, 3, 1, 12)
    assert behind(noon + timedelta(minutes=1), noon) == 60
    assert behind(date(2025, 3, 2), date(2025, 3, 1)) == 86_400
    assert behind(Decimal("7.5"), Decimal(5)) == 2.5
    assert behind(7, 9) == behind(None, 9) == 0
    assert [is_measured(kind) for kind in (int, float, Decimal, datetime, date, None)] == [True] * 6
    assert [is_measured(kind) for kind in (str, bytes, time, UUID)] == [False] * 4


@pytest.mark.parametrize("position", [b"", b"7", b'{"a": 1}', b'[["set", "1"]]', b'["a"]'])
def test_a_position_of_something_else_is_refused(position: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Polling(0).restore(position)


@given(seed=st.integers(0, 10**6), lag=st.integers(0, 4), page=st.integers(1, 4))
def test_rows_that_are_late_by_no_more_than_the_lag_are_found_once_and_over_a_restart_at_least_once(
    seed: int, lag: int, page: int
) -> None:
    """Rows are committed in an order of chance, none later than the lag; a restart goes on at a position of chance."""
    random = Random(seed)
    rows = [(cursor, number) for number, cursor in enumerate(sorted(random.choices(range(12), k=14)))]
    arriving = sorted(rows, key=lambda row: (row[0] + random.random() * lag, row[1]))
    there, emitted = list[tuple[int, int]](), list[tuple[int, int]]()
    polling, begun_at = Polling(lag), 0
    while True:
        count = random.randrange(1, 4)
        there, arriving = sorted([*there, *arriving[:count]]), arriving[count:]
        for _ in range(random.randrange(1, 9) if arriving else 99):
            if polling.wants_newest:
                polling.begin(max(row[0] for row in there))
            start = polling.start()
            after = [
                row for row in there
                if start is None or (row[0] >= start.mark[0] if len(start.mark) == 1 else row > start.mark)
            ]  # fmt: skip
            marks = after[:page]
            emitted += [marks[number] for number in polling.take(marks, is_full=len(marks) == page)]
        polling.ended(random.randrange(len(emitted) - begun_at + 1))
        if random.random() < 0.2:
            again = Polling(lag)
            again.restore(polling.encode())
            polling, begun_at = again, len(emitted)
        elif not arriving:
            break
    assert set(emitted) == set(rows)
    if begun_at == 0:
        assert len(emitted) == len(rows)


# -- cache -------------------------------------------------------------------------------------------------------------


def test_a_cache_gives_nothing_that_is_older_than_its_time() -> None:
    cache = Cache(10, ttl_s=5)
    cache.put(("a",), [(1,)], asked_s=100)
    assert cache.get(("a",), 104.9) == [(1,)]
    assert cache.get(("a",), 105) is None
    assert len(cache) == 0


def test_a_cache_keeps_the_keys_that_were_asked_for_last() -> None:
    cache = Cache(2, ttl_s=5)
    for key in "ab":
        cache.put((key,), [], asked_s=0)
    assert cache.get(("a",), 1) == []
    cache.put(("c",), [], asked_s=1)
    assert (cache.get(("b",), 1), cache.get(("a",), 1), len(cache)) == (None, [], 2)


def test_a_cache_of_nothing_keeps_nothing() -> None:
    cache = Cache(0, ttl_s=5)
    cache.put(("a",), [], asked_s=0)
    assert cache.get(("a",), 0) is None
