"""squall: real-time stream processing. Storm's model (spouts, bolts, streams, acks) in Python on a Rust core."""

from squall._core import Batch, Emit, Tuple
from squall.api.components import Action, Bolt, Component, OnError, Spout
from squall.api.context import Counter, Histogram, Timer, TopologyContext
from squall.api.fields import Fields, FieldsLike
from squall.api.registered import register_type
from squall.api.topology import (
    BoltDeclarer,
    Declarer,
    Grouping,
    Into,
    Renames,
    Resources,
    SpoutDeclarer,
    Stream,
    Topology,
)
from squall.errors import DeadLetter, DropTuple, Exhausted, RetryTuple
from squall.model.durations import Seconds

__all__ = [
    "Action",
    "Batch",
    "Bolt",
    "BoltDeclarer",
    "Component",
    "Counter",
    "DeadLetter",
    "Declarer",
    "DropTuple",
    "Emit",
    "Exhausted",
    "Fields",
    "FieldsLike",
    "Grouping",
    "Histogram",
    "Into",
    "OnError",
    "Renames",
    "Resources",
    "RetryTuple",
    "Seconds",
    "Spout",
    "SpoutDeclarer",
    "Stream",
    "Timer",
    "Topology",
    "TopologyContext",
    "Tuple",
    "register_type",
]
