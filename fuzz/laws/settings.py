"""What holds of settings wherever they are said: each is a value that its row allows, or all that is wrong is refused.

Nothing that is wrong hides another thing that is: there is a defect for each. A duration is what its text says.
"""

from __future__ import annotations

import math

from laws.refusal import check_refusal
from laws.script import Script, folder
from squall.config.load import load
from squall.config.table import DEFAULTS, SETTINGS
from squall.errors import ConfigError
from squall.model.durations import MAX_S, UNITS_S, parse_duration

FOLDER = folder()
FILE = FOLDER / "squall.yaml"
KEYS = sorted(SETTINGS)
WORDS = (
    *("true", "off", "null", "~", "-1", "0x10", "1e3", ".inf", "5", "1_000", "9" * 5000, "'5'", "[1]", "{a: 1}", "|"),
    *("2026-01-01", "!!python/name:os.system", "&a 1", "*a", "INFO", "  ", "1:30"),
)


def check(data: bytes) -> None:
    """The bytes are a duration, a file, or settings in a file and on a command line."""
    script = Script(data)
    match script.below(4):
        case 0:
            return _check_duration(script.text(40))
        case 1:
            FILE.write_bytes(script.rest())
            return _check_load([])
        case _:
            pass
    lines = [f"{key}: {value}" for key, value in (_entry(script) for _ in range(script.below(4)))]
    FILE.write_text("\n".join(lines), "utf-8", "replace")
    _check_load(["=".join(_entry(script)) if script.byte() % 8 else script.text(20) for _ in range(script.below(4))])


def _entry(script: Script) -> tuple[str, str]:
    key = script.one_of(KEYS) if script.byte() % 8 else script.text(12)
    return key, script.one_of(WORDS) if script.byte() % 2 else script.text(12)


def _check_load(overrides: list[str]) -> None:
    try:
        settings = load(overrides, folder=FOLDER)
    except ConfigError as error:
        check_refusal(error)
        without_value = sum("=" not in text for text in overrides)
        assert sum(defect.code == "setting_syntax" for defect in error.defects) == without_value
        for text in overrides:
            _check_hidden_by_none(text, error)
        return
    assert settings.keys() == DEFAULTS.keys()
    for key, value in settings.items():
        row = SETTINGS[key]
        if value != row.default:
            assert type(value) is row.kind, (key, value)
            assert row.allows(value), (key, value)
        assert not isinstance(value, float) or math.isfinite(value), (key, value)


def _check_hidden_by_none(text: str, error: ConfigError) -> None:
    """What is wrong alone is wrong among others."""
    FILE.unlink(missing_ok=True)
    try:
        load([text], folder=FOLDER)
    except ConfigError as alone:
        for defect in alone.defects:
            assert defect in error.defects, (defect, error.defects)


def _check_duration(text: str) -> None:
    try:
        length_s = parse_duration(text)
    except ValueError as error:
        assert "duration" in str(error) or "longer than" in str(error)
        return
    assert 0 <= length_s <= MAX_S
    number = text.strip().rstrip("usmhd").strip()
    unit = text.strip().removeprefix(number).strip()
    assert length_s == float(number) * UNITS_S[unit or "s"], text
