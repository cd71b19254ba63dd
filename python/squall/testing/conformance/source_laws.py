"""What must hold of a source, whatever befalls it; pure. Each law gives the records that break it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from squall.testing.conformance.report import Breach, numbers


@dataclass
class SourceSeen:
    """What was seen of a source, over all its lives; records are their numbers.

    Args:
        keeps_order: whether records should come as they were put, and nothing happened that may change that.
        may_repeat: whether something happened after which records may come again.
        replay_max: how many records that had ended may come again after a restart.
        put: in their order.
        came: each time that one came.
        ended: acked, or given up after its last try.
        poison: fail whatever happens.
        dead: were given up.
        needless: came again in a later life though they had ended, by life.
        came_though_done: came in a later life though the other system had been told that they are done.
        left_undone: had ended when the source was closed in peace, and the other system was not told.
        done_early: the other system was told that they are done when they had not ended.
        undone: the other system was told that they are done, and later that they are not.
    """

    keeps_order: bool
    may_repeat: bool
    replay_max: int | None
    put: list[int] = field(default_factory=list[int])
    came: list[int] = field(default_factory=list[int])
    ended: set[int] = field(default_factory=set[int])
    poison: set[int] = field(default_factory=set[int])
    dead: list[int] = field(default_factory=list[int])
    held: set[int] = field(default_factory=set[int])
    needless: list[list[int]] = field(default_factory=list[list[int]])
    came_though_done: set[int] = field(default_factory=set[int])
    left_undone: set[int] = field(default_factory=set[int])
    done_early: set[int] = field(default_factory=set[int])
    undone: set[int] = field(default_factory=set[int])

    @property
    def open(self) -> list[int]:
        """Records that were put and have not ended, but for those that are held for good."""
        return [number for number in self.put if number not in self.ended and number not in self.held]


def every_record_comes(seen: SourceSeen) -> Iterable[int]:
    """Every record that was put comes, whatever becomes of the others."""
    return {*seen.put} - {*seen.came}


def every_record_ends(seen: SourceSeen) -> Iterable[int]:
    """Every record that came can end: one that failed comes again, until it is acked or given up."""
    return {*seen.open} & {*seen.came}


def only_records_come(seen: SourceSeen) -> Iterable[int]:
    """What comes was put."""
    return {*seen.came} - {*seen.put}


def order_is_kept(seen: SourceSeen) -> Iterable[int]:
    """Records come in the order in which they were put; of one that comes again its first time counts."""
    if not seen.keeps_order:
        return ()
    place = {number: at for at, number in enumerate(seen.put)}
    first = [number for number in dict.fromkeys(seen.came) if number in place]
    return [later for one, later in pairwise(first) if place[later] < place[one]]


def no_record_comes_needlessly(seen: SourceSeen) -> Iterable[int]:
    """While nothing fails a record comes once."""
    if seen.may_repeat:
        return ()
    return [number for number, count in Counter(seen.came).items() if count > 1]


def a_restart_replays_little(seen: SourceSeen) -> Iterable[int]:
    """After a restart no more of what had ended comes again than the source says."""
    if seen.replay_max is None:
        return ()
    return [number for life in seen.needless if len(life) > seen.replay_max for number in life]


def nothing_is_done_before_it_ends(seen: SourceSeen) -> Iterable[int]:
    """The other system is never told that a record is done that has not ended."""
    return seen.done_early


def done_is_done(seen: SourceSeen) -> Iterable[int]:
    """What the other system was told to be done stays done."""
    return seen.undone


def what_is_done_stays_away(seen: SourceSeen) -> Iterable[int]:
    """What the other system was told to be done does not come in another life."""
    return seen.came_though_done


def what_ended_is_done_at_the_end(seen: SourceSeen) -> Iterable[int]:
    """When a source is drained and closed the other system has been told of all that had ended."""
    return seen.left_undone


def only_poison_is_given_up(seen: SourceSeen) -> Iterable[int]:
    """No record is given up but one that fails whatever happens."""
    return {*seen.dead} - seen.poison


LAWS: tuple[Callable[[SourceSeen], Iterable[int]], ...] = (
    every_record_comes,
    every_record_ends,
    only_records_come,
    order_is_kept,
    no_record_comes_needlessly,
    a_restart_replays_little,
    nothing_is_done_before_it_ends,
    done_is_done,
    what_is_done_stays_away,
    what_ended_is_done_at_the_end,
    only_poison_is_given_up,
)


def breaches(seen: SourceSeen) -> tuple[Breach, ...]:
    """The laws that do not hold."""
    found = ((law, sorted({*law(seen)})) for law in LAWS)
    return tuple(Breach(law.__name__, law.__doc__ or "", f"records {numbers(rows)}") for law, rows in found if rows)
