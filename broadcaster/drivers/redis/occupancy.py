"""
How many connections each channel has: kept per node, added up when somebody asks.

What is not of ours among them, a name or a count, is skipped, and one line of the log per
question says so: one wrong field must not hide all channels.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from broadcaster.drivers.redis.client import VERB_SECONDS, translated
from broadcaster.drivers.redis.leases import NodeKeys, entry, is_node_name, read_entry
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio.client import Pipeline

    from broadcaster.drivers.redis.client import RedisClients

_log = logging.getLogger("broadcaster.redis")

_PAGE = 1_000
_MAX_DIGITS = 15
_GLOB = re.compile(r"([\\*?\[\]])")


class Occupancy:
    """
    Reads connections per channel and node; `Totals` writes them.

    Args:
        clients: where the counts are kept.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients
        self._keys = NodeKeys(clients)

    async def occupied(self, app_id: str, prefix: str) -> Mapping[str, int]:
        """See `PresenceStore.occupied`."""
        pattern = _GLOB.sub(r"\\\1", entry(app_id, prefix)) + "*"
        found: dict[str, dict[str, int]] = {}
        garbage: list[bytes] = []
        cursors = dict.fromkeys(await self._live(garbage), 0)
        while cursors:
            names = list(cursors)
            pipeline = self._pipeline()
            for name, cursor in cursors.items():
                pipeline.hscan(self._keys.occupancy(name), cursor, pattern, _PAGE)
            pages = await self._sent(pipeline)
            cursors = {}
            for name, (cursor, fields) in zip(names, pages, strict=True):
                node = found.setdefault(_node(name), {})
                for field, count in fields.items():
                    channel = read_entry(field)[1]
                    if channel.startswith("#"):  # internal: who asks for those names them
                        continue
                    read = _read_count(count, garbage)
                    if read is not None:
                        node[channel] = max(node.get(channel, 0), read)
                if int(cursor):
                    cursors[name] = int(cursor)
        _warn(garbage)
        total: Counter[str] = Counter()
        for node in found.values():
            total.update(node)
        return dict(total)

    async def counts(self, app_id: str, channels: Sequence[str], *, without: str) -> list[int]:
        """See `PresenceStore.counts`."""
        garbage: list[bytes] = []
        live = await self._live(garbage) if channels else []
        names = [name for name in live if _node(name) != without]
        fields = [entry(app_id, channel) for channel in channels]
        pipeline = self._pipeline()
        for name in names:
            pipeline.hmget(self._keys.occupancy(name), fields)
        replies = await self._sent(pipeline)
        # While a node registers anew, its two epochs count the same connections.
        nodes: dict[str, list[int]] = {}
        for name, reply in zip(names, replies, strict=True):
            counts = [_read_count(count or b"0", garbage) or 0 for count in reply]
            before = nodes.setdefault(_node(name), counts)
            nodes[_node(name)] = [max(pair) for pair in zip(before, counts, strict=True)]
        _warn(garbage)
        return [sum(column) for column in zip([0] * len(channels), *nodes.values(), strict=True)]

    async def _live(self, garbage: list[bytes]) -> list[str]:
        """Return ``node:epoch`` of every lease that has not ended; add what is none to `garbage`."""
        pipeline = self._pipeline()
        pipeline.time()
        pipeline.zrange(self._keys.nodes, 0, -1, withscores=True)
        (seconds, microseconds), nodes = await self._sent(pipeline)
        now_ms = seconds * 1000 + microseconds // 1000
        live = [name for name, until_ms in nodes if until_ms > now_ms]
        garbage += [name for name in live if not is_node_name(name)]
        return [name.decode() for name in live if is_node_name(name)]

    def _pipeline(self) -> Pipeline:
        return self._clients.aio.pipeline(transaction=False)

    async def _sent(self, pipeline: Pipeline) -> list[Any]:
        with translated(self._clients.aio):
            async with asyncio.timeout(VERB_SECONDS):
                return list(await pipeline.execute())


def _read_count(count: bytes, garbage: list[bytes]) -> int | None:
    """Return a count that a node wrote, or None after adding it to `garbage`."""
    if count.isdigit() and len(count) <= _MAX_DIGITS:
        return int(count)
    garbage.append(count)
    return None


def _warn(garbage: list[bytes]) -> None:
    if garbage:
        _log.warning(
            "occupancy: skipped %d entries that no gateway wrote, the first is %s",
            len(garbage),
            shown(garbage[0].decode("ascii", "backslashreplace"), 40),
            extra={"event": "garbage", "count": len(garbage)},
        )


def _node(name: str) -> str:
    return name.rpartition(":")[0]
