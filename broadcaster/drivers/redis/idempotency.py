"""
First answers in Redis: one string per app and key, written by ``scripts/idempotency.lua``.

They expire by themselves and are small: a publish without ``info`` is answered ``{}``, and
with it by a line per channel. An answer over `MAX_ANSWER_BYTES` is not kept; a repeat of
such a request is not delivered twice either, but counts anew. There are never more of them
than marks of published events, which live as long.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from broadcaster.contracts.idempotency import Begun, FirstAnswer
from broadcaster.drivers.redis.scripts_loader import arun, load_script
from broadcaster.protocol.idempotency import WINDOW_SECONDS

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.protocol.idempotency import Attempt

MAX_ANSWER_BYTES = 65_536


class RedisIdempotency:
    """See `broadcaster.contracts.idempotency.IdempotencyStore`."""

    def __init__(self, clients: RedisClients, *, seconds: int = WINDOW_SECONDS) -> None:
        self._clients = clients
        self._seconds = seconds

    async def begin(self, attempt: Attempt) -> Begun:
        """See `IdempotencyStore.begin`."""
        return await self._run(attempt, b"")

    async def finish(self, attempt: Attempt, answer: FirstAnswer) -> FirstAnswer:
        """See `IdempotencyStore.finish`."""
        written = b"%d %b" % (answer.status, answer.body)
        if len(written) > MAX_ANSWER_BYTES:
            return answer
        return (await self._run(attempt, written)).answer or answer

    async def _run(self, attempt: Attempt, written: bytes) -> Begun:
        name = hashlib.sha256(attempt.key.encode()).hexdigest()[:32]
        same, kept = await arun(
            self._clients.aio,
            load_script("idempotency"),
            [self._clients.keys.of_app(attempt.app_id, f"request:{name}")],
            [attempt.fingerprint, written, self._seconds],
            repeat_lost=True,
        )
        return Begun(bool(same), _answer(kept))


def _answer(kept: bytes) -> FirstAnswer | None:
    status, space, body = kept.partition(b" ")
    return FirstAnswer(int(status), body) if space and status.isdigit() else None
