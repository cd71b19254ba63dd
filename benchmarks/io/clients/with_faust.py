"""faust-streaming: an agent, at least once. It is slow: it ends after a while, with what it has done by then."""

from __future__ import annotations

import sys
import tempfile
import time

import faust
from timing import LINGER_MS, Order, Timed, Words

order, timed, count = Order.given(), Timed(), Words().count
app = faust.App(
    order.target,
    broker=f"kafka://{order.broker}",
    value_serializer="raw",
    store="memory://",
    topic_partitions=2,
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
    datadir=tempfile.mkdtemp(),
    stream_wait_empty=False,
    topic_disable_leader=True,
    producer_linger=LINGER_MS / 1000,
    stream_buffer_maxsize=4096,
)
sentences = app.topic(order.source, value_type=bytes, value_serializer="raw", partitions=2)
counts = app.topic(order.target, value_type=bytes, value_serializer="raw", partitions=2)


@app.agent(sentences)
async def counted(stream):
    done = 0
    async for sentence in stream:
        timed.begin()
        await counts.send(value=b"%d" % count(sentence.decode()))
        done += 1
        if done >= order.count or (not done % 1000 and time.perf_counter() - timed.began_s > order.within_s):
            timed.tell_and_leave(done)


sys.argv = ["faust", "worker", "-l", "error", "--without-web"]
app.main()
