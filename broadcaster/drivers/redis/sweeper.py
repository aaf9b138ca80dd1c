"""
Finishing what dead nodes left behind.

A step takes the sweepers' lock, finds nodes whose lease ended a while ago, subtracts what
each one counted, and walks through its index: connections are removed from a channel a batch at a time, the
channel leaves the index when nothing is left in it for the node, facts of its outbox
included, and the node is forgotten when its index is empty. A sweeper may die between any two of these: the next
one finds the node again, and connections that are gone are not announced again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from broadcaster.drivers.redis.client import VERB_SECONDS, translated
from broadcaster.drivers.redis.leases import NodeKeys, is_node_name, read_entry
from broadcaster.drivers.redis.outbox import RedisOutbox
from broadcaster.drivers.redis.scripts_loader import arun, load_script
from broadcaster.errors import ConfigurationError, DriverRefused, DriverUnavailable

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.redis.member_list import MemberLists
    from broadcaster.drivers.redis.totals import Totals

# A new node is seen within this time, and a sweeper that died is replaced.
POLL_SECONDS = 1.0
LOCK_SECONDS = 2.0
NODES_PER_STEP = 16
CHANNELS_PER_STEP = 500
CHANNELS_AT_ONCE = 10
COUNT_BATCHES_PER_STEP = 50

_log = logging.getLogger("broadcaster.presence")


class Sweeper:
    """
    Sweeps dead nodes, one bounded step at a time.

    Args:
        clients: where leases and index are kept.
        lists: the member lists to remove connections from.
        totals: the sums to subtract counts from.
        after: seconds between the end of a lease and its sweep.
    """

    def __init__(
        self, clients: RedisClients, lists: MemberLists, totals: Totals, *, after: float
    ) -> None:
        self._clients = clients
        self._keys = NodeKeys(clients)
        self._lists = lists
        self._totals = totals
        self._outbox = RedisOutbox(clients)
        self._after_ms = round(after * 1000)

    async def step(self) -> float:
        """See `PresenceStore.sweep`."""
        token = secrets.token_hex(16)
        wait_ms, *names = await arun(
            self._clients.aio,
            load_script("lease_sweep"),
            (self._keys.nodes, self._keys.lock),
            (token, round(LOCK_SECONDS * 1000), self._after_ms, NODES_PER_STEP),
        )
        waits = [POLL_SECONDS]
        if wait_ms >= 0:
            waits.append(wait_ms / 1000)
        if names:
            try:
                await self._discard([name for name in names if not is_node_name(name)])
                good = [name.decode() for name in names if is_node_name(name)]
                waits.append(await self._sweep(good))
            finally:
                with suppress(DriverUnavailable, DriverRefused):  # then the lock ends by its time
                    await arun(
                        self._clients.aio, load_script("lease_unlock"), (self._keys.lock,), (token,)
                    )
        return min(waits)

    async def _sweep(self, names: list[str]) -> float:
        wait = POLL_SECONDS
        budget = CHANNELS_PER_STEP
        failed: DriverUnavailable | DriverRefused | None = None
        for name in names:
            try:
                visited, dues = await self._sweep_node(name, budget)
            except (
                DriverUnavailable,
                DriverRefused,
            ) as error:  # perhaps only of a channel of this node
                failed = error
                continue
            budget -= visited
            wait = min([wait, *dues])
            if budget <= 0:
                return 0.0 if visited > len(dues) else wait
        if failed is not None:
            raise failed
        return wait

    async def _sweep_node(self, name: str, budget: int) -> tuple[int, list[float]]:
        """
        Sweep the channels of one node, `budget` at most.

        Returns:
            How many were visited; and for those where somebody was already leaving when
            the node died, the seconds until they are due.
        """
        visited, cursor = 0, 0
        dues: list[float] = []
        counted = await self._totals.sweep(name, batches=COUNT_BATCHES_PER_STEP)
        if not counted:
            dues.append(0.0)
        while visited < budget:
            cursor, entries = await self._index_page(name, cursor)
            for first in range(0, min(len(entries), budget - visited), CHANNELS_AT_ONCE):
                some = entries[first : first + CHANNELS_AT_ONCE]
                dues += await self._sweep_channels(name, some)
                visited += len(some)
            if cursor == 0:
                break
        if visited < budget and not dues:
            await self._drop(name, visited)
        return visited, dues

    async def _sweep_channels(self, name: str, entries: list[bytes]) -> list[float]:
        """Sweep some channels to their end; return when those who are still leaving are due."""
        todo = {text: "0" for text in entries if self._is_channel(text)}
        done = [text for text in entries if text not in todo]
        dues: list[float] = []
        while todo:
            texts = list(todo)
            channels = [read_entry(text) for text in texts]
            progress = await self._lists.sweep(name, channels, list(todo.values()))
            todo = {}
            for text, (cursor, due, facts) in zip(texts, progress, strict=True):
                wait = due
                if cursor is not None:
                    todo[text] = cursor
                    continue
                if facts:
                    later = await self._outbox.rescue(read_entry(text))
                    if later is not None:
                        wait = later if wait is None else min(wait, later)
                if wait is None:
                    done.append(text)
                else:
                    dues.append(wait)
        if done:
            await self._forget(name, done)
        return dues

    def _is_channel(self, text: bytes) -> bool:
        try:
            self._clients.keys.topic(*read_entry(text))
        except ConfigurationError:
            _log.warning("the presence index has an entry that names no channel: %a", text[:80])
            return False
        return True

    async def _discard(self, names: list[bytes]) -> None:
        """Forget leases that are no node's: they would stand before those to be swept."""
        if not names:
            return
        client = self._clients.aio
        with translated(client):
            async with asyncio.timeout(VERB_SECONDS):
                await client.zrem(self._keys.nodes, *names)
        _log.warning("the leases had %d entries that name no node", len(names))

    async def _index_page(self, name: str, cursor: int) -> tuple[int, list[bytes]]:
        client = self._clients.aio
        with translated(client):
            async with asyncio.timeout(VERB_SECONDS):
                following, fields = await client.hscan(self._keys.index(name), cursor, count=100)
        return int(following), [bytes(field) for field in fields if isinstance(field, bytes)]

    async def _forget(self, name: str, entries: list[bytes]) -> None:
        client = self._clients.aio
        with translated(client):
            async with asyncio.timeout(VERB_SECONDS):
                await client.hdel(self._keys.index(name), *entries)

    async def _drop(self, name: str, channels: int) -> None:
        keys = self._keys
        dropped = await arun(
            self._clients.aio,
            load_script("lease_drop"),
            (keys.nodes, keys.starts, keys.index(name), keys.occupancy(name)),
            (name,),
        )
        if dropped:
            _log.log(
                logging.INFO if channels else logging.DEBUG,
                "node %s is gone; swept %d presence channels",
                name,
                channels,
                extra={"event": "node_swept"},
            )
