"""The two workloads: W1 = sentences → split → fields-grouped count; W2 = identity hops.

Each is given as plain functions in a loop, and as topologies made of the same functions through the public API.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from squall import Bolt, Exhausted, Spout, Topology

_R = random.Random(7)
_VOCABULARY = ["".join(_R.choices("abcdefghijklmnopqrstuvwxyz", k=_R.randint(2, 9))) for _ in range(5000)]
_WEIGHTS = [1 / (i + 1) for i in range(5000)]
SENTENCES = [" ".join(_R.choices(_VOCABULARY, _WEIGHTS, k=_R.randint(8, 12))) for _ in range(1000)]
PICK = [_R.choice(SENTENCES) for _ in range(1 << 16)]
MASK = (1 << 16) - 1
ACKING_OFF = {"topology.acker.executors": 0}


class PlainSentences:
    """The source of W1 as a loop calls it: the body of `Sentences.next_tuple`, returning what that emits."""

    def __init__(self, n):
        self.n, self.i = n, 0

    def next(self):
        i = self.i = self.i + 1
        if i > self.n:
            raise Exhausted
        return PICK[i & MASK]


class PlainSplit:
    def process(self, sentence):
        return sentence.split()


class PlainCount:
    def __init__(self):
        self.counts = {}

    def process(self, word):
        counts = self.counts
        counts[word] = counts.get(word, 0) + 1


def plain_w1(n: int) -> Counter[str]:
    """W1 as a loop: one call for each sentence, one for its split, one for each word."""
    count = PlainCount()
    following, split, counted = PlainSentences(n).next, PlainSplit().process, count.process
    try:
        while True:
            for word in split(following()):
                counted(word)
    except Exhausted:
        return Counter(count.counts)


class PlainOnes:
    """The source of W2 as a loop calls it: the body of `Ones.next_tuple`."""

    def __init__(self, n):
        self.n = n

    def next(self):
        n = self.n
        if n == 0:
            raise Exhausted
        self.n = n - 1
        return 1


class PlainIdentity:
    def process(self, x):
        return x


class PlainSink:
    def process(self, x):
        pass


def plain_w2(n: int) -> None:
    """W2 as a loop: three calls for each root."""
    following, identity, sink = PlainOnes(n).next, PlainIdentity().process, PlainSink().process
    try:
        while True:
            sink(identity(following()))
    except Exhausted:
        pass


def plain_w2_generator(n: int) -> None:
    """W2 as a loop over the same generator."""
    identity, sink = PlainIdentity().process, PlainSink().process
    for x in ones(n):
        sink(identity(x))


class Sentences(Spout):
    """One sentence a call, with an id and the three callbacks that a replaying spout has."""

    outputs = ("sentence",)

    def __init__(self, n: int) -> None:
        self.n, self.i, self.acked = n, 0, 0

    def next_tuple(self):
        i = self.i = self.i + 1
        if i > self.n:
            raise Exhausted
        self.emit(PICK[i & MASK], id=i)

    def ack(self, i):
        self.acked += 1

    def fail(self, i):
        raise AssertionError("nothing fails here")


class SplitList(Bolt):
    outputs = ("word",)

    def process(self, sentence):
        return sentence.split()


class SplitEmit(Bolt):
    outputs = ("word",)

    def process(self, sentence):
        for word in sentence.split():
            self.emit(word)


class Count(Bolt):
    def __init__(self):
        self.counts = {}

    def process(self, word):
        counts = self.counts
        counts[word] = counts.get(word, 0) + 1


class CountBatch(Bolt):
    batch_max = 1024

    def __init__(self):
        self.counts = {}

    def process_batch(self, word):
        counts = self.counts
        get = counts.get
        for one in word:
            counts[one] = get(one, 0) + 1


def w1(n: int, split: type[Bolt] = SplitList, count: type[Bolt] = Count) -> Topology:
    """W1 acked, with a class spout, through the public API."""
    topology = Topology("w1")
    sentences = topology.spout("sentences", lambda: Sentences(n))
    words = topology.bolt("split", split).shuffle(sentences)
    topology.bolt("count", count, parallelism=2).fields(words, "word")
    return topology


class Ones(Spout):
    """A one each call; `id` as the variant says."""

    outputs = ("x",)

    def __init__(self, n: int) -> None:
        self.n = n

    def next_tuple(self):
        n = self.n
        if n == 0:
            raise Exhausted
        self.n = n - 1
        self.emit(1)


class OnesAcked(Ones):
    """With ids and a Python `ack`."""

    acked = 0

    def next_tuple(self):
        n = self.n
        if n == 0:
            raise Exhausted
        self.n = n - 1
        self.emit(1, id=n)

    def ack(self, i):
        self.acked += 1

    def fail(self, i):
        raise AssertionError("nothing fails here")


class Identity(Bolt):
    outputs = ("x",)

    def process(self, x):
        return x


class Sink(Bolt):
    def process(self, x):
        pass


def ones(n: int) -> Iterator[int]:
    """A generator spout: the engine keeps its values and can replay them."""
    for _ in range(n):
        yield 1


def w2(n: int, spout: str = "plain") -> Topology:
    """W2 with one of its spouts: "plain" (engine keeps values), "ack" (Python `ack`), "generator", "unacked"."""
    topology = Topology("w2", settings=ACKING_OFF if spout == "unacked" else {})
    source = {
        "plain": lambda: Ones(n),
        "unacked": lambda: Ones(n),
        "ack": lambda: OnesAcked(n),
        "generator": lambda: ones(n),
    }[spout]
    numbers = topology.spout("numbers", source, outputs=("x",))
    same = topology.bolt("identity", Identity).shuffle(numbers)
    topology.bolt("sink", Sink).shuffle(same)
    return topology
