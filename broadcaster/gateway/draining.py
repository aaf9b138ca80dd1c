"""Emptying a node without a stampede on the others."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from broadcaster.protocol import close_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from broadcaster.gateway.connection import Connection

_log = logging.getLogger("broadcaster.gateway")

PAUSE_SECONDS = 0.05


async def send_away(
    connections: Collection[Connection], *, seconds: float, now: Callable[[], float]
) -> None:
    """
    Send every connection away (4200), spread over `seconds`.

    Stock clients come back at once and without jitter, so the spreading is ours to do.

    Args:
        connections: those that are open; it shrinks as they go.
        now: a clock in seconds.
    """
    total = len(connections)
    _log.info("draining %d connections over %g s", total, seconds, extra={"event": "draining"})
    began = now()
    while open_ones := [c for c in connections if c.closing_at is None]:
        # As many as are due by now: a pause may last longer than it was meant to.
        passed = (now() - began + PAUSE_SECONDS) / max(seconds, PAUSE_SECONDS)
        left = int(total * max(1 - passed, 0.0))
        for connection in open_ones[: max(len(open_ones) - left, 0)]:
            connection.close(close_codes.RECONNECT)
        await asyncio.sleep(PAUSE_SECONDS)
