"""Which part of a traceback a job's author wants to see: what comes after our own frames."""

from __future__ import annotations

from concurrent.futures import thread
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

# How a job is called: this package, and the pool of threads of the sync ones.
_OURS = (f"{Path(__file__).parents[1]}/", thread.__file__)


def users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return `trace` from the first frame that is not ours; all of it if every one is."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_OURS):
        found = found.tb_next
    return found or trace
