"""An outage of the other system that begins and ends while the cluster runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager


class Outage:
    """Runs a description's `outage` on a thread of its own, since a sink that waits may hold the cluster's thread.

    Args:
        length_s: how long it lasts.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[object]], length_s: float) -> None:
        self._make, self._length_s = make, length_s
        self._begun, self._cut = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="squall-outage", daemon=True)
        self.is_on = False

    def begin(self, *, after_s: float = 0.0, wait: bool = False) -> None:
        """Begins it, and waits until the other system is away if wanted."""
        self._after_s = after_s
        self._thread.start()
        if wait:
            self._begun.wait()

    def end(self) -> None:
        """Waits until it is over, at once if it has not begun.

        Raises:
            BaseException: what the description's `outage` raised.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def is_over(self) -> bool:
        """Whether the other system is back."""
        return self._begun.is_set() and not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._cut.wait(self._after_s)
            self.is_on = True
            with self._make():
                self._begun.set()
                self._cut.wait(self._length_s)
                self.is_on = False  # from here on it may be reached, and take something
        except BaseException as error:
            self._error = error
        finally:
            self.is_on = False
            self._begun.set()
