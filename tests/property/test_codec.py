"""Values between workers come back as exactly what they were, and nothing that is not one does harm."""

from __future__ import annotations

import math
import random
import struct
import sys
import threading
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squall import _core, register_type
from squall.errors import EmissionError, TopologyError

CORPUS = Path(__file__).parents[2] / "fuzz/corpus/values"
MAX_DEPTH = 256


class Money:
    """A registered type."""

    def __init__(self, cents: object) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return type(other) is Money and exact(other.cents) == exact(self.cents)

    def __hash__(self) -> int:
        return hash(self.cents)

    def __repr__(self) -> str:
        return f"Money({self.cents!r})"


register_type(Money, encode=lambda money: money.cents, decode=Money)


def exact(value: Any) -> Any:
    """What tells values apart that Python calls equal: types, bits of floats, order of dicts, folds, names of zones."""
    kind = type(value)
    match value:
        case float() if kind is float:
            return kind, struct.pack("<d", value)
        case complex() if kind is complex:
            return kind, exact(value.real), exact(value.imag)
        case list() | tuple():
            return kind, [exact(item) for item in value]
        case dict():
            return kind, [(exact(key), exact(item)) for key, item in value.items()]
        case set() | frozenset():
            return kind, sorted(repr(exact(item)) for item in value)
        case datetime():
            return kind, value.replace(tzinfo=None), value.fold, exact(value.tzinfo)
        case time():
            return kind, value.replace(tzinfo=None), value.fold, exact(value.tzinfo)
        case ZoneInfo():
            return kind, value.key
        case np.generic():
            return kind, value.dtype.str, value.tobytes()
        case Decimal():
            return kind, value.as_tuple()
        case Money():
            return kind, exact(value.cents)
        case _:
            return kind, repr(value)


def back(*values: object, pickle: bool = False) -> tuple[Any, ...]:
    return _core.decode_values(_core.encode_values(values, pickle=pickle), pickle=pickle)


def made_of(data: bytes) -> tuple[Any, ...] | None:
    """The values, None if the bytes are none; no other error is raised."""
    try:
        return _core.decode_values(data)
    except EmissionError as error:
        if error.code != "value_not_decodable":
            raise
        return None


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(EmissionError) as caught:
        call()
    assert f"code: {caught.value.code}" in str(caught.value)
    return caught.value.code


OFFSETS = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
ZONES = st.one_of(
    st.just(UTC),
    st.builds(timezone, OFFSETS),
    st.builds(timezone, OFFSETS, st.text(st.characters(exclude_categories=["Cs"]))),
    st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Europe/Oslo"), ZoneInfo("America/New_York")]),
)
NUMPY = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(np.int64),
    st.integers(0, 255).map(np.uint8),
    st.floats().map(np.float64),
    st.floats(width=32).map(np.float32),
    st.floats(width=16).map(np.float16),
    st.booleans().map(np.bool_),
    st.complex_numbers().map(np.complex128),
    st.text().map(np.str_),
    st.binary().map(np.bytes_),
    st.integers(-(2**63), 2**63 - 1).map(lambda at: np.datetime64(at, "ns")),
    st.integers(-(2**63), 2**63 - 1).map(lambda span: np.timedelta64(span, "ms")),
    st.floats(allow_nan=False).map(np.longdouble),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.text(st.characters(codec=None), max_size=200),
    st.text(st.characters(categories=["Cs"])),
    st.text(st.characters(max_codepoint=255)),
    st.binary(max_size=100),
    st.dates(),
    st.datetimes(timezones=st.none() | ZONES),
    st.datetimes().map(lambda at: at.replace(fold=1)),
    st.times(timezones=st.none() | st.builds(timezone, OFFSETS)),
    st.timedeltas(),
    ZONES,
    st.decimals().filter(lambda number: not number.is_snan()),
    st.uuids(),
    NUMPY,
    st.integers().map(Money),
)


@st.composite
def leaf(draw: st.DrawFn) -> Any:
    """One of `LEAVES`; by a function, since the strategies' own descriptions multiply."""
    return draw(LEAVES)


@st.composite
def hashable(draw: st.DrawFn) -> Any:
    """One of `HASHABLE`."""
    return draw(HASHABLE)


