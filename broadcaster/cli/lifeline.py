"""
What a parent says to the process that it has started: through standard input, a pipe.

Only the parent holds the other end. When it is gone, however it ended, the pipe reads
end-of-file, and the process stops itself: so ``kill -9`` of the parent leaves nothing behind,
on every system, with no process in between.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Tether:
    """
    The pipe, as the process that was started reads it.

    A line ``slots 5`` has a worker run at most 5 jobs at once, ``pause`` take none and
    ``resume`` take them again; other lines mean nothing. Nobody else gets to read them: standard
    input is empty from then on, for this process and those that it starts.

    Args:
        grace: seconds after which this process ends for good if it has not stopped. Without
            any it may take its time, as a worker does, whose jobs run to their end.
    """

    def __init__(self, grace: float | None = None) -> None:
        self._grace = grace
        self._lock = threading.Lock()
        self._slots: int | None = None
        self._paused: bool | None = None
        self._resize: Callable[[int], object] | None = None
        self._pause: Callable[[bool], object] | None = None

    def start(self, source: int | None = None) -> None:
        """Listen from now on, in a thread of its own, to `source`, or to standard input."""
        said = _taken_stdin() if source is None else source
        threading.Thread(target=self._listen, args=(said,), name="tether", daemon=True).start()

    def attach(self, resize: Callable[[int], object], pause: Callable[[bool], object]) -> None:
        """
        Have these called, from the thread, with what was said last and is said later.

        Args:
            resize: with the number of slots.
            pause: with whether to take no jobs.
        """
        with self._lock:
            self._resize, self._pause = resize, pause
            if self._slots is not None:
                resize(self._slots)
            if self._paused is not None:
                pause(self._paused)

    def _listen(self, source: int) -> None:
        rest = b""
        while data := os.read(source, 4096):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._told(line)
            rest = rest[-4096:]
        os.kill(os.getpid(), signal.SIGTERM)
        if self._grace is not None:
            time.sleep(self._grace)
            os.kill(os.getpid(), signal.SIGKILL)

    def _told(self, line: bytes) -> None:
        word, _, number = line.partition(b" ")
        # The loop may be closed: it is stopping.
        with self._lock, contextlib.suppress(RuntimeError):
            if word == b"slots" and number.isdigit():
                self._slots = int(number)
                if self._resize is not None:
                    self._resize(self._slots)
            elif line in (b"pause", b"resume"):
                self._paused = line == b"pause"
                if self._pause is not None:
                    self._pause(self._paused)


def _taken_stdin() -> int:
    """Return what was standard input, where no other process finds it; that is empty then."""
    number = sys.stdin.fileno()
    taken = os.dup(number)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, number)
    os.close(empty)
    return taken
