"""
Lanes: one queue as many, of which each keeps its order.

What has the same key goes to the same lane, and one worker at a time has a lane, so what
has the same key keeps its order over any number of workers. A lane is a queue named
``<queue>#<number>``; no other queue has a ``#`` in its name.

A broadcast to channels of several lanes becomes one job per lane, with the lane's channels
and the same id: each channel sees its events in order, and publishing drops repetitions
per channel.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LANES = 16
"""Lanes of a queue, unless it is set; at most `MAX_LANES`."""
MAX_LANES = 256

QUEUE_PATTERN = r"[-A-Za-z0-9_.@]{1,128}(#(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]))?"
"""What the name of a queue, or of a lane of one, looks like."""

_QUEUE = re.compile(QUEUE_PATTERN)
_LANE = re.compile(r"([^#]+)#(0|[1-9][0-9]{0,2})")


def is_queue(name: str) -> bool:
    """Whether a queue, or a lane of one, may have this name."""
    return _QUEUE.fullmatch(name) is not None


def lane_of(key: str, lanes: int = LANES) -> int:
    """Return the lane of `key`, the same in every process and version."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % lanes


def lane_name(queue: str, lane: int) -> str:
    """Return the name of one lane of `queue`."""
    return f"{queue}#{lane}"


def lane_names(queue: str, lanes: int = LANES) -> list[str]:
    """Return the names of all lanes of `queue`, in order."""
    return [lane_name(queue, lane) for lane in range(lanes)]


def parts_of(queue: str, lanes: int, known: Iterable[str]) -> list[str]:
    """
    Return what has to be handled for all of `queue` to be: itself and its lanes; of a lane, itself.

    Args:
        lanes: that it has now, used or not.
        known: queues and lanes that were pushed to: it may have had more lanes once.
    """
    if split_lane(queue)[1] is not None:
        return [queue]
    once = (name for name in known if split_lane(name)[0] == queue)
    return list(dict.fromkeys([queue, *lane_names(queue, lanes), *once]))


def ordered_queue(queue: str, key: str, lanes: int = LANES) -> str:
    """Return the name of the lane of `queue` that keeps the order of what has `key`."""
    return lane_name(queue, lane_of(key, lanes))


@lru_cache(maxsize=1_024)
def split_lane(name: str) -> tuple[str, int | None]:
    """Return the queue of a lane and the lane's number; for another queue itself and None."""
    match = _LANE.fullmatch(name)
    if match is None or int(match[2]) >= MAX_LANES:
        return name, None
    return match[1], int(match[2])


def by_lane(channels: Iterable[str], lanes: int = LANES) -> dict[int, tuple[str, ...]]:
    """Return the channels of each lane that has any, in the order in which they come."""
    found: dict[int, list[str]] = {}
    for channel in channels:
        found.setdefault(lane_of(channel, lanes), []).append(channel)
    return {lane: tuple(mine) for lane, mine in found.items()}