HASHABLE = st.recursive(
    leaf(),
    lambda inner: st.one_of(st.lists(inner, max_size=4).map(tuple), st.frozensets(inner, max_size=4)),
    max_leaves=6,
)
VALUES = st.recursive(
    leaf() | hashable() | st.binary().map(bytearray) | st.decimals(),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(hashable(), inner, max_size=5),
        st.sets(hashable(), max_size=5),
        st.frozensets(hashable(), max_size=5),
        inner.map(Money),
    ),
    max_leaves=25,
)


@given(st.lists(VALUES, max_size=7).map(tuple))
@settings(max_examples=500)
def test_values_come_back_as_exactly_what_they_were(values: tuple[Any, ...]) -> None:
    assert exact(back(*values)) == exact(values)


@given(st.lists(VALUES, max_size=3).map(tuple))
@settings(max_examples=100)
def test_every_cut_is_other_values_or_an_error(values: tuple[Any, ...]) -> None:
    data = _core.encode_values(values)
    for length in range(len(data)):
        made = made_of(data[:length])
        assert made is None or exact(made) == exact(values[: len(made)])


@given(st.binary(max_size=300))
@settings(max_examples=1000)
def test_any_bytes_are_values_or_an_error(data: bytes) -> None:
    assert isinstance(made_of(data), tuple | None)


@given(st.lists(VALUES, min_size=1, max_size=3).map(tuple), st.data())
@settings(max_examples=200)
def test_a_changed_byte_is_other_values_or_an_error(values: tuple[Any, ...], data: st.DataObject) -> None:
    encoded = bytearray(_core.encode_values(values))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(made_of(bytes(encoded)), tuple | None)


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_the_fuzzer_s_corpus_does_no_harm(path: Path) -> None:
    data = path.read_bytes()
    assert isinstance(made_of(data), tuple | None)


GOLDEN: list[tuple[object, str]] = [
    (0, "00"),
    (63, "3f"),
    (64, "8340"),
    (-1, "83ff"),
    (500, "84f401"),
    (-70_000, "8590eefeff"),
    (2**40, "860000000000010000"),
    (-(2**63), "860000000000000080"),
    (2**63, "8709000000000000008000"),
    (-(2**64), "870900000000000000" + "00ff"),
    ("", "40"),
    ("word", "44776f7264"),
    ("a" * 64, "8a40" + "61" * 64),
    ("ä", "8b02c3a4"),
    ("\ud800", "8c03eda080"),
    (None, "80"),
    (False, "81"),
    (True, "82"),
    (1.5, "88000000000000f83f"),
    (1j, "890000000000000000000000000000f03f"),
    (b"ab", "8d026162"),
    (bytearray(b"ab"), "8e026162"),
    ([1, (2,)], "900201910102"),
    ({"a": 1}, "9201416101"),
    ({7}, "930107"),
    (frozenset({7}), "940107"),
    (date(2026, 1, 2), "98ea070102"),
    (time(1, 2, 3, 4, fold=1), "990102030104000000"),
    (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "9aea07010203040502060000009c"),
    (timedelta(days=-1, seconds=2, microseconds=3), "9bffffffff0200000003000000"),
    (timezone(timedelta(hours=1)), "9d00000000100e000000000000"),
    (timezone(timedelta(hours=1), "x"), "9e00000000100e0000000000000178"),
    (ZoneInfo("Europe/Oslo"), "9f0b4575726f70652f4f736c6f"),
    (Decimal("-1.50"), "a0052d312e3530"),
    (UUID(int=1), "a1" + "00" * 15 + "01"),
    (np.float32(1.5), "a2033c6634040000c03f"),
    (np.str_("ä"), "a2033c553102c3a4"),
]
"""The wire's bytes, once and for all: workers of different releases must understand each other."""


@pytest.mark.parametrize(("value", "data"), GOLDEN, ids=[repr(value)[:30] for value, _ in GOLDEN])
def test_the_bytes_of_a_value_are_fixed(value: object, data: str) -> None:
    assert _core.encode_values((value,)).hex() == data
    assert exact(_core.decode_values(bytes.fromhex(data))) == exact((value,))


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Place:
    city: str
    number: int


