"""
How queues are, by plain reads: which commands to send, and what the replies say. Pure functions.

A queue has its jobs in itself and in its lanes, and each of these has keys of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from broadcaster.contracts.queue import QueueSizes
from broadcaster.contracts.queue_admin import Pause, QueueState, QueueStats
from broadcaster.drivers.redis.queue_stats import (
    fields_of,
    oldest_age,
    rates,
    runtimes,
    seconds_of,
)
from broadcaster.drivers.redis.stored_numbers import number, pause_end, unix_seconds
from broadcaster.protocol.lanes import MAX_LANES, lane_names, split_lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.keys import Keys
    from broadcaster.drivers.redis.scripts_loader import Command


class _Read(NamedTuple):
    command: str
    suffix: str
    fields: tuple[str, ...] = ()


_READS = (
    _Read("LLEN", "ready"),
    _Read("LLEN", "suspects"),
    _Read("ZCARD", "delayed"),
    _Read("ZCARD", "reserved"),
    _Read("HLEN", "failed_jobs"),
    _Read("HGETALL", "stats"),
    _Read("HMGET", "meta", ("paused_until", "paused_since", "paused_by")),
)
_RUNTIMES = (_Read("HGETALL", "runtimes:0"), _Read("HGETALL", "runtimes:1"))


def lane_listing(keys: Keys, queue: str) -> list[Command]:
    """Return the command that tells which lanes `queue` has; none for a lane."""
    if split_lane(queue)[1] is not None:
        return []
    return [("SMISMEMBER", keys.queues("names"), *lane_names(queue, MAX_LANES))]


def listed_parts(queue: str, replies: Sequence[Any]) -> list[str]:
    """Return `queue` and the lanes that `lane_listing` has found."""
    lanes = lane_names(queue, MAX_LANES)
    return [
        queue,
        *(lane for flags in replies for lane, at in zip(lanes, flags, strict=True) if at),
    ]


def size_commands(keys: Keys, parts: Sequence[str]) -> list[Command]:
    """Return the commands whose replies `read_sizes` reads."""
    return [*(command for part in parts for command in _spelled(keys, part, _READS)), ("TIME",)]


def read_sizes(replies: Sequence[Any], parts: Sequence[str]) -> QueueSizes:
    """Return what the replies to `size_commands` come to; paused is what the first part is."""
    *counted, clock = replies
    now, width = seconds_of(clock), len(_READS)
    found = [_sizes(counted[at * width : (at + 1) * width], now) for at in range(len(parts))]
    return QueueSizes(
        ready=sum(one.ready for one in found),
        delayed=sum(one.delayed for one in found),
        held=sum(one.held for one in found),
        failed=sum(one.failed for one in found),
        oldest=max((one.oldest for one in found if one.oldest is not None), default=None),
        paused=found[0].paused,
    )


def state_commands(keys: Keys, parts: Sequence[str]) -> list[Command]:
    """Return the commands whose replies `read_states` reads."""
    reads = (*_READS, *_RUNTIMES)
    return [*(command for part in parts for command in _spelled(keys, part, reads)), ("TIME",)]


def read_states(replies: Sequence[Any], parts: Sequence[str]) -> list[QueueState]:
    """Return what the replies to `state_commands` say of each of `parts`."""
    *told, clock = replies
    now, width = seconds_of(clock), len(_READS) + len(_RUNTIMES)
    return [_state(told[at * width : (at + 1) * width], now) for at in range(len(parts))]


def read_pause(values: Sequence[bytes | None], now: float) -> Pause | None:
    """Return the pause of which ``paused_until``, ``paused_since``, ``paused_by`` tell, or None."""
    ends, since, by = values
    end = pause_end(ends, now)
    if end is None:
        return None
    return Pause(unix_seconds(number(since)), end or None, (by or b"").decode("utf-8", "replace"))


def _spelled(keys: Keys, part: str, reads: Sequence[_Read]) -> list[Command]:
    return [(one.command, keys.queue(part, one.suffix), *one.fields) for one in reads]


def _sizes(replies: Sequence[Any], now: float) -> QueueSizes:
    ready, suspects, delayed, held, failed, stats, pause = replies
    return QueueSizes(
        ready=ready + suspects,
        delayed=delayed,
        held=held,
        failed=failed,
        oldest=oldest_age(ready, fields_of(stats), now),
        paused=read_pause(pause, now) is not None,
    )


def _state(replies: Sequence[Any], now: float) -> QueueState:
    counted, slots = replies[: len(_READS)], replies[len(_READS) :]
    stats, pause = counted[-2:]
    told = QueueStats(rates(fields_of(stats), now), runtimes([*map(fields_of, slots)], now))
    return QueueState(_sizes(counted, now), told, read_pause(pause, now))
