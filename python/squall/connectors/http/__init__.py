"""HTTP as a source and as a sink: `intake` answers requests, `spout` serves it, `sink` sends."""

from squall.connectors.http.sink import HttpSink
from squall.connectors.http.spout import HttpSpout

__all__ = ["HttpSink", "HttpSpout"]