class Shout(str):
    __slots__ = ()


class Local(datetime):
    pass


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        (
            Colour.RED,
            "emit its `.value`, or register it: squall.register_type(Colour, encode=lambda x: x.value, decode=Colour)",
        ),
        (Level.HIGH, "register_type(Level, encode=lambda x: x.value, decode=Level)"),
        (Place("Oslo", 1), "register_type(Place, encode=lambda x: [x.city, x.number], decode=lambda v: Place(*v))"),
        (Point(1, 2), "register_type(Point, encode=tuple, decode=Point._make)"),
        (Shout("a"), "register_type(Shout, encode=..., decode=...)"),
        (OrderedDict(a=1), "register_type(OrderedDict"),
        (Local(2026, 1, 1), "register_type(Local"),
        (memoryview(b"a"), "emit `bytes(view)`"),
        (np.arange(3), "array.tolist()"),
        (np.zeros(1, "i4,f8")[0], "register_type(void"),
        (object(), "emit plain values"),
        (print, "emit plain values"),
        (range(3), "emit plain values"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_a_form_is_refused_with_how_to_give_it_one(value: object, fix: str) -> None:
    with pytest.raises(EmissionError) as caught:
        _core.encode_values(("good", {"k": [1, (value,)]}))
    assert caught.value.code == "value_not_encodable"
    assert "value 1: a value of type " in str(caught.value)
    assert "at: value 1['k'][1][0]" in str(caught.value)
    assert fix in str(caught.value)


def test_the_fixes_that_errors_name_work() -> None:
    register_type(Colour, encode=lambda x: x.value, decode=Colour)
    register_type(Place, encode=lambda x: [x.city, x.number], decode=lambda v: Place(*v))
    register_type(Point, encode=tuple, decode=Point._make)
    register_type(
        np.ndarray,
        encode=lambda a: [a.dtype.str, a.shape, a.tobytes()],
        decode=lambda v: np.frombuffer(v[2], v[0]).reshape(v[1]),
    )
    assert back(Colour.RED, Place("Oslo", 1), Point(1, (2,))) == (Colour.RED, Place("Oslo", 1), Point(1, (2,)))
    (array,) = back(np.arange(6).reshape(2, 3))
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_limits_of_depth_items_and_bytes() -> None:
    assert exact(back(nested(MAX_DEPTH))) == exact((nested(MAX_DEPTH),))
    assert code_of(lambda: _core.encode_values((nested(MAX_DEPTH + 1),))) == "value_too_deep"
    assert code_of(lambda: _core.decode_values(b"\x90\x01" * (MAX_DEPTH + 1) + b"\x00")) == "value_not_decodable"
    most = [None] * 2**20
    assert back(most) == (most,)
    assert code_of(lambda: _core.encode_values(([*most, None],))) == "value_too_large"
    assert code_of(lambda: _core.encode_values((most, [1]))) == "value_too_large"
    assert code_of(lambda: _core.encode_values((dict.fromkeys(range(2**19 + 1)),))) == "value_too_large"
    megabyte = "x" * 2**20
    assert len(back([megabyte] * 14)[0]) == 14
    for large in (b"x" * (15 << 20), "x" * (64 << 20), "ä" * (8 << 20), [megabyte] * 15, 1 << (8 * (15 << 20))):
        assert code_of(lambda large=large: _core.encode_values((large,))) == "value_too_large"


def test_a_value_that_holds_itself_is_too_deep() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert code_of(lambda: _core.encode_values((ring,))) == "value_too_deep"
    keys: dict[str, Any] = {}
    keys["k"] = keys
    assert code_of(lambda: _core.encode_values((1, keys))) == "value_too_deep"


def test_counts_are_believed_only_as_far_as_there_are_bytes() -> None:
    huge = bytes.fromhex("ffffffff0f")
    for tag in (0x87, 0x8A, 0x8B, 0x8C, 0x8D, 0x8E, 0x90, 0x91, 0x92, 0x93, 0x94, 0xA0, 0xA8, 0xA9):
        assert code_of(lambda tag=tag: _core.decode_values(bytes([tag]) + huge + b"\x00" * 50)) == "value_not_decodable"


class Meddler:
    """Registered with an `encode` that does whatever the test says."""

    act: Callable[[], object] = staticmethod(lambda: None)


register_type(Meddler, encode=lambda _: Meddler.act(), decode=lambda _: Meddler())


@pytest.fixture
def meddling(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], Meddler]:
    def make(act: Callable[[], object]) -> Meddler:
        monkeypatch.setattr(Meddler, "act", staticmethod(act))
        return Meddler()

    return make


