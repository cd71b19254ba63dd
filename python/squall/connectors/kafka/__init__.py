"""Kafka as a source and as a sink: `spout`, `sink`, and what both can be given (`schemas`, `client`).

The spout: `reading` is the client of a task; `options`, `offsets`, `outgoing`, `stalls` and `seeking` decide;
`decoding` makes rows. The sink: `records` makes records, `transactions` publishes what was staged.
"""

from squall.connectors.kafka.schemas import Avro, JsonSchema, Protobuf
from squall.connectors.kafka.sink import KafkaSink
from squall.connectors.kafka.spout import KafkaSpout

__all__ = ["Avro", "JsonSchema", "KafkaSink", "KafkaSpout", "Protobuf"]
