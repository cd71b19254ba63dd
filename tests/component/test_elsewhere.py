"""Code that runs away from the loop, in real time: async and blocking components."""

from __future__ import annotations

from .conftest import Squall

ASYNC = """
    import asyncio, threading, time
    from squall import Bolt, DropTuple, Topology

    class Fetch(Bolt):
        outputs = ("n", "took")
        max_in_flight = 50
        ordered = True
        timeout = 0.5

        async def open(self, context):
            await asyncio.sleep(0)
            self.running = self.most = 0
            self.hung = set()

        async def process(self, n: int):
            if n == 100 and n not in self.hung:
                self.hung.add(n)
                await asyncio.sleep(60)
            if n == 150:
                raise DropTuple("not this one")
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.05 if n % 2 else 0.01)
            self.running -= 1
            return n, threading.current_thread().name

        async def close(self):
            await asyncio.sleep(0)
            print("most at once", self.most)

    class Store(Bolt):
        blocking = True
        tick_every = 0.05
        outputs = ("n",)

        def open(self, context):
            self.thread = threading.get_ident()
            self.seen, self.ticks = [], 0

        def process(self, n: int, took: str):
            assert threading.get_ident() == self.thread and took == "squall-async"
            time.sleep(0.001)
            self.seen.append(n)
            self.emit(n)

        def tick(self):
            assert threading.get_ident() == self.thread
            self.ticks += 1

        def drain(self):
            assert threading.get_ident() == self.thread
            self.emit(-1)

        def close(self):
            assert threading.get_ident() == self.thread
            first = [n for n in self.seen if n < 50]
            print("first in order", first == sorted(first), "seen", len(set(self.seen)), "ticked", self.ticks > 0)

    class Last(Bolt):
        def process_batch(self, n: list) -> None:
            print("last took", len(n), "ending with", n[-1])

    topology = Topology("elsewhere")
    fetched = topology.bolt("fetch", Fetch).shuffle(topology.spout("numbers", lambda: iter(range(200)), outputs=("n",)))
    stored = topology.bolt("store", Store).shuffle(fetched)
    topology.bolt("last", Last).shuffle(stored)
"""


def test_async_and_blocking_components(squall: Squall) -> None:
    """Many calls at once, results in order where asked, a hanging call timed out and tried again, own threads kept."""
    run = squall.run(ASYNC)
    assert run.end() == 0, run.err
    summary = run.summary()
    assert (summary["emitted"], summary["acked"], summary["failed"]) == (201, 200, 1)
    assert summary["wall_s"] < 10
    most = int(run.err.split("most at once ")[1].split()[0])
    assert 10 < most <= 50
    assert "first in order True seen 199 ticked True" in run.err
    assert "ending with -1" in run.err
    assert "TimeoutError" in run.err
    assert summary["components"]["fetch"]["dropped"] == 1


def test_blocking_spout(squall: Squall) -> None:
    """A spout that blocks holds up nobody: another one goes on meanwhile."""
    run = squall.run(
        """
        import time
        from squall import Bolt, Exhausted, Spout, Topology

        class Slow(Spout):
            outputs = ("n",)
            blocking = True

            def __init__(self):
                self.n = 0

            def next_tuple(self):
                if self.n == 3:
                    raise Exhausted
                time.sleep(0.3)
                self.n += 1
                self.emit(self.n, id=self.n)

            def ack(self, n):
                print("acked", n)

        class Take(Bolt):
            def open(self, context):
                self.fast = 0

            def process(self, n: int):
                if n < 100:
                    print("slow", n, "after", self.fast >= 1000)
                else:
                    self.fast += 1

        topology = Topology("two")
        take = topology.bolt("take", Take).shuffle(topology.spout("slow", Slow))
        take.shuffle(topology.spout("fast", lambda: iter(range(100, 2100)), outputs=("n",)))
        """
    )
    assert run.end() == 0, run.err
    assert run.summary()["acked"] == 2003
    assert "slow 1 after True" in run.err
    assert "acked 3" in run.err