Meddling = Callable[[Callable[[], object]], Meddler]


def test_containers_that_change_while_they_are_written_are_an_error_and_no_crash(meddling: Meddling) -> None:
    row: list[Any] = ["a" * 100, meddling(lambda: row.clear()), "b" * 100]
    assert code_of(lambda: _core.encode_values((row,))) == "value_changed"
    more: list[Any] = [meddling(lambda: more.append("x"))]
    assert code_of(lambda: _core.encode_values((more,))) == "value_changed"
    pairs: dict[Any, Any] = {}
    pairs.update({"a": 1, "m": meddling(lambda: pairs.clear()), "b": ["c" * 50]})
    assert code_of(lambda: _core.encode_values((pairs,))) == "value_changed"
    growing: dict[Any, Any] = {}
    growing["m"] = meddling(lambda: growing.update({n: n for n in range(1000)}))
    assert code_of(lambda: _core.encode_values((growing,))) == "value_changed"
    items: set[Any] = {meddling(lambda: items.add(object())), "a", "b", "c"}
    assert code_of(lambda: _core.encode_values((items,))) == "value_changed"


def test_a_container_that_lets_go_of_what_is_being_written_is_no_crash(meddling: Meddling) -> None:
    inner: list[Any] = []
    outer: list[Any] = [inner]
    inner.extend(["a" * 100, meddling(lambda: outer.__setitem__(0, None)), "b" * 100])
    del inner
    assert back_or_code(outer) in ("value_changed", 3)
    table: dict[str, Any] = {"k": ["a" * 100]}
    table["k"] += [meddling(lambda: table.__setitem__("k", None)), "b" * 100]
    assert back_or_code(table) in ("value_changed", 1)


def back_or_code(value: Any) -> object:
    try:
        (made,) = back(value)
    except EmissionError as error:
        return error.code
    return len(made[0]) if isinstance(made, list) else len(made)


def test_an_encoder_that_raises_or_lies_is_named(meddling: Meddling) -> None:
    def broken() -> object:
        raise ZeroDivisionError("no cents")

    with pytest.raises(EmissionError, match="Meddler raised ZeroDivisionError: no cents") as caught:
        _core.encode_values((meddling(broken),))
    assert caught.value.code == "value_encoder_failed"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert code_of(lambda: _core.encode_values((meddling(Meddler),))) == "value_too_deep"
    register_type(Mirror, encode=lambda mirror: mirror, decode=lambda mirror: mirror)
    assert code_of(lambda: _core.encode_values((Mirror(),))) == "value_encoder_failed"
    assert code_of(lambda: _core.encode_values((meddling(object),))) == "value_not_encodable"
    assert code_of(lambda: _core.encode_values((meddling(lambda: Money(Meddler())),))) == "value_too_deep"


class Mirror:
    """Registered with an `encode` that does nothing."""


class Liar:
    """Registered with a `decode` that does whatever the test says."""


