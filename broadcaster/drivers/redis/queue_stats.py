"""What the counts that queue scripts keep say: pure functions."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.queue_admin import RUNTIME_BOUNDS, Rate, Runtime
from broadcaster.drivers.redis.stored_numbers import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUCKET_SECONDS = 15.0
"""Length of a bucket of ``queue_start.lua``; of older ones `COARSE_SECONDS`."""
COARSE_SECONDS = 900.0
KEPT_SECONDS = 7 * 86_400.0
SLOT_SECONDS = 900
"""Length of a slot of ``queue_tell.lua``."""
WINDOWS = (60, 300, 900)


def buckets(stats: Mapping[bytes, bytes], letter: bytes) -> dict[int, int]:
    """Return the counts of one kind by number of the bucket."""
    return {
        number(field[1:]): number(count)
        for field, count in stats.items()
        if field[:1] == letter and field[1:].isdigit()
    }


def oldest_age(ready: int, stats: Mapping[bytes, bytes], now: float) -> float | None:
    """
    Return for how many seconds the first of `ready` jobs has been ready; None without any.

    Jobs leave in the order in which they became ready, so those that wait are the last ones
    that did. The answer is up to `BUCKET_SECONDS` too low; of more than an hour it is an
    estimate, and it is a week at most.

    Args:
        stats: the counts of the queue.
        now: Unix seconds, by the store's clock.
    """
    if ready <= 0:
        return None
    fine, coarse = buckets(stats, b"r"), buckets(stats, b"R")
    later = 0
    for bucket in sorted(fine, reverse=True):
        later += fine[bucket]
        if later >= ready:
            return max(0.0, now - (bucket + 1) * BUCKET_SECONDS)
    for bucket in sorted(coarse, reverse=True):
        count = coarse[bucket]
        if later + count >= ready:
            before = (later + count - ready) / count
            return max(0.0, now - (bucket + before) * COARSE_SECONDS)
        later += count
    return KEPT_SECONDS


def rates(stats: Mapping[bytes, bytes], now: float) -> list[Rate]:
    """Return what happened per minute; the present bucket, not over yet, counts in part."""
    kinds = [buckets(stats, letter) for letter in (b"r", b"d", b"f")]
    present = int(now // BUCKET_SECONDS)
    found: list[Rate] = []
    for seconds in WINDOWS:
        first = present - int(seconds // BUCKET_SECONDS) + 1
        covered = now - first * BUCKET_SECONDS
        sums = [sum(n for at, n in kind.items() if first <= at <= present) for kind in kinds]
        arrived, done, failed = (total * 60 / covered for total in sums)
        found.append(Rate(seconds, arrived, done, failed))
    return found


def runtimes(slots: Sequence[Mapping[bytes, bytes]], now: float) -> list[Runtime]:
    """Return runtimes per class, the most frequent first, from the slots that are not over."""
    present = int(now // SLOT_SECONDS)
    bins: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for slot in slots:
        if present - number(slot.get(b"slot")) > 1:
            continue
        for field, value in slot.items():
            job, _, at = field.rpartition(b"|")
            count = number(value)
            known = at.isdigit() and number(at) < len(RUNTIME_BOUNDS)
            if count and known and job and job != b"c":
                bins[job.decode("utf-8", "replace")][number(at)] += count
    found = [
        Runtime(job, sum(mine.values()), quantile(mine, 0.5), quantile(mine, 0.95))
        for job, mine in bins.items()
    ]
    return sorted(found, key=lambda runtime: -runtime.ended)


def fields_of(reply: Any) -> dict[bytes, bytes]:
    """Return the reply to HGETALL, flat or not, as a dict."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def seconds_of(clock: Sequence[Any]) -> float:
    """Return the reply to TIME, flat or read by the client, as Unix seconds."""
    return int(clock[0]) + int(clock[1]) / 1e6


def quantile(bins: Mapping[int, int], share: float) -> float:
    """Return the runtime that `share` of the jobs did not exceed, even within its bin."""
    wanted = sum(bins.values()) * share
    for at in sorted(bins):
        if bins[at] >= wanted:
            low = RUNTIME_BOUNDS[at - 1] if at else 0.0
            return low + (RUNTIME_BOUNDS[at] - low) * wanted / bins[at]
        wanted -= bins[at]
    return 0.0
