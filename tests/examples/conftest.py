"""The examples are files that `squall run` loads by path; a test imports them as it would its own topology file."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
