"""
Outboxes in Redis: one for all channels, one for each presence channel.

A fact is text, so that a script can write it and another script move it: number, name,
milliseconds, app id, channel, and what belongs to its name, with a NUL between. Its id is
made of these, so it is the same whoever reads it.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

import msgspec

from broadcaster.contracts.outbox import Noted, Page
from broadcaster.drivers.redis.leases import NodeKeys
from broadcaster.drivers.redis.scripts_loader import Call, arun, arun_many, load_script
from broadcaster.drivers.redis.totals import Totals
from broadcaster.protocol.facts import (
    MEMBER_ADDED,
    MEMBER_REMOVED,
    SUBSCRIPTION_COUNT,
    Fact,
    fact_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from broadcaster.contracts.outbox import Settled, Source
    from broadcaster.drivers.redis.client import RedisClients

_log = logging.getLogger("broadcaster.facts")

# Longer than two calls and the queue's may take; who is at it still by then is as good as dead.
LOCK_SECONDS = 8.0
BATCH = 200
MOST_FACTS = 100_000
_PARTS = 6
_MAX_DIGITS = 16


class RedisOutbox:
    """
    See `broadcaster.contracts.outbox.Outbox`.

    Args:
        clients: the Redis that all gateways share.
        batch: facts of one source per step.
    """

    def __init__(self, clients: RedisClients, *, batch: int = BATCH) -> None:
        self._clients = clients
        self._keys = NodeKeys(clients)
        self._totals = Totals(clients)
        self._batch = batch

    async def settle(self) -> Settled:
        """See `Outbox.settle`."""
        return await self._totals.settle()

    async def step(
        self, token: str, sources: Sequence[Source], queued: Sequence[Sequence[bytes]]
    ) -> list[Page]:
        """See `Outbox.step`."""
        head = (token, round(LOCK_SECONDS * 1000), self._batch)
        calls = [
            Call(load_script("facts_step"), self._outbox(source), (*head, *texts))
            for source, texts in zip(sources, queued, strict=True)
        ]
        replies = await arun_many(self._clients.aio, calls, repeat_lost=True)
        return [_page(reply) for reply in replies]

    async def rescue(self, source: tuple[str, str]) -> float | None:
        """
        Move the facts of a channel that no living node may know into the outbox of all.

        Returns:
            None when none is left, else the seconds until this is worth another try.
        """
        token = secrets.token_hex(8)
        texts: list[bytes] = []
        while True:
            (page,) = await self.step(token, [source], [texts])
            if not page.notes:
                return page.busy or None
            texts = [note.text for note in page.notes]
            flat = [part for text in texts for part in (_number(text), text)]
            await arun(
                self._clients.aio,
                load_script("facts_add"),
                (self._keys.facts,),
                (MOST_FACTS, *flat),
                repeat_lost=True,
            )

    def _outbox(self, source: Source) -> tuple[str, str]:
        if source is None:
            return self._keys.facts, f"{self._keys.facts}:lock"
        facts = self._clients.keys.channel(*source, "p:facts")
        return facts, f"{facts}:lock"


def read_note(text: bytes) -> Noted:
    """Return the fact that a script wrote as `text`; what nobody can read is said in the log."""
    parts = text.decode("utf-8", "replace").split("\0", _PARTS - 1)
    try:
        number, name, time_ms, app_id, channel, rest = parts
        fact = msgspec.convert(
            {
                "id": fact_id(number, name, time_ms, app_id, channel, rest),
                "app_id": app_id,
                "name": name,
                "channel": channel,
                "time_ms": int(time_ms),
                "user_id": rest if name in (MEMBER_ADDED, MEMBER_REMOVED) else None,
                "subscription_count": int(rest) if name == SUBSCRIPTION_COUNT else None,
            },
            Fact,
        )
    except ValueError:
        _log.warning("an outbox holds something that is no fact: %a", text[:80])
        return Noted(text, None)
    return Noted(text, fact)


def _page(reply: list[Any]) -> Page:
    lost, busy_ms, *texts = reply
    return Page([read_note(text) for text in texts], int(lost), busy_ms / 1000)


def _number(text: bytes) -> int:
    number = text.partition(b"\0")[0]
    return int(number) if number.isdigit() and len(number) <= _MAX_DIGITS else 0