@pytest.mark.parametrize(
    ("decode", "said"),
    [
        (lambda plain: plain, "returned a builtins.int|returned a int"),
        (lambda plain: None, "NoneType"),
        (lambda plain: 1 // 0, "raised ZeroDivisionError"),
    ],
)
def test_a_decoder_that_raises_or_lies_is_named(decode: Callable[[Any], Any], said: str) -> None:
    register_type(Liar, encode=lambda _: 7, decode=decode)
    with pytest.raises(EmissionError, match=said) as caught:
        back(Liar())
    assert caught.value.code == "value_not_decodable"
    assert f"{__name__}.Liar" in str(caught.value)


def test_instances_of_a_subclass_of_a_registered_type_are_not_narrowed() -> None:
    class Fine(Money):
        pass

    assert code_of(lambda: _core.encode_values((Fine(1),))) == "value_not_encodable"


def test_a_class_defined_anew_takes_the_place_of_the_former_one() -> None:
    def define() -> type:
        class Twin:
            pass

        register_type(Twin, encode=lambda _: None, decode=lambda _: Twin())
        return Twin

    first, second = define(), define()
    assert type(back(second())[0]) is second
    assert code_of(lambda: _core.encode_values((first(),))) == "value_not_encodable"


def test_a_type_that_is_not_registered_where_it_arrives_is_named() -> None:
    data = _core.encode_values((Money(1),)).replace(b"Money", b"Honey")
    with pytest.raises(EmissionError, match="Honey, which is not registered in this worker") as caught:
        _core.decode_values(data)
    assert caught.value.code == "value_not_decodable"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((3, {"key": str}), "3 is registered, which is no class"),
        ((Money, {}), "registered for nothing"),
        ((Money, {"encode": str}), "registered without `decode`"),
        ((Money, {"decode": str}), "registered without `encode`"),
        ((Money, {"key": 3}), "key=3, which cannot be called"),
        ((Money, {"encode": 3, "decode": 4}), "encode=3, which cannot be called"),
        ((int, {"encode": str, "decode": int}), "squall writes its instances itself"),
        ((Decimal, {"encode": str, "decode": Decimal}), "squall writes its instances itself"),
        ((type(None), {"encode": str, "decode": str}), "squall writes its instances itself"),
    ],
)
def test_register_type_says_what_makes_no_sense(arguments: tuple[Any, dict[str, Any]], said: str) -> None:
    cls, given_ = arguments
    with pytest.raises(TopologyError, match=said) as caught:
        register_type(cls, **given_)
    assert caught.value.code == "register_type_invalid"


def test_pickles_are_written_and_read_only_where_that_is_asked_for() -> None:
    values = (Level.HIGH, [Shout("a")], {"k": Fraction()})
    assert exact(back(*values, pickle=True)) == exact(values)
    data = _core.encode_values(values, pickle=True)
    with pytest.raises(EmissionError, match=r"it came as a pickle, and `topology.fall.back.on.pickle` is off"):
        _core.decode_values(data)
    assert code_of(lambda: _core.encode_values((threading.Lock(),), pickle=True)) == "value_encoder_failed"


class Fraction:
    """Pickled by reference to its class."""

    def __repr__(self) -> str:
        return "Fraction()"


def test_references_are_given_back() -> None:
    marker = ("marker", math.pi)
    values = ([marker, {"k": marker}], {marker}, Money(marker))
    before = sys.getrefcount(marker)
    for _ in range(100):
        back(*values)
        code_of(lambda: _core.encode_values((*values, object())))
    assert sys.getrefcount(marker) == before
    data = _core.encode_values((["x" * 50, Money(1), {"k": (1.5,)}],))
    for cut in range(len(data)):
        made_of(data[:cut])
    assert sys.getrefcount(marker) == before


@pytest.mark.parametrize("count", range(8))
def test_rows_of_any_width_go_through_frames(count: int) -> None:
    rows = [tuple(f"{n}{'ä' * (n % 3)}" for _ in range(count)) for n in range(300)]
    write, read, size = _core.time_codec(rows, 64)
    assert min(write, read, size) >= 0


def test_short_texts_that_recur_are_told_from_all_others() -> None:
    """Texts of 2 to 17 characters that differ in one place each, over and over: each comes back as itself."""
    chance = random.Random(3)
    stems = ["".join(chance.choices("ab\0\x7f", k=length)) for length in range(2, 18) for _ in range(8)]
    near = [stem[:at] + other + stem[at + 1 :] for stem in stems for at in range(len(stem)) for other in "ac"]
    texts = chance.choices(stems + near, k=20_000)
    assert _core.decode_values(_core.encode_values((texts,)))[0] == texts


def test_a_text_that_recurs_is_one_object() -> None:
    first, second, third = _core.decode_values(_core.encode_values((["word", "".join(["wo", "rd"]), "other"],)))[0]
    assert first is second
    assert third == "other"
