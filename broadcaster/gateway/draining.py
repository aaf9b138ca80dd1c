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
    slices = max(int(seconds / PAUSE_SECONDS), 1)
    share = max(-(-total // slices), 1)
    deadline = now() + seconds
    while connections and now() < deadline + PAUSE_SECONDS:
        open_ones = [c for c in connections if c.closing_at is None]
        for connection in open_ones[:share]:
            connection.close(close_codes.RECONNECT)
        if not open_ones:
            break
        await asyncio.sleep(PAUSE_SECONDS)
