"""Measurements against bare Python loops, always as ratios of paired runs."""
