"""
When jobs are due: pure functions of the time.

**What was missed.** While no runner ran, moments went by. One that comes back looks back over
`Entry.catch_up` seconds and queues a job once for the last moment that it missed in there;
earlier ones are dropped. So a job that is due every minute does not pile up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from broadcaster.jobs.bus import PreparedJob

CATCH_UP_SECONDS = 60.0
CLOCK_SECONDS = 60.0
"""How far a clock may be off before what it says is not believed."""
MAX_CATCH_UP_SECONDS = 43_200.0
"""Half of the day for which queues remember what was scheduled."""


class Times(Protocol):
    """Moments that come again and again; the text of it says which."""

    def after(self, moment: float) -> Iterator[float]:
        """Yield those after `moment`, in order, Unix seconds; it may never end."""
        ...


@dataclass(frozen=True, slots=True)
class EveryTimes:
    """
    Every so many seconds, counted from 1970, so that every process finds the same moments.

    Attributes:
        seconds: from one to the next, at least 1.

    Raises:
        ValueError: it is less, or more than a year.
    """

    seconds: float

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= 31_536_000:  # noqa: PLR2004 - a year
            raise ValueError(f"every must be 1 to 31,536,000 seconds, not {self.seconds!r}")

    def __str__(self) -> str:
        return f"every {self.seconds:g} s"

    def after(self, moment: float) -> Iterator[float]:
        """See `Times.after`."""
        number = math.floor(moment / self.seconds) + 1
        while True:
            yield number * self.seconds
            number += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    One job and its times.

    Attributes:
        name: unique, and the same in every process.
        job: what is queued.
        times: when.
        lock: None, or seconds for which one that was queued and is not done keeps others out.
        catch_up: seconds for which a moment that was missed is made up for.
    """

    name: str
    job: PreparedJob
    times: Times
    lock: float | None = None
    catch_up: float = CATCH_UP_SECONDS


class Due(NamedTuple):
    """
    A job that is to be queued.

    Attributes:
        moment: when it was due, Unix seconds.
        dropped: earlier moments that are not made up for.
    """

    entry: Entry
    moment: float
    dropped: int


def due(entries: Iterable[Entry], handled: Mapping[str, float], now: float) -> list[Due]:
    """
    Return what is due at `now`, the earliest first; each entry at most once.

    Args:
        handled: the last moment that was queued, by name of the entry. One that lies more than
            `CLOCK_SECONDS` ahead is due to a clock that was wrong, and says nothing.
        now: Unix seconds.
    """
    found: list[Due] = []
    for entry in entries:
        last = handled.get(entry.name, -math.inf)
        begin = (
            now - entry.catch_up if last > now + CLOCK_SECONDS else max(now - entry.catch_up, last)
        )
        moments = list(takewhile(lambda moment: moment <= now, entry.times.after(begin)))
        if moments:
            found.append(Due(entry, moments[-1], len(moments) - 1))
    return sorted(found, key=lambda each: each.moment)


def next_due(entries: Iterable[Entry], now: float) -> float | None:
    """Return the first moment after `now` at which something is due; None without any."""
    moments = (next(iter(entry.times.after(now)), None) for entry in entries)
    return min((moment for moment in moments if moment is not None), default=None)


def upcoming(entry: Entry, now: float, count: int) -> list[float]:
    """Return the next `count` moments of `entry`."""
    return list(islice(entry.times.after(now), count))
