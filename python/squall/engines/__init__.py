"""Engines carry out what was decided: processes, sockets, signals."""
