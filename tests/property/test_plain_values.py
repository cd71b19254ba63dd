"""Laws of values as people read and edit them: what is not changed stays what it was, with its type."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import yaml
from hypothesis import example, given
from squall.cli.letters.editing import as_yaml
from squall.runtime.letter_codec import Unknown
from squall.runtime.plain_values import from_text, like, plain
from test_dead_log import VALUES, types


@example("\x85")
@given(VALUES)
def test_value_that_went_through_json_and_was_not_changed_is_what_it_was(value: Any) -> None:
    again = like(value, json.loads(json.dumps(plain(value))))
    assert again == value
    assert types(again) == types(value)


@given(VALUES)
def test_value_that_went_through_yaml_and_was_not_changed_is_what_it_was(value: Any) -> None:
    """As `squall dead edit` writes and reads it."""
    again = like(value, yaml.safe_load(as_yaml({"f": plain(value)}))["f"])
    assert again == value
    assert types(again) == types(value)


@pytest.mark.parametrize(
    ("old", "text", "new"),
    [
        (3, "4", 4),
        (3, "many", "many"),
        ("3", "4", "4"),
        ("a", '"quoted"', "quoted"),
        (1.5, "2", 2.0),
        (True, "false", False),
        (Decimal("1.50"), "2.25", Decimal("2.25")),
        (Decimal("1.50"), "much", "much"),
        (b"a", "xyz", b"xyz"),
        (("a", 1), '["b", 2]', ("b", 2)),
        ((Decimal(1),), "[2, 3]", (Decimal(2), Decimal(3))),
        ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, '{"at": "2027-01-01"}', {"at": datetime(2027, 1, 1)}),
        (UUID(int=7), "00000000-0000-0000-0000-000000000008", UUID(int=8)),
        (None, "[1]", [1]),
        (Unknown("<socket>"), "5", 5),
        (1, '{"$": "decimal", "v": "7"}', Decimal(7)),
    ],
)  # fmt: skip
def test_changed_value_keeps_the_type_where_it_can(old: Any, text: str, new: Any) -> None:
    given = from_text(old, text)
    assert given == new
    assert types(given) == types(new)


def test_value_that_was_kept_as_text_only_stays_so_until_it_is_changed() -> None:
    kept = Unknown("<socket>")
    assert like(kept, plain(kept)) is kept


def test_an_edit_that_looks_like_a_tagged_value_and_is_none_is_taken_as_it_stands() -> None:
    for new in ({"$": "unknown", "v": 1}, {"$": "uuid", "v": 5}, {"$": "dict", "v": 7}, {"$": [], "v": 1}):
        assert like(1, new) == new
