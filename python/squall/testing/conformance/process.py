"""A life in a process of its own that goes on only when it is let, and can be killed at any moment.

An instance that is only forgotten goes on living: its threads send, its locks are held. So what a crash leaves is
looked at after a real one: the process is forked, since what a test describes (closures, fixtures) cannot be sent to
another, and it ends by `SIGKILL`.
"""

from __future__ import annotations

import gc
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from typing import Any, Self

Tell = Callable[..., None]
"""Tells the parent something, by a word and values that can be pickled, and waits until it says to go on."""


class LifeBroke(Exception):
    """Code of a life raised, or its process ended in a way that nobody asked for."""


class Life:
    """A forked process.

    Args:
        live: what it does; it ends when this returns.
        patience_s: how long it may say nothing.
    """

    def __init__(self, live: Callable[[Tell], object], patience_s: float) -> None:
        self._patience_s = patience_s
        self._here, there = Pipe()
        self._is_waiting = self._is_reaped = False
        self._process = os.fork()
        if not self._process:
            self._here.close()
            _lived(live, there)
        there.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def heard(self) -> tuple[str, tuple[Any, ...]] | None:
        """Lets it go on, and waits for the next thing that it tells; None: it has come to its end.

        Raises:
            LifeBroke: its code raised, or its process died.
            TimeoutError: it told nothing for too long.
        """
        self.let_go_on()
        if not self._here.poll(self._patience_s):
            raise TimeoutError(f"the process of a life told nothing for {self._patience_s:.0f} s")
        try:
            word, values = self._here.recv()
        except EOFError as error:
            raise LifeBroke(f"the process of a life died: wait status {self._reaped()}") from error
        self._is_waiting = True
        if word == "raised":
            raise LifeBroke(values[0])
        return None if word == "ended" else (word, values)

    def let_go_on(self) -> None:
        """Lets it go on after what it told last."""
        if self._is_waiting:
            self._is_waiting = False
            self._here.send(None)

    def kill(self) -> None:
        """Kills it, wherever it is."""
        if not self._is_reaped:
            os.kill(self._process, signal.SIGKILL)
            self._reaped()
        self._here.close()

    def _reaped(self) -> int:
        self._is_reaped = True
        return os.waitpid(self._process, 0)[1]


def _lived(live: Callable[[Tell], object], there: Any) -> None:
    """Lives in the forked process, which never comes back from here."""
    gc.freeze()  # what the parent left behind is not this process's to clean up

    def tell(word: str, *values: object) -> None:
        there.send((word, values))
        there.recv()

    try:
        live(tell)
        tell("ended")
    except EOFError:  # the parent is gone
        pass
    except BaseException:
        there.send(("raised", (traceback.format_exc(),)))
    finally:
        os._exit(0)
