"""How much RAM this process takes, and how often it looks for garbage."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_STATM = Path("/proc/self/statm")
COLLECT_AFTER = 5_000
"""Objects made and not freed after which the youngest are looked at."""


def resident_bytes() -> int:
    """
    Return the bytes of RAM that this process takes now.

    Where the system does not tell (all but Linux) it is the most that it ever took; 0 where
    nothing is known.

    Source: ``proc(5)``: the second number of ``statm`` is the resident set, in pages.
    """
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return _peak_bytes()


def collect_seldom() -> None:
    """
    Look for garbage seldom: most that jobs leave is freed without.

    What start-up has made stays for good, and is not looked at again. With the 700 objects of
    Python 3.11 the youngest would be looked at for every fifty jobs that wait.
    """
    gc.collect()
    gc.freeze()
    youngest, *older = gc.get_threshold()
    if 0 < youngest < COLLECT_AFTER:
        gc.set_threshold(COLLECT_AFTER, *older)


def _peak_bytes() -> int:
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
