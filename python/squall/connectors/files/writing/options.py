"""Checks of what a `FileSink` is given, when the topology is built."""

from __future__ import annotations

import re

from squall.errors import Defect, TopologyError

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def refused(message: str, fix: str) -> TopologyError:
    """The error of an option of no use."""
    return TopologyError(Defect("file_option", message, (), fix))


def size_bytes(value: int | str, who: str) -> int:
    """Bytes of a size: a number, or text such as `64MB` or `1GiB`.

    Raises:
        TopologyError: `file_option`.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([KMG]?I?B)?\s*", str(value), re.IGNORECASE)
    if isinstance(value, bool) or not match or int(match[1]) == 0 or (match[2] or "").upper() not in UNITS:
        raise refused(f"{who} {value!r}", 'give bytes above 0, or a size such as "64MB"')
    return int(match[1]) * UNITS[(match[2] or "").upper()]
