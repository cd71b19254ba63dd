"""Files of traces that were damaged: they are told as that, never as a law that does not hold."""

from __future__ import annotations

from pathlib import Path
from struct import pack
from typing import BinaryIO

import pytest
from squall.trace import Life, check
from squall.trace.__main__ import main
from squall.trace.notes import Note, TaskNote, decoded

TASK = b"\x01" + pack("<IBH", 1, 1, 7) + b"numbers"
OPENED = b"\x03" + pack("<QIIIBB", 1 << 48 | 1, 1, 1, 0, 0, 0)
DAMAGED = {
    "half a note": OPENED[:-1],
    "half a name": TASK[:-1],
    "half of the head of a name": TASK[:5],
    "a name that is no text": TASK[:-1] + b"\xff",
    "half a list of workers": b"\x02" + pack("<III", 1, 0, 1 << 31) + bytes(8),
    "a note of no kind": b"\xff",
}


def trace(*blocks: bytes, version: int = 1) -> bytes:
    """A trace of life 1 of worker 1."""
    head = pack("<8sIIII", b"SQTRACE\n", version, 0, 1, 1)
    return head + b"".join(pack("<IQQ", len(block), 0, 1) + block for block in blocks)


def tried(folder: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """The exit code of `python -m squall.trace` on a folder with this trace."""
    (folder / "1.trace").write_bytes(data)
    monkeypatch.setattr("sys.argv", ["squall.trace", str(folder)])
    try:
        return main()
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("block", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_block_is_a_value_error(block: bytes) -> None:
    with pytest.raises(ValueError, match=r"left of its block|no note of kind|decode"):
        list(decoded(block))
    with pytest.raises(ValueError, match="it is damaged: "):
        check([Life.of_bytes(trace(TASK, block))])


@pytest.mark.parametrize("block", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_trace_is_not_told_as_a_law_that_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], block: bytes
) -> None:
    assert tried(tmp_path, trace(TASK, block), monkeypatch) == 2
    assert "1.trace is damaged: " in capsys.readouterr().err


def test_the_exit_code_tells_laws_from_traces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tried(tmp_path, trace(TASK, OPENED), monkeypatch) == 0
    assert tried(tmp_path, trace(TASK, OPENED, OPENED), monkeypatch) == 1
    assert tried(tmp_path, trace(TASK, version=2), monkeypatch) == 2
    assert "form 2" in capsys.readouterr().err
    (tmp_path / "2.trace").symlink_to(tmp_path / "gone")
    assert tried(tmp_path, trace(TASK), monkeypatch) == 2


class Sized:
    """A file that notes the most that it was asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.most = file, 0

    def read(self, size: int) -> bytes:
        self.most = max(self.most, size)
        return self.file.read(size)


def test_no_more_is_asked_for_than_a_file_has(tmp_path: Path) -> None:
    from squall.trace.life import _blocks  # pyright: ignore[reportPrivateUsage]

    path = tmp_path / "1.trace"
    path.write_bytes(data := trace(TASK) + pack("<IQQ", 0xFFFF_FFFF, 0, 1) + OPENED)
    life = Life.of_file(path)
    notes: list[Note] = [TaskNote(1, True, "numbers")]
    assert [block.notes for block in life.blocks()] == [notes]
    with path.open("rb") as file:
        file.seek(24)
        sized = Sized(file)
        assert len(list(_blocks(sized, len(data)))) == 1  # pyright: ignore[reportArgumentType]
    assert sized.most < len(data)
