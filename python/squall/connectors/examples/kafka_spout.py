"""Counts the words of a topic; killed and run again, it goes on where its group had committed."""

from collections import Counter

from squall import Topology
from squall.connectors.kafka import KafkaSpout
from squall.connectors.standard import Print

counts: Counter[str] = Counter()


def count(value: str) -> list[tuple[str, int]]:
    """Each word of a sentence, with how often it has come."""
    counts.update(value.split())
    return [(word, counts[word]) for word in value.split()]


topology = Topology("kafka-words")
spout = KafkaSpout("sentences", servers="localhost:9092", group="words", value="text", fields=("value",))
counted = topology.bolt("count", count, outputs=("word", "count")).shuffle(topology.spout("sentences", spout))
topology.bolt("print", Print).shuffle(counted)
