"""squall: real-time stream processing. Storm's model (spouts, bolts, streams, acks) in Python on a Rust core."""

from squall._core import Batch, Emit, Tuple
from squall.api.components import Bolt, Spout
from squall.api.context import Counter, Histogram, Timer, TopologyContext
from squall.api.fields import Fields
from squall.api.topology import (
    BoltDeclarer,
    Declarer,
    Grouping,
    Resources,
    SpoutDeclarer,
    Stream,
    Topology,
)
from squall.errors import DeadLetter, DropTuple, Exhausted, RetryTuple

__all__ = [
    "Batch",
    "Bolt",
    "BoltDeclarer",
    "Counter",
    "DeadLetter",
    "Declarer",
    "DropTuple",
    "Emit",
    "Exhausted",
    "Fields",
    "Grouping",
    "Histogram",
    "Resources",
    "RetryTuple",
    "Spout",
    "SpoutDeclarer",
    "Stream",
    "Timer",
    "Topology",
    "TopologyContext",
    "Tuple",
]
