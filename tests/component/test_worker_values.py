"""Values that cannot go to another worker, or do harm on the way: each ends as a dead letter, and the rest goes on."""

from __future__ import annotations

from typing import Any

from .conftest import Squall
from .over_workers import kept, letters, lost, with_keep

MIB = 1 << 20

VALUES = """
    import resource

    class Odd:
        pass

    def encode(odd):
        raise LookupError("no bytes for this one")

    register_type(Odd, encode=encode, decode=lambda plain: Odd())

    def nested(levels):
        value = None
        for _ in range(levels):
            value = [value]
        return value

    VALUES = {
        1: lambda: b"x" * (1 << 20),
        2: lambda: b"x" * (64 << 20),
        3: lambda: "x" * (512 << 20),
        4: lambda: ["é" * 1000] * 10_000,
        5: lambda: [0] * 10**6,
        6: lambda: [0] * (2 * 10**6),
        7: lambda: nested(200),
        8: lambda: nested(10**5),
        9: Odd,
    }

    class Make(Bolt):
        outputs = ("n", "value")

        def process(self, n: int):
            return n, VALUES[n]() if n in VALUES else n

        def close(self):
            keep("peak", "make", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)

    class Take(Bolt):
        def process(self, n: int, value: object):
            keep(n, len(value) if isinstance(value, (bytes, str, list)) else value)

        def close(self):
            keep("peak", "take", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)

    topology = Topology("values", settings={"topology.retries": 0, "topology.max.spout.pending": 1})
    numbers = topology.spout("numbers", lambda: iter(range(20)), outputs=("n",))
    make = topology.bolt("make", Make).shuffle(numbers)
    topology.bolt("take", Take).shuffle(make)
"""
REFUSED = {
    2: ("value_too_large", "the tuple takes more than 15 MiB"),
    3: ("value_too_large", "the tuple takes more than 15 MiB"),
    4: ("value_too_large", "the tuple takes more than 15 MiB"),
    6: ("value_too_large", "hold more than 1048576 others"),
    8: ("value_too_deep", "deeper than 256 levels"),
    9: ("value_encoder_failed", "writing a topology.Odd raised LookupError: no bytes for this one"),
}


def test_values_over_the_limits_fail_where_they_are_emitted(squall: Squall) -> None:
    """1 MiB and a million items cross; 64 and 512 MiB, too many items, too deep ones and a bad encoder's do not.

    No worker needs more memory than user code took, or than the largest that may cross.
    """
    run = squall.run(with_keep(squall, VALUES), "-w", 2)
    assert run.end() == 0, run.err
    dead: dict[int, dict[str, Any]] = {letter["root"]["n"]: letter for letter in letters(squall, "values")}
    assert set(dead) == set(REFUSED)
    for n, (code, why) in REFUSED.items():
        letter = dead[n]
        assert all(part in letter["error"] for part in ('"make"', '"default"', '"value"', why)), letter["error"]
        assert f"code: {code}" in letter["traceback"]
        assert (letter["component"], letter["input"]) == ("make", {"n": n})
    rows = list(kept(squall))
    came = {row[0]: row[1] for row in rows if row[0] != "peak"}
    fine = {n: n for n in range(20) if n not in REFUSED}
    assert came == fine | {1: MIB, 5: 10**6, 7: 1}
    peaks_mib = {row[1]: row[2] for row in rows if row[0] == "peak"}
    assert peaks_mib["make"] < 512 + 150
    assert peaks_mib["take"] < 200
    assert lost(run) == []
    assert run.summary()["dead"] == len(REFUSED)


WIDE = """
    WIDTH = 10**6

    class Wide(Bolt):
        outputs = tuple(f"f{n}" for n in range(WIDTH))

        def process(self, n: int):
            return tuple(range(n, n + WIDTH - (n == 1)))

    class Ends(Bolt):
        def process(self, f0: int, f999999: int):
            if f0 == 2:
                raise LookupError(f0)
            keep(f0, f999999)

    topology = Topology("wide", settings={"topology.retries": 0, "topology.max.spout.pending": 2})
    numbers = topology.spout("numbers", lambda: iter(range(4)), outputs=("n",))
    wide = topology.bolt("wide", Wide).shuffle(numbers)
    topology.bolt("ends", Ends).shuffle(wide)
"""


def test_a_million_fields_cross_and_fail_like_others(squall: Squall) -> None:
    """In time that grows with them; one value too few is told, and so is a failure at the other end."""
    run = squall.run(with_keep(squall, WIDE), "-w", 2)
    assert run.end(60) == 0, run.err[-3000:]
    assert sorted(kept(squall)) == [[0, 10**6 - 1], [3, 10**6 + 2]]
    dead = {letter["root"]["n"]: letter for letter in letters(squall, "wide")}
    assert "emitted 999999 values" in dead[1]["error"]
    assert (dead[2]["component"], dead[2]["error"]) == ("ends", "LookupError: 2")
    assert lost(run) == []
    assert run.summary()["dead"] == 2
