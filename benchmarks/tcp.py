"""End to end from TCP: lines in, words counted, acked; beside a bare blocking socket and a bare asyncio loop."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from squall import Topology
from squall.connectors.tcp import Receipts, TcpSpout

from benchmarks.harness import prepare
from benchmarks.workloads import PICK, Count

LINES = 400_000


@dataclass(frozen=True)
class Throughput:
    """One way of counting the words of a stream of lines."""

    name: str
    lines_per_s: float
    mb_per_s: float
    cpu_s: float


def payload(lines: int) -> bytes:
    return "".join(PICK[i & 65_535] + "\n" for i in range(lines)).encode()


def _send(address: tuple[str, int], lines: int) -> None:
    data = payload(lines)
    with socket.create_connection(address) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1):
            pass


class Clock:
    """Started when the first bytes are there, so that the sender's start-up does not count."""

    began = 0.0
    cpu = 0.0

    @classmethod
    def start(cls) -> None:
        cls.began, cls.cpu = time.perf_counter(), time.process_time()


def _fed(name: str, lines: int, listener: socket.socket, count: Callable[[socket.socket], int]) -> Throughput:
    sender = multiprocessing.get_context("spawn").Process(target=_send, args=(listener.getsockname(), lines))
    sender.start()
    counted = count(listener)
    elapsed, used = time.perf_counter() - Clock.began, time.process_time() - Clock.cpu
    sender.join()
    assert counted == sum(len(PICK[i & 65_535].split()) for i in range(lines)), counted
    return Throughput(name, lines / elapsed, len(payload(lines)) / elapsed / 1e6, used)


def blocking(listener: socket.socket) -> int:
    counts: Counter[str] = Counter()
    connection, _ = listener.accept()
    with connection, connection.makefile(encoding="utf-8", newline="\n") as lines:
        Clock.start()
        for line in lines:
            for word in line.split():
                counts[word] += 1
    return counts.total()


def with_asyncio(listener: socket.socket) -> int:
    counts: Counter[str] = Counter()

    async def serve() -> None:
        done = asyncio.Event()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            Clock.start()
            while line := await reader.readline():
                for word in line.decode().split():
                    counts[word] += 1
            writer.close()
            done.set()

        server = await asyncio.start_server(connected, sock=listener)
        await done.wait()
        server.close()

    asyncio.run(serve())
    return counts.total()


def split_line(line: str) -> list[str]:
    return line.split()


def with_squall(listener: socket.socket, receipts: Receipts | None = None) -> int:
    topology = Topology("tcp")
    spout = TcpSpout.listen("127.0.0.1:1", receipts=receipts)
    spout.adopt(listener.fileno())
    lines = topology.spout("lines", lambda: spout)
    words = topology.bolt("split", split_line, outputs=("word",)).shuffle(lines)
    topology.bolt("count", Count, parallelism=2).fields(words, "word")
    run = prepare(topology)
    try:
        worker = run.worker
        while not run.worker.snapshot()[0]["emitted"]["default"]:
            worker.run(deadline=worker.monotonic() + 0.001)
        Clock.start()
        expected = LINES
        while worker.snapshot()[0]["acked"] < expected:
            worker.run(deadline=worker.monotonic() + 0.02)
        return sum(sum(task.instance.counts.values()) for task in run.built.of("count"))
    finally:
        run.close()


def with_receipts(listener: socket.socket) -> int:
    return with_squall(listener, "processed")


def measure() -> list[Throughput]:
    """The ways, one after the other."""
    results = []
    ways = {
        "blocking socket loop": blocking,
        "asyncio streams loop": with_asyncio,
        "squall, acked": with_squall,
        "squall, acked, with receipts": with_receipts,
    }
    for name, count in ways.items():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            results.append(_fed(name, LINES, listener, count))
    return results
