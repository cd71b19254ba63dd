"""What user code under orders does wrong."""

from __future__ import annotations

import os
import random
import signal
import time

from chaos.noted import Orders

RETRIES = 9
"""So often one row hardly ever meets an order by chance that fails one in ten."""


class Spoilt(Exception):
    """An exception that was ordered."""


class Misdeeds:
    """Does what is ordered for a component, by chance."""

    def __init__(self, component: str) -> None:
        self._orders, self._chance = Orders(component), random.Random()

    def one(self) -> int:
        """Maybe does wrong; how large a value the caller is to emit (0: none)."""
        order = self._orders.now()
        if order is None or self._chance.random() >= order.chance:
            return 0
        match order.kind:
            case "raise":
                raise Spoilt("by order")
            case "recursion":
                return self._deeper()
            case "exit":
                os._exit(3)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "slow":
                time.sleep(0.005)
            case "blocked":
                time.sleep(max(0.0, order.until_s - time.monotonic()))
            case "grab":
                bytearray(order.size)
            case "spin":
                while time.monotonic() < order.until_s:
                    pass
            case "huge":
                return order.size
        return 0

    def _deeper(self) -> int:
        return self._deeper() + 1