def test_thread_of_user_code_emits_unanchored(squall: Squall) -> None:
    """`self.emit` from a thread that user code started belongs to no tuple; the drain still takes it along."""
    run = squall.run(
        """
        import threading
        from squall import Bolt, Topology

        class Background(Bolt):
            outputs = ("n",)

            def open(self, context):
                self.queue = []

            def process(self, n: int):
                thread = threading.Thread(target=self.emit, args=(n * 2,))
                thread.start()
                thread.join()

        class Sum(Bolt):
            def open(self, context):
                self.total = 0

            def process(self, n: int):
                self.total += n

            def close(self):
                print("the sum is", self.total)

        topology = Topology("threads")
        numbers = topology.spout("numbers", lambda: iter(range(10)), outputs=("n",))
        doubled = topology.bolt("double", Background).shuffle(numbers)
        topology.bolt("sum", Sum).shuffle(doubled)
        """
    )
    assert run.end() == 0, run.err
    assert "the sum is 90" in run.err


def test_async_calls_that_never_return_free_their_places(squall: Squall) -> None:
    """Semantics 16. They fail after the time-out and are ended; those behind them are served, in order where asked."""
    for ordered in (False, True):
        run = squall.run(
            f"""
            import asyncio
            from squall import Bolt, Topology

            class Fetch(Bolt):
                max_in_flight = 2
                ordered = {ordered}

                async def process(self, n: int):
                    try:
                        await asyncio.sleep(1000 if n < 4 else 0)
                    except asyncio.CancelledError:
                        print("cancelled", n)
                        raise

            topology = Topology("hanging", settings={{"topology.message.timeout.secs": 0.2}})
            fetch = topology.bolt("fetch", Fetch, retries=0)
            fetch.shuffle(topology.spout("s", lambda: iter(range(20)), outputs=("n",)))
            """
        )
        assert run.end() == 0, run.err
        summary = run.summary()
        assert (summary["acked"], summary["dead"]) == (16, 4)
        assert all(f"cancelled {n}" in run.err for n in range(4))
        assert "code: held_too_long" in run.err


def test_coroutine_of_user_code_that_exits_takes_no_other_along(squall: Squall) -> None:
    """It ends as a thread does that exits: the event loop goes on for all others."""
    run = squall.run(
        """
        import asyncio, sys
        from squall import Bolt, Topology

        class Fetch(Bolt):
            async def process(self, n: int):
                if n == 3:
                    asyncio.create_task(self.leave())
                await asyncio.sleep(0.01)

            async def leave(self):
                sys.exit(4)

        topology = Topology("leaving")
        topology.bolt("fetch", Fetch, retries=0).shuffle(topology.spout("s", lambda: iter(range(200)), outputs=("n",)))
        """
    )
    assert run.end() == 0, run.err
    assert run.summary()["acked"] == 200
    assert "event=coroutine_exited" in run.err


def test_open_drain_and_close_of_a_blocking_component_may_be_async(squall: Squall) -> None:
    """The API page, Life. They run on its thread."""
    run = squall.run(
        """
        import asyncio, threading
        from squall import Bolt, Topology

        class Store(Bolt):
            blocking = True

            async def open(self, context):
                await asyncio.sleep(0)
                print("opened in", threading.current_thread().name, ".")

            def process(self, n: int):
                pass

            async def drain(self):
                await asyncio.sleep(0)
                print("drained in", threading.current_thread().name, ".")

            async def close(self):
                await asyncio.sleep(0)
                print("closed in", threading.current_thread().name, ".")

        topology = Topology("opening")
        topology.bolt("store", Store).shuffle(topology.spout("s", lambda: iter(range(2)), outputs=("n",)))
        """
    )
    assert run.end() == 0, run.err
    assert "opened in squall-store ." in run.err
    assert "drained in squall-store ." in run.err
    assert "closed in squall-store ." in run.err
