"""Files as sinks: `sink` is the bolt, `formats` and `parquet` make rows into bytes, `layout` says into which file,

`staging` writes a file that is not published yet, `publishing` makes it visible, `recovery` does so after a crash.
"""

from squall.connectors.files.formats import Csv, JsonLines, Text
from squall.connectors.files.layout import Rotation
from squall.connectors.files.parquet import Parquet
from squall.connectors.files.sink import FileSink

__all__ = ["Csv", "FileSink", "JsonLines", "Parquet", "Rotation", "Text"]
