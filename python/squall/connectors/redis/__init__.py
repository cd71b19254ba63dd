"""Redis, as a source and as a sink: streams (`stream_spout`, `stream_sink`), and keys of any kind (`store`, `lookup`).

`server` reaches it and says what its errors mean; `entries` are a stream's entries as rows, `group` is what Redis says
of a consumer group, `reading` the threads of a spout; `kinds` are the kinds of keys, for both ways.
"""

from squall.connectors.redis.kinds import Hash, HyperLogLog, List, Set, SortedSet, String
from squall.connectors.redis.lookup import RedisLookup
from squall.connectors.redis.store import RedisStore
from squall.connectors.redis.stream_sink import RedisStreamSink
from squall.connectors.redis.stream_spout import RedisStreamSpout

__all__ = [
    "Hash",
    "HyperLogLog",
    "List",
    "RedisLookup",
    "RedisStore",
    "RedisStreamSink",
    "RedisStreamSpout",
    "Set",
    "SortedSet",
    "String",
]
