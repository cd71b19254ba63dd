"""Files, as a source and as a sink: `spout`, `sink`, and `formats`, which both can be given.

`reading` is what makes the spout: which files, their bytes and records, how far they have ended. `writing` is what
makes the sink: rows as bytes, into which file, and how that appears whole.
"""

from squall.connectors.files.formats.csv import Csv
from squall.connectors.files.formats.json_lines import JsonLines
from squall.connectors.files.formats.parquet import Parquet
from squall.connectors.files.formats.text import Text
from squall.connectors.files.sink import FileSink
from squall.connectors.files.spout import FileSpout
from squall.connectors.files.writing.layout import Rotation

__all__ = ["Csv", "FileSink", "FileSpout", "JsonLines", "Parquet", "Rotation", "Text"]
