"""What a gateway waits for before it serves."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from broadcaster.drivers.redis.client import check_server
from broadcaster.errors import DriverUnavailable

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients

_log = logging.getLogger("broadcaster.gateway")

STARTUP_SECONDS = 10.0
RETRY_SECONDS = 0.5


async def wait_for_redis(clients: RedisClients) -> None:
    """
    Return when Redis answers and is fit for use; give up after `STARTUP_SECONDS`.

    Raises:
        DriverUnavailable: it did not answer (exit code 69).
        ConfigurationError: it would lose what is written to it (exit code 78).
    """
    deadline = asyncio.get_running_loop().time() + STARTUP_SECONDS
    while True:
        try:
            facts = await check_server(clients)
        except DriverUnavailable as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            _log.warning("waiting for Redis: %s", error, extra={"event": "waiting"})
            await asyncio.sleep(RETRY_SECONDS)
        else:
            if not facts.appendonly:
                _log.warning(
                    "Redis has no append-only file: queued jobs are lost if it restarts "
                    "(set `appendonly yes`)",
                    extra={"event": "redis"},
                )
            return
