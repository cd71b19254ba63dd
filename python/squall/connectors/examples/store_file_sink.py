"""Writes orders that come as objects into Parquet objects; `FileSink` makes a `StoreFileSink` of an address.

`storage` is for a server that speaks S3, as `moto_server` does; the keys are read from the environment.
"""

from squall import Topology
from squall.connectors.files import FileSink, FileSpout, JsonLines, Parquet, Rotation

STORAGE = {"endpoint_url": "http://127.0.0.1:5000", "key": "env:S3_KEY", "secret": "env:S3_SECRET"}

topology = Topology("objects")
format = JsonLines(fields=["order", "euros"])
source = FileSpout("s3://orders/in/*.jsonl.gz", format=format, follow=True, storage=STORAGE)
rotate = Rotation(size="64MB", every=30)
sink = FileSink("s3://orders/out/part.parquet", format=Parquet(), rotate=rotate, storage=STORAGE)
topology.bolt("save", sink).shuffle(topology.spout("orders", source))
