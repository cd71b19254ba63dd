"""The command line. Heavy libraries are imported only by the commands that need them."""

from __future__ import annotations

from squall.cli.app import main

__all__ = ["main"]
