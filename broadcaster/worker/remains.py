"""
What jobs leave behind in their process: may another job run in it?

The working directory, the umask and the environment are put back. Anything else that is not
as it was before the first job wears the process out: threads, processes, signal handlers,
timers, limits, the standard streams, descriptors, memory. What modules keep is not looked at.
"""

from __future__ import annotations

import _thread
import fcntl
import locale
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from broadcaster.worker.memory import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_GROWTH = 256 * 1024 * 1024
"""Bytes of RAM that a process may take more than before its first job."""

MAX_OPENED = 64
"""Descriptors that its jobs may leave open, connections that modules keep included."""

BEGIN_SECONDS = 0.01
"""What a thread that the system has made gets to begin to run Python, if it is to."""

_TASKS = Path("/proc/self/task")
_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
_SIGNALS = sorted(signal.valid_signals())
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Remains:
    """
    Compares this process with what it was when this was made, before its first job.

    Args:
        descriptors: those over which it speaks with its worker.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = (0, 1, 2, *descriptors)
        self._folder = os.getcwd()  # noqa: PTH109 - a Path would be made for each job
        self._umask = _umask()
        self._environment = dict(os.environ)
        self._threads = _python_threads()
        self._thread_count = _thread._count()  # noqa: SLF001 - see `_has_more_threads`
        self._tasks = _tasks()
        self._opened = self._lowest_free()
        self._resident = resident_bytes()
        self._state = self._look()

    def why_worn(self) -> str:
        """Put back what can be put back; return why no other job may run here, or nothing."""
        try:
            self._put_back()
            return self._difference()
        except Exception as error:  # noqa: BLE001 - a job may have left anything
            return f"what it has left cannot be told: {type(error).__name__}"

    def _put_back(self) -> None:
        if os.getcwd() != self._folder:  # noqa: PTH109 - as above
            os.chdir(self._folder)
        os.umask(self._umask)
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)

    def _difference(self) -> str:
        if self._has_more_threads():
            return "a thread of it goes on"
        if _has_children():
            return "a process that it has started was left behind"
        state = self._look()
        if changed := [name for name, value in state.items() if value != self._state[name]]:
            return f"it has changed: {', '.join(changed)}"
        if self._lowest_free() - self._opened > MAX_OPENED:
            return f"its jobs have left more than {MAX_OPENED} files or connections open"
        if resident_bytes() - self._resident > MAX_GROWTH:
            return f"it has grown by more than {MAX_GROWTH >> 20} MiB"
        return ""

    def _has_more_threads(self) -> bool:
        """
        Whether a thread goes on that was not there; those of C libraries may stay.

        Only the interpreter's own count knows a thread that is in C code from its first line,
        and only the system one that has not come so far.
        """
        tasks, self._tasks = self._tasks, _tasks()
        if self._tasks > tasks:
            time.sleep(BEGIN_SECONDS)
        count = _thread._count()  # noqa: SLF001 - `threading` does not know all
        more = count > self._thread_count or bool(_python_threads() - self._threads)
        self._thread_count = min(count, self._thread_count)
        return more

    def _look(self) -> dict[str, object]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "descriptors": self._identities(),
            # Those that ended, too: what they have started themselves may go on.
            "processes": (used.ru_minflt, used.ru_majflt, used.ru_utime, used.ru_stime),
            "process group": (os.getpgrp(), os.getsid(0)),
            "user": (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()),
            "priority": os.getpriority(os.PRIO_PROCESS, 0),
            "resource limits": [resource.getrlimit(each) for each in _LIMITS],
            "signal handlers": [signal.getsignal(each) for each in _SIGNALS],
            "signal mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            "timers": [signal.getitimer(each)[0] > 0 for each in _TIMERS],
            "standard streams": (sys.stdin, sys.stdout, sys.stderr),
            "tracing": (sys.gettrace(), sys.getprofile()),
            "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
            "recursion limit": sys.getrecursionlimit(),
            "locale": locale.setlocale(locale.LC_ALL),
            "time zone": (time.tzname, time.timezone),
        }

    def _identities(self) -> list[tuple[int, int, int]]:
        found = [(os.fstat(each), each) for each in self._descriptors]
        return [(stat.st_dev, stat.st_ino, fcntl.fcntl(n, fcntl.F_GETFL)) for stat, n in found]

    def _lowest_free(self) -> int:
        lowest = os.dup(0)
        os.close(lowest)
        return lowest


def _python_threads() -> set[int]:
    """Return all threads that run Python, those of C libraries that call it included."""
    return set(sys._current_frames())  # noqa: SLF001 - documented; `threading` does not know all


def _tasks() -> int:
    """
    Return a number that grows with the threads of this process, or 0 if the system has none.

    Source: ``proc(5)``: the links of a folder are its folders, here one per thread.
    """
    try:
        return _TASKS.stat().st_nlink
    except OSError:
        return 0


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _has_children() -> bool:
    """Whether there is a process of this one, be it dead and not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
