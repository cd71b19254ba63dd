"""Posts alarms to a service, ten in a request; the token is read from the environment where the topology runs."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.http import HttpSink


def alarms() -> Iterator[tuple[str, int]]:
    """Made up."""
    for number in range(100):
        yield f"elevator-{number % 7}", number


topology = Topology("http-alarms")
source = topology.spout("alarms", alarms, outputs=("device", "number"))
headers = {"Authorization": "Bearer env:ALARMS_TOKEN"}
topology.bolt("post", HttpSink("http://127.0.0.1:8081/alarms", headers=headers, batch=10)).shuffle(source)
