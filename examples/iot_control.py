"""Sensors with a threshold and a control loop: a device that runs hot is watched closely until it has calmed down.

    $ squall run examples/iot_control.py          # -p input=FILE -p high=80 -p calm=100ms
    pump-2: keep 1 reading in 1

Of a device's readings one in ten is kept. When one is `high`, the order to keep all goes back to the very task that has
the device: a direct stream in a loop, in no tree (`anchors=()`). Below `high` for `calm`, a timer relaxes it.
"""

import csv
from collections import Counter
from datetime import timedelta
from pathlib import Path

from squall import Bolt, Exhausted, Fields, Spout, Timer, Topology, Tuple
from squall.connectors.standard import Print

READINGS = Path(__file__).parent / "data" / "readings.csv"


class Readings(Spout):
    outputs = {"device": str, "celsius": float}
    rate_per_s = 200  # the sample is replayed faster than it happened

    def __init__(self, input: Path) -> None:
        self.rows = csv.reader(input.open(newline=""))

    def next_tuple(self) -> tuple[str, float]:
        for device, celsius in self.rows:
            return device, float(celsius)
        raise Exhausted


class Watch(Bolt):
    outputs = {"device": str, "celsius": float}
    streams = {"alarms": {"device": str, "hot": bool}}

    def __init__(self, high: float) -> None:
        self.high, self.hot, self.seen, self.every = high, set[str](), Counter[str](), dict[str, int]()

    def process(self, device: str, celsius: float) -> tuple[str, float] | None:
        self.seen[device] += 1
        if crossed := (celsius >= self.high) != (device in self.hot):
            self.hot ^= {device}
            self.emit(device, device in self.hot, stream="alarms")
        return (device, celsius) if crossed or self.seen[device] % self.every.get(device, 10) == 0 else None

    def on_order(self, device: str, every: int) -> None:
        self.every[device] = every


class Control(Bolt):
    outputs = ("line",)
    streams = {"orders": Fields({"device": str, "every": int}, direct=True)}

    def __init__(self, calm: timedelta) -> None:
        self.calm, self.timers = calm, dict[str, Timer]()

    def process(self, device: str, hot: bool, tup: Tuple) -> None:
        if timer := self.timers.pop(device, None):
            timer.cancel()  # it did not stay calm
        if hot:
            self.order(device, 1, tup.source_task)
        else:
            self.timers[device] = self.context.after(self.calm, self.order, device, 10, tup.source_task)

    def order(self, device: str, every: int, task: int) -> None:
        self.emit(device, every, stream="orders", task=task, anchors=())
        self.emit(f"{device}: keep 1 reading in {every}")


def build(input: Path = READINGS, high: float = 80.0, calm: timedelta = timedelta(milliseconds=100)) -> Topology:
    topology = Topology("iot-control")
    readings = topology.spout("readings", lambda: Readings(input))
    watch = topology.bolt("watch", lambda: Watch(high), parallelism=2).fields(readings, "device")
    control = topology.bolt("control", lambda: Control(calm)).global_(watch["alarms"])
    watch.direct(control["orders"], into=Watch.on_order)
    topology.bolt("print", Print).shuffle(watch).shuffle(control)
    return topology
