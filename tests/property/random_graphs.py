"""Graphs for the model test, as plain data: what a topology is to be, and what a row becomes in each of its bolts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from hypothesis import strategies as st

KEYS = 7
"""Keys are 0 … 6."""
GROUPINGS = ("shuffle", "fields", "all", "global", "none", "partial_key", "local_or_shuffle", "custom")
SPOUTS = ("fed", "fed", "anonymous", "replaying", "generator")
BOLTS = (
    "plain", "function", "bare", "generator", "batch", "shared", "hold", "join", "join", "async", "ordered", "blocking",
)  # fmt: skip
ON_ERROR = ("retry", "retry", "dead", "drop", "mapped")
TIME_OUT_S = 7.3
HOLD_MAX_S = 3.1
ROUNDS = 2
"""How often a row may go round a loop."""
MOST = (3, 2, 1, 1, 1, 0)
"""Most outputs of an input, by its distance from the spout: trees stay small."""


@dataclass(frozen=True)
class Edge:
    """One input of a bolt."""

    source: str
    stream: str
    grouping: str


@dataclass(frozen=True, repr=False)
class Part:
    """A component. `fan`: how many outputs an input has on each stream; -1 leaves it to the key."""

    name: str
    kind: str
    tasks: int
    edges: tuple[Edge, ...] = ()
    fan: tuple[tuple[str, int], ...] = ()
    retries: int = 3
    on_error: str = "retry"
    pending: int | None = None
    pauses: bool = False
    hold_max: bool = False
    width: int = 1
    """Most rows of a batch, or most calls in flight."""

    @property
    def hold_s(self) -> float:
        """How long it may hold a tuple."""
        return HOLD_MAX_S if self.hold_max and self.kind in ("hold", "join") else TIME_OUT_S

    def __repr__(self) -> str:
        """Only what is not as usual."""
        usual = {one.name: one.default for one in fields(self)}
        said = [f"{name}={value!r}" for name, usually in usual.items() if (value := getattr(self, name)) != usually]
        return f"Part({', '.join(said)})"


@dataclass(frozen=True)
class Graph:
    """A whole topology."""

    spouts: tuple[Part, ...]
    bolts: tuple[Part, ...]
    inbox: int

    def part(self, name: str) -> Part:
        """The component called so."""
        return next(part for part in (*self.spouts, *self.bolts) if part.name == name)

    def edges_from(self, source: str, stream: str) -> list[tuple[Part, Edge]]:
        """Who subscribes to a stream."""
        return [
            (bolt, edge) for bolt in self.bolts for edge in bolt.edges if (edge.source, edge.stream) == (source, stream)
        ]


@dataclass(frozen=True)
class Output:
    """What an input becomes; `to` is the number of a task on a direct stream."""

    stream: str
    key: int
    path: str


def outputs(part: Part, key: int, path: str) -> list[Output]:
    """All outputs of one input, in order: the whole semantics of every bolt here."""
    found: list[Output] = []
    for stream, fan in part.fan:
        if stream == "back" and path.count("back") >= ROUNDS:
            continue
        for i in range(key % 4 if fan < 0 else fan):
            found.append(Output(stream, (key * 3 + i + 1) % KEYS, f"{path}>{part.name}.{stream}.{i}"))
    return found[: MOST[min(path.count(">"), len(MOST) - 1)]]


def mixed(word: str, path: str) -> str:
    """The path of a row that comes of several: as far from the spout, and as often round a loop, as `path`."""
    return word + ">" * (path.count(">") + 1) + "back" * path.count("back")


def copies(edge: Edge, bolt: Part, key: int) -> int:
    """How many tasks of a bolt get a row."""
    if edge.grouping == "all":
        return bolt.tasks
    return len(chosen(key, bolt.tasks)) if edge.grouping == "custom" else 1


def chosen(key: int, tasks: int) -> list[int]:
    """What the custom grouping answers: no task, one, or two."""
    if key == 3:
        return []
    return sorted({0, tasks - 1}) if key == 2 else [key % tasks]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """1–3 spouts and 1–6 bolts, each fed by components before it; now and then an edge goes back."""
    spouts = tuple(draw(spout_parts(f"s{i}")) for i in range(draw(st.integers(1, 3))))
    sources = [(spout.name, stream) for spout in spouts for stream, _ in spout.fan]
    bolts: list[Part] = []
    for i in range(draw(st.integers(2, 6))):
        bolt = draw(bolt_parts(f"b{i}", tuple(sources), bool(bolts)))
        bolts.append(bolt)
        taken = {(edge.source, edge.stream) for edge in bolt.edges if edge.grouping == "direct"}
        sources = [source for source in sources if source not in taken]  # one bolt only knows a direct stream's tasks
        sources += [(bolt.name, stream) for stream, _ in bolt.fan if stream != "back"]
    return Graph(spouts, looped(bolts), draw(st.sampled_from((4, 16, 1024))))


def looped(bolts: list[Part]) -> tuple[Part, ...]:
    """Wires each stream "back" to the first bolt."""
    back = tuple(Edge(bolt.name, "back", "shuffle") for bolt in bolts if dict(bolt.fan).get("back"))
    return (replace(bolts[0], edges=(*bolts[0].edges, *back)), *bolts[1:])


@st.composite
def spout_parts(draw: st.DrawFn, name: str) -> Part:
    """A spout."""
    kind = draw(st.sampled_from(SPOUTS))
    fan = (("default", 1), ("side", 1)) if draw(st.booleans()) else (("default", 1),)
    pending = draw(st.sampled_from((None, 1, 2, 5)))
    return Part(name, kind, draw(st.integers(1, 2)), fan=fan, pending=pending)


@st.composite
def bolt_parts(draw: st.DrawFn, name: str, sources: tuple[tuple[str, str], ...], may_loop: bool) -> Part:
    """A bolt with one to three inputs."""
    kind = draw(st.sampled_from(BOLTS))
    picked = draw(st.lists(st.sampled_from(sources), min_size=1, max_size=2, unique=True))
    fits = [source for source in sources if source[1] != "to"]
    if kind == "join" and len(picked) < 2 and len(fits) > 1:
        picked = draw(st.permutations(fits))[:2]
    edges = tuple(
        Edge(source, stream, "direct" if stream == "to" else draw(st.sampled_from(GROUPINGS)))
        for source, stream in picked
    )
    streams = {"default": draw(st.integers(-1, 3)), "side": draw(st.integers(0, 2)), "to": draw(st.integers(0, 1))}
    if may_loop and kind != "join":
        streams["back"] = draw(st.sampled_from((0, 0, 1)))
    return Part(
        name,
        kind,
        1 if kind == "function" else draw(st.integers(1, 3)),
        edges,
        tuple((stream, fan) for stream, fan in streams.items() if fan),
        retries=draw(st.integers(0, 3)),
        on_error=draw(st.sampled_from(ON_ERROR)),
        pauses=kind not in ("function", "async", "ordered", "join") and draw(st.integers(0, 3)) == 0,
        hold_max=draw(st.booleans()),
        width=draw(st.integers(1, 4)),
    )
