"""`squall.yaml`: its keys and values with the lines where they stand.

It is taken apart as nodes, never as objects: settings are single values, so what a file may hold is decided before
anything is built from it. Aliases cost nothing that way, and tags of Python's own objects build nothing.

Bound: a file of more than 256 KiB is not read; one that is no regular file is not opened, since that could wait for
ever.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from squall.errors import because

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 256 << 10
NOTHING, MAPPING = "tag:yaml.org,2002:null", "tag:yaml.org,2002:map"
"""What YAML calls nothing, and a mapping that names no type of its own."""


class Unreadable(Exception):
    """Why the file says nothing, and where if it is a place in it."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.why, self.line = why, line


def entries(path: Path) -> list[tuple[str, object, int]]:
    """Each key as it is written, its value and its line, in order; a key may come twice.

    Raises:
        Unreadable: it says nothing that could be understood.
    """
    import yaml

    text = _text(path)
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        return [] if root is None else _entries(loader, root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", column {mark.column + 1}" if mark is not None else ""
        why = f"{error.problem or error.context}{where}"
        raise Unreadable(why, mark.line + 1 if mark is not None else None) from None
    except yaml.YAMLError as error:
        raise Unreadable(" ".join(str(error).split())) from None
    except RecursionError:
        raise Unreadable("it is nested too deep") from None
    finally:
        if loader is not None:
            loader.dispose()


def _text(path: Path) -> str:
    """The text of the file, without a byte order mark."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Unreadable("it is no regular file")
            data: bytes = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    if len(data) > MAX_BYTES:
        raise Unreadable(f"it has more than {MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"byte {error.start} is no UTF-8", data[: error.start].count(b"\n") + 1) from None


def _entries(loader: yaml.SafeLoader, root: yaml.Node) -> list[tuple[str, object, int]]:
    import yaml

    if root.tag == NOTHING:
        return []
    if not isinstance(root, yaml.MappingNode) or root.tag != MAPPING:
        raise Unreadable("it holds no mapping of keys to values", root.start_mark.line + 1)
    found: list[tuple[str, object, int]] = []
    for key, value in root.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise Unreadable("a key is no text", line)
        found.append((key.value, _value(loader, value), line))
    return found


def _value(loader: yaml.SafeLoader, node: yaml.Node) -> object:
    """A single value as YAML means it; anything else as the words that say what it is."""
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        return NotSingle("a list" if isinstance(node, yaml.SequenceNode) else "a mapping")
    construct: Callable[[yaml.Node], object] = cast("Any", loader).construct_object
    try:
        return construct(node)
    except yaml.YAMLError:
        raise
    except Exception as error:  # texts that look like a number or a date and are none
        line = node.start_mark.line + 1
        raise Unreadable(f"{node.value!r} cannot be read as {node.tag}: {because(error)}", line) from None


class NotSingle:
    """What stands where a single value should: no setting takes it."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __repr__(self) -> str:
        return self._what
