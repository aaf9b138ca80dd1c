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

    A line ``slots 5`` has a worker run at most 5 jobs at once; other lines mean nothing.

    Args:
        grace: seconds after which this process ends for good if it has not stopped. Without
            any it may take its time, as a worker does, whose jobs run to their end.
    """

    def __init__(self, grace: float | None = None) -> None:
        self._grace = grace
        self._lock = threading.Lock()
        self._slots: int | None = None
        self._resize: Callable[[int], object] | None = None

    def start(self, source: int | None = None) -> None:
        """Listen from now on, in a thread of its own, to `source`, or to standard input."""
        said = sys.stdin.fileno() if source is None else source
        threading.Thread(target=self._listen, args=(said,), name="tether", daemon=True).start()

    def attach(self, resize: Callable[[int], object]) -> None:
        """Have `resize` called, from the thread, with what was said last and is said later."""
        with self._lock:
            self._resize = resize
            if self._slots is not None:
                resize(self._slots)

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
        if word != b"slots" or not number.isdigit():
            return
        with self._lock:
            self._slots = int(number)
            if self._resize is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: it is stopping
                    self._resize(self._slots)
