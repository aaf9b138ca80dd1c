"""What a job's author wants to see of a stack: what comes after our own frames."""

from __future__ import annotations

import re
import traceback
from collections import deque
from concurrent.futures import thread
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

MAX_FRAMES = 50
"""Innermost frames of a stack that are kept."""

_DUMPED = re.compile(rb'  File "(.*)", line (\d+) in (.*)')
_BOOTSTRAP = "<string>"
_MAX_DEPTH = 10_000
_KINDS = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))

# How a job is called: this package, and the pool of threads of the sync ones.
_OURS = (f"{Path(__file__).parents[1]}/", thread.__file__)


def users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return `trace` from the first frame that is not ours; all of it if every one is."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_OURS):
        found = found.tb_next
    return found or trace


class Place(NamedTuple):
    """One frame of a stack, without what it holds."""

    file: str
    line: int
    name: str


def suspended_at(coroutine: object) -> list[Place]:
    """
    Return where a coroutine that waits does so, the outermost frame first, without ours.

    It ends at what is no coroutine, a future of another task say.
    """
    found: deque[Place] = deque(maxlen=MAX_FRAMES)
    inner: Any = coroutine
    for _ in range(_MAX_DEPTH):
        kind = next((kind for kind in _KINDS if getattr(inner, kind[0], None) is not None), None)
        if kind is None:
            break
        frame = getattr(inner, kind[0])
        found.append(Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        inner = getattr(inner, kind[1], None)
    return _users_places(found)


def read_dump(lines: Sequence[bytes]) -> list[Place]:
    """
    Return the stack that `faulthandler` has written, the outermost frame first, without ours.

    Args:
        lines: the innermost first; what is no frame is left out.
    """
    found = [match for line in lines if (match := _DUMPED.match(line))]
    places = [
        Place(file.decode(errors="replace"), int(number), name.decode(errors="replace").strip())
        for file, number, name in (match.groups() for match in found)
    ]
    return _users_places(reversed(places))


def told(title: str, places: Sequence[Place]) -> str:
    """Return `places` as a traceback writes them, or nothing if there are none."""
    if not places:
        return ""
    summary = traceback.StackSummary.from_list(
        [(place.file, place.line, place.name, None) for place in places]
    )
    return "".join([f"{title} (most recent call last):\n", *summary.format()]).rstrip()


def _users_places(places: Iterable[Place]) -> list[Place]:
    ours = (*_OURS, _BOOTSTRAP)
    return list(dropwhile(lambda place: place.file.startswith(ours), places))
