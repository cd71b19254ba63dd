"""SQL databases as sink, lookup and source: `sink`, `lookup`, `spout`.

`dialects` is what each database does in its own way, `failures` what its errors mean, `database` a task's connection.
`columns` and `target` say whether and how rows go to a table; `polling` is how far a source has read.
"""

from squall.connectors.sql.lookup import SqlLookup
from squall.connectors.sql.sink import SqlSink
from squall.connectors.sql.spout import SqlSpout

__all__ = ["SqlLookup", "SqlSink", "SqlSpout"]
