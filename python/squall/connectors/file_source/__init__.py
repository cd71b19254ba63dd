"""Files as sources: `spout` is the spout, `formats` what files hold, `found` which files a task reads.

`tracked` is one of them, `raw` its bytes, `blocks`, `csv_rows` and `row_groups` its records, `progress` how far it has
ended and what of that is kept over runs.
"""

from squall.connectors.file_source.formats import Csv, JsonLines, Lines, Parquet
from squall.connectors.file_source.spout import FileSpout

__all__ = ["Csv", "FileSpout", "JsonLines", "Lines", "Parquet"]
