"""Figures as monitoring systems have them: families of samples with labels; no library of theirs is needed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

UNITS = ("seconds", "bytes", "ratio")


class Kind(Enum):
    """What may be done with a figure."""

    COUNTER = "counter"
    """Only grows; its name ends with `_total`."""
    GAUGE = "gauge"
    SUMMARY = "summary"
    """Quantiles, with `_count` and `_sum`."""
    HISTOGRAM = "histogram"
    """Counts of the values up to each bound, with `_count` and `_sum`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number. `suffix`: what its name has after that of its family."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name and one kind, none with the labels of another."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]

    @property
    def unit(self) -> str:
        """What the name ends with, if that is a unit."""
        last = self.name.rpartition("_")[2]
        return last if last in UNITS else ""


def number(value: float) -> str:
    """A number as text has it: a whole one without a decimal point."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
