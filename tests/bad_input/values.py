"""Values that no one means, by what they claim to be; each with a name that a test's id can have."""

from __future__ import annotations

from collections.abc import Mapping

LONG = 100 << 10
"""A program gets at most 128 KiB in one argument; a name has no more than 100 characters."""

TEXTS: Mapping[str, str] = {
    "empty": "",
    "space": " ",
    "newline": "a\nb",
    "carriage return": "a\r\nb",
    "tab": "a\tb",
    "nul": "a\0b",
    "escape": "a\x1b[31mb\x07",
    "no utf-8": "a\udcff\udc80",
    "surrogate": "\ud800",
    "long": "x" * LONG,
    "command": "$(id)",
    "two commands": "a; rm -rf /",
    "backquotes": "`id`",
    "percent": "%s%n%d",
    "braces": "{0.__class__}{x}",
    "up": "../../etc/passwd",
    "encoded up": "%2e%2e%2fetc",
    "absolute": "/proc/nowhere/passwd",
    "dot": ".",
    "dots": "..",
    "slash": "/",
    "backslash": "\\",
    "colon": ":",
    "script": "<script>alert(1)</script>",
    "quotes": "'\"",
    "turned around": "a\u202eb",
    "zero width": "a\u200bb",
    "byte order mark": "\ufeffa",
    "system": "__acker",
}
"""What may stand where a name or a path should."""

NUMBERS: Mapping[str, str] = {
    "empty": "",
    "word": "many",
    "negative": "-1",
    "zero": "0",
    "fraction": "1.5",
    "nan": "NaN",
    "infinite": "inf",
    "too large": "1e309",
    "digits": "9" * 5000,
    "hexadecimal": "0x10",
    "separated": "1,000",
    "other digits": "١٢",
    "spaces": "1 2",
    "command": "$(id)",
    "newline": "1\n2",
    "nul": "1\0",
    "long": "x" * LONG,
}
"""What may stand where a count from 1 should; `1e309` is beyond a double."""

DURATIONS: Mapping[str, str] = {
    **{name: text for name, text in NUMBERS.items() if name not in ("zero", "fraction")},
    "unit alone": "s",
    "word for a unit": "5 sec",
    "unknown unit": "5w",
    "two parts": "1h30m",
    "comma": "1,5s",
    "beyond all clocks": "9" * 300 + "d",
    "a thousand years": "365000d",
}
"""What may stand where a duration should, as `20s`."""

RATIOS: Mapping[str, str] = {
    **{name: text for name, text in NUMBERS.items() if name not in ("fraction", "other digits")},
    "above one": "1.0001",
    "percent": "5%",
}
"""What may stand where a share above 0 and up to 1 should."""

ODD_NAMES: Mapping[str, str] = {
    **{name: TEXTS[name] for name in ("command", "backquotes", "percent", "quotes", "encoded up")},
    "one character": "a",
    "digit": "1",
    "hyphen": "-",
    "option": "--help",
    "one underscore": "_acker",
    "underscores inside": "a__b",
    "longest": "x" * 100,
    "most bytes": "ä" * 100,
    "homoglyph": "соunt",
    "combining": "e\u0301",
    "right to left": "שלום",
    "emoji": "🦀",
    "angle brackets": "<script>",
    "markup": "[red]a[/red]".replace("/", ""),
    "equals": "a=b",
    "comma": "a,b",
    "semicolon": "a;b",
    "star": "*",
    "hash": "#",
    "tilde": "~",
    "none": "None",
    "null": "null",
    "case": "Count",
    "other case": "count",
}
"""Names that are odd and are names all the same."""

NO_NAMES: Mapping[str, str] = {
    **{name: text for name, text in TEXTS.items() if name not in ODD_NAMES},
    "one too many": "x" * 101,
    "255": "x" * 255,
    "256": "x" * 256,
    "64 Ki": "x" * (64 << 10),
    "too many bytes": "ä" * 101,
    "emoji bytes": "🦀" * 51,
    "no-break space": "a\u00a0b",
    "ideographic space": "a\u3000b",
    "line separator": "a\u2028b",
    "vertical tab": "a\vb",
    "delete": "a\x7fb",
    "isolate": "\u2066a\u2069",
    "tag": "a\U000e0041",
    "two underscores": "__",
    "ends in a dot": "a.",
    "drive": "c:x",
}
"""What is no name of a topology, component or stream."""
