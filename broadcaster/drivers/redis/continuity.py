"""Whether Redis still knows what it has said: see `broadcaster.contracts.continuity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.contracts.continuity import Recalled
from broadcaster.drivers.redis.queue_wire import queue_keys
from broadcaster.drivers.redis.scripts_loader import arun, load_script
from broadcaster.drivers.redis.stored_numbers import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients


class RedisContinuity:
    """
    Implements `broadcaster.contracts.continuity.Continuity`.

    Args:
        clients: connections to the server that has the queues.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients

    async def recall(self, queue: str, ids: Sequence[str]) -> Recalled:
        """See `Continuity.recall`."""
        keys = queue_keys(self._clients.keys, queue, ["jobs", "meta"])
        script = load_script("queue_recall")
        server, token, *there = await arun(
            self._clients.aio, script, keys, list(ids), repeat_lost=True
        )
        unknown = [each for each, known in zip(ids, there, strict=True) if not known]
        return Recalled(bytes(server).decode("ascii"), number(token), unknown)
