"""
How fast backends may publish: one token bucket per app that has a limit.

What counts is the message: an event to three channels is three of them. A request passes
as a whole while anything is left, however much it needs: the ones after it wait for what it
took too much. So every valid request can pass, and on average the rate holds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.errors import RequestRefused
from broadcaster.protocol.rate import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.apps import App

MAX_APPS = 10_000


class _Bucket(NamedTuple):
    rate: int
    tokens: TokenBucket


class PublishRates:
    """
    The buckets of one process.

    Args:
        clock: seconds.
        max_apps: buckets kept. The one that was not used for longest makes room: its app
            starts with a full one.
    """

    def __init__(self, clock: Callable[[], float], *, max_apps: int = MAX_APPS) -> None:
        self._clock = clock
        self._max_apps = max_apps
        self._buckets: dict[str, _Bucket] = {}

    def spend(self, app: App, messages: int) -> None:
        """
        Take `messages` from what `app` may publish.

        Raises:
            RequestRefused: with status 429; nothing was taken.
        """
        rate = app.limits.publish_rate
        bucket = self._buckets.pop(app.id, None)
        if bucket is None or bucket.rate != rate:
            bucket = _Bucket(rate, TokenBucket(rate))
            if len(self._buckets) >= self._max_apps:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[app.id] = bucket
        wait = bucket.tokens.spend(messages, self._clock())
        if wait:
            seconds = math.ceil(wait)
            raise RequestRefused(
                f"the app publishes more than {rate} messages a second (an event counts once "
                f"per channel); nothing of this request was published: repeat it in {seconds} s",
                status=429,
                code="rate_limited",
                retry_after=seconds,
            )
