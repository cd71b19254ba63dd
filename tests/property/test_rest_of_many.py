"""Laws of the end of a run over many workers: it is never told too early, and it is told.

A world of workers that pass frames to each other in any order, die, and are replaced, around the one decider. Its
workers do what `squall.cluster.settling` says that a worker owes, and nothing else.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from squall.cluster import settling
from squall.cluster.settling import Action, Answer, Ask, Begin, Joined, Kind, Lost, Quiet, Stage, Stop, step

MOST_MOVES = 50_000


class ToldTooEarly(Exception):
    """A stage was said to have settled, and had not."""


@dataclass(frozen=True)
class PeerLost:
    incarnation: int
    replays: int


@dataclass(frozen=True)
class PeerReady:
    incarnation: int


@dataclass(frozen=True)
class Died:
    """After everything that the life has said."""


@dataclass
class Life:
    """One incarnation. `source`: roots it will still emit. `work`: tuples that it has to process."""

    worker: int
    incarnation: int
    source: int
    work: int = 0
    is_alive: bool = True
    stage: Stage | None = None
    peers: set[int] = field(default_factory=set[int])
    sent: Counter[int] = field(default_factory=Counter[int])
    received: Counter[int] = field(default_factory=Counter[int])
    inbox: deque[object] = field(default_factory=deque[object])
    outbox: deque[object] = field(default_factory=deque[object])
    owes: bool = False
    told: tuple[dict[int, int], dict[int, int]] | None = None

    @property
    def counted(self) -> tuple[dict[int, int], dict[int, int]]:
        return dict(self.sent), dict(self.received)

    @property
    def rests(self) -> bool:
        return self.work == 0

    def answer(self, wave: int) -> Answer:
        self.owes, self.told = True, self.counted if self.rests else None
        return Answer(self.incarnation, wave, self.rests, self.source == 0, *self.counted)

    @property
    def has_news(self) -> bool:
        sources_rest = self.source == 0 or (self.stage is not None and not self.stage.needs_exhausted)
        return self.owes and self.rests and sources_rest and self.told != self.counted

    def quiet(self) -> Quiet:
        assert self.stage is not None
        self.owes = False
        return Quiet(self.incarnation, self.stage.number)


class World:
    """`energy`: frames and drained tuples that may still come to be, so that every world comes to rest."""

    def __init__(self, random: Random, workers: int, *, energy: int, kills: int, stops: bool) -> None:
        self.random, self.energy, self.kills, self.stops = random, energy, kills, stops
        self.decider = settling.settling(range(1, workers + 1), ["split", "count"])
        self.lives: dict[int, Life] = {}
        self.links: Counter[tuple[int, int]] = Counter()
        self.waiting = {worker: random.randint(0, 3) for worker in range(1, workers + 1)}
        self.stages: list[Stage] = []

    def run(self) -> None:
        for _ in range(MOST_MOVES):
            if self.decider.is_over:
                return
            moves = list(self.moves())
            assert moves, f"nothing can move, and {self.decider.stage} has not settled"
            self.random.choice(moves)()
        raise AssertionError("it has not settled")

    def living(self) -> list[Life]:
        return [life for life in self.lives.values() if life.is_alive]

    def moves(self) -> Iterator[Callable[[], None]]:
        for worker in self.waiting:
            yield lambda worker=worker: self.join(worker)
        for life in self.lives.values():
            if life.outbox:
                yield lambda life=life: self.hear(life)
        for life in self.living():
            if life.inbox:
                yield lambda life=life: self.take(life)
            if life.work:
                yield lambda life=life: self.process(life)
            if life.source and life.stage is not None and life.stage.kind is Kind.RUN:
                yield lambda life=life: self.emit(life)
            if life.has_news:
                yield lambda life=life: life.outbox.append(life.quiet())
        for link in +self.links:
            if self.lives[link[1]].is_alive:
                yield lambda link=link: self.deliver(*link)
        if self.kills and self.living() and self.random.random() < 0.05:
            yield self.kill
        if self.stops and self.random.random() < 0.05:
            yield self.stop

    # -- the workers ---------------------------------------------------------------------------------------------

    def process(self, life: Life) -> None:
        life.work -= 1
        if self.energy and life.peers:
            self.send(life, self.random.randint(0, min(2, self.energy)))

    def send(self, life: Life, frames: int) -> None:
        self.energy -= frames
        for peer in self.random.choices(sorted(life.peers), k=frames):
            life.sent[peer] += 1
            if self.lives[peer].is_alive:  # else it vanishes, and is emitted again when the loss is heard of
                self.links[life.incarnation, peer] += 1

    def emit(self, life: Life) -> None:
        life.source -= 1
        life.work += 1

    def deliver(self, source: int, target: int) -> None:
        self.links[source, target] -= 1
        life = self.lives[target]
        life.received[source] += 1
        life.work += 1

    def take(self, life: Life) -> None:
        match life.inbox.popleft():
            case Begin(stage):
                life.stage, life.owes, life.told = stage, True, None
                if stage.kind is Kind.STOP:
                    life.source = 0
                if stage.kind is Kind.DRAIN and self.energy and self.random.random() < 0.5:
                    self.energy -= 1
                    life.work += 1
            case Ask(wave):
                life.outbox.append(life.answer(wave))
            case PeerLost(incarnation, replays):
                life.peers.discard(incarnation)
                self.links[incarnation, life.incarnation] = 0
                life.work += replays
            case PeerReady(incarnation):
                life.peers.add(incarnation)
            case other:
                raise AssertionError(other)

    def kill(self) -> None:
        self.kills -= 1
        life = self.random.choice(self.living())
        life.is_alive = False
        life.inbox.clear()
        life.outbox.append(Died())

    # -- the parent ----------------------------------------------------------------------------------------------

    def join(self, worker: int) -> None:
        life = Life(worker, max(self.lives, default=10) + 1, self.waiting.pop(worker))
        for other in self.decider.living.values():
            life.peers.add(other)
            self.lives[other].inbox.append(PeerReady(life.incarnation))
        self.lives[life.incarnation] = life
        self.step(Joined(worker, life.incarnation))

    def hear(self, life: Life) -> None:
        message = life.outbox.popleft()
        if not isinstance(message, Died):
            assert isinstance(message, Answer | Quiet)
            return self.step(message)
        self.step(Lost(life.worker, life.incarnation))
        self.waiting[life.worker] = life.source
        for peer in self.decider.living.values():
            # What the peer sent and the lost one may not have brought to its end comes again.
            link = self.links[peer, life.incarnation]
            replays = min(link + life.work, self.lives[peer].sent[life.incarnation])
            self.lives[peer].inbox.append(PeerLost(life.incarnation, replays))
            self.links[peer, life.incarnation] = 0
        return None

    def stop(self) -> None:
        self.stops = False
        self.step(Stop())

    def step(self, event: settling.Event) -> None:
        before = self.decider.stage
        self.decider, actions = step(self.decider, event)
        if isinstance(event, Answer) and self.decider.stage != before:
            self.check(before)
        for action in actions:
            self.tell(action)

    def tell(self, action: Action) -> None:
        if isinstance(action, Begin):
            self.stages.append(action.stage)
        for incarnation in action.incarnations:
            if self.lives[incarnation].is_alive:
                self.lives[incarnation].inbox.append(action)

    def check(self, stage: Stage) -> None:
        """What the decider cannot see: whether the stage has settled."""
        living = self.living()
        busy = [life for life in living if life.work or (stage.needs_exhausted and life.source)]
        flying = [link for link in +self.links if all(self.lives[end].is_alive for end in link)]
        if busy or flying:
            raise ToldTooEarly(f"{stage}: busy {busy}, on their way {flying}")


def world(random: Random, workers: int = 3, energy: int = 30, kills: int = 0, *, stops: bool = False) -> World:
    return World(random, workers, energy=energy, kills=kills, stops=stops)


seeds = st.randoms(use_true_random=False)


@given(random=seeds, workers=st.integers(1, 5), energy=st.integers(0, 60), kills=st.integers(0, 4), stops=st.booleans())
def test_end_is_told_never_too_early_and_always_once(
    random: Random, workers: int, energy: int, kills: int, stops: bool
) -> None:
    """Semantics 35, 19. `World.check` looks for what is on its way or in hand when a stage is over."""
    run = world(random, workers, energy, kills, stops=stops)
    run.run()
    assert [stage.kind for stage in run.stages].count(Kind.CLOSE) == 1


@given(random=seeds, kills=st.integers(0, 4))
def test_every_component_drains_after_the_last_loss_in_their_order(random: Random, kills: int) -> None:
    """Semantics 35."""
    run = world(random, kills=kills)
    run.run()
    assert [(stage.kind, stage.component) for stage in run.stages[-4:]] == [
        (Kind.DRAIN, "split"),
        (Kind.DRAIN, "count"),
        (Kind.HELD, None),
        (Kind.CLOSE, None),
    ]
    numbers = [stage.number for stage in run.stages]
    assert numbers == sorted(numbers)


def is_told_too_early(seed: int) -> bool:
    try:
        world(Random(seed), workers=4, energy=60).run()
    except ToldTooEarly:
        return True
    return False


@pytest.mark.parametrize("rule", ["_agree", "_rests"])
def test_law_finds_a_decider_without_the_rule(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that cannot fail is a test."""
    assert not any(is_told_too_early(seed) for seed in range(100))
    monkeypatch.setattr(settling, rule, lambda *_: True)
    assert any(is_told_too_early(seed) for seed in range(100))
