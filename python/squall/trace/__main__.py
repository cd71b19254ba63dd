"""Tries the laws on the traces of a run: `python -m squall.trace FOLDER`.

FOLDER is that of one run, below `topology.trace.dir`. Exit code 1: a law does not hold; 2: there is no trace, or one
cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from squall.trace.laws import MOST_TOLD, check
from squall.trace.life import Life, lives_in


def told(life: Life) -> str:
    """What a life did, in one line."""
    counts: Counter[str] = Counter()
    for block in life.blocks():
        counts["turns"] += 1
        counts.update(type(note).__name__.lower() for note in block.notes)
    numbers = "  ".join(f"{name} {counts[name]:,}" for name in ("turns", "opened", "sent", "taken", "ended"))
    return f"{life}: {numbers}" + (f"  (cut off: {life.cut})" if life.cut else "")


def main() -> int:
    """Tries the laws; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m squall.trace", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder = parser.parse_args().folder
    try:
        lives = lives_in(folder)
        if not lives:
            parser.error(f"there is no trace in {folder}; each run has a folder of its own below topology.trace.dir")
        for life in lives:
            print(told(life))
        breaches = check(lives)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for breach in breaches[:MOST_TOLD]:
        print(breach)
    print(f"{len(breaches)} breaches" if breaches else "all laws hold")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
