"""Failures that a test wants: raised where the component's own code would raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from squall import Tuple


@dataclass
class Injection:
    """One order: raise `error` for the next `left` inputs that `when` accepts."""

    error: BaseException
    left: int
    when: Callable[[Tuple], bool] | None

    def takes(self, tup: Tuple) -> bool:
        """Whether this input is to fail; counts it if so."""
        if self.left <= 0 or not (self.when is None or self.when(tup)):
            return False
        self.left -= 1
        return True


@dataclass
class Injections:
    """The orders for one component, oldest first."""

    orders: list[Injection] = field(default_factory=list[Injection])

    def before(self, tup: Tuple) -> None:
        """Asked before each input; the first order that takes it raises."""
        for order in self.orders:
            if order.takes(tup):
                raise order.error.with_traceback(None)
