"""Exit codes by which a worker tells its parent what it has no memory to say."""

from __future__ import annotations

NO_MEMORY = 12
"""It could not carry out what its parent told it for lack of memory (as ENOMEM)."""
