"""
Revocations in Redis: one hash per app, written and announced by ``scripts/revoke.lua``.

Terminations of users' connections are kept among them (``scripts/terminate.lua``), but their
moment is Redis's, as that of a sign-in is (``scripts/sign_in_moments.lua``).

The keys share the hash tag of the app's control topic, so that one script may write and
publish in a cluster too.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.revocations import Revocation, Stored
from broadcaster.drivers.redis.publish import control_envelope
from broadcaster.drivers.redis.scripts_loader import Call, aread, arun_many, load_script, run_many
from broadcaster.errors import DriverError
from broadcaster.protocol.revocation import (
    CONNECTIONS,
    MAX_ITEMS,
    encode_revoked,
    encode_terminated,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.drivers.redis.client import RedisClients

_log = logging.getLogger("broadcaster.redis")

MAX_KEPT = 100_000
MOMENTS_AT_ONCE = 1_000  # in one script, which nothing else gets past
# A node that is cut off for longer has lost its clients too.
TERMINATION_SECONDS = 86_400.0
_VERSION = b"version"


class RedisRevocations:
    """
    See `RevocationStore`, `Revoker` and `UserTerminator`.

    Args:
        max_kept: most revocations of one app.
    """

    def __init__(self, clients: RedisClients, *, max_kept: int = MAX_KEPT) -> None:
        self._clients = clients
        self._max_kept = max_kept

    def revoke(self, app_id: str, item: Revocation) -> None:
        """See `Revoker.revoke`."""
        _check(run_many(self._clients.sync, [self._call(app_id, [item])], repeat_lost=True))

    async def arevoke(self, app_id: str, item: Revocation) -> None:
        """See `Revoker.arevoke`."""
        await self.add(app_id, [item])

    async def add(self, app_id: str, items: Sequence[Revocation]) -> None:
        """See `RevocationStore.add`."""
        for start in range(0, len(items), MAX_ITEMS):
            call = self._call(app_id, items[start : start + MAX_ITEMS])
            _check(await arun_many(self._clients.aio, [call], repeat_lost=True))

    async def version(self, app_id: str) -> bytes | None:
        """See `RevocationStore.version`."""
        key = self._clients.keys.of_app(app_id, "revoked")
        found: bytes | None = (await aread(self._clients.aio, [("HGET", key, _VERSION)]))[0]
        return found

    async def read(self, app_id: str) -> Stored:
        """See `RevocationStore.read`."""
        key = self._clients.keys.of_app(app_id, "revoked")
        [reply] = await aread(self._clients.aio, [("HGETALL", key)])
        fields: Mapping[bytes, bytes] = _as_mapping(reply)
        decoded = [_decoded(name, value) for name, value in fields.items() if name != _VERSION]
        return Stored(fields.get(_VERSION), [item for item in decoded if item is not None])

    def terminate(self, app_id: str, user_id: str) -> None:
        """See `UserTerminator.terminate`."""
        call = self._termination(app_id, user_id)
        _check(run_many(self._clients.sync, [call], repeat_lost=True))

    async def aterminate(self, app_id: str, user_id: str) -> None:
        """See `UserTerminator.aterminate`."""
        call = self._termination(app_id, user_id)
        _check(await arun_many(self._clients.aio, [call], repeat_lost=True))

    async def moments(self, app_id: str, user_ids: Sequence[str]) -> list[float]:
        """See `RevocationStore.moments`."""
        key = self._clients.keys.of_app(app_id, "revoked")
        names = [_name(user_id, CONNECTIONS) for user_id in user_ids]
        script = load_script("sign_in_moments")
        calls = [
            Call(script, [key], names[first : first + MOMENTS_AT_ONCE])
            for first in range(0, len(names), MOMENTS_AT_ONCE)
        ]
        replies = await arun_many(self._clients.aio, calls, repeat_lost=True)
        return [float(moment) for reply in replies for moment in reply]

    def _termination(self, app_id: str, user_id: str) -> Call:
        message = encode_terminated(user_id)
        keys = self._clients.keys
        args: list[str | bytes | int | float] = [
            keys.control(app_id),
            self._max_kept,
            os.urandom(8).hex(),
            _name(user_id, CONNECTIONS),
            TERMINATION_SECONDS,
            control_envelope(message),
        ]
        suffixes = ("revoked", "revoked:ends", f"terminated:{os.urandom(16).hex()}")
        return Call(
            load_script("terminate"), [keys.of_app(app_id, suffix) for suffix in suffixes], args
        )

    def _call(self, app_id: str, items: Sequence[Revocation]) -> Call:
        keys = self._clients.keys
        args: list[str | bytes | int | float] = [
            keys.control(app_id),
            self._max_kept,
            os.urandom(8).hex(),
            control_envelope(encode_revoked(items)),
        ]
        for item in items:
            args += (_name(item.user, item.channel), repr(item.at), repr(item.until))
        where = [keys.of_app(app_id, "revoked"), keys.of_app(app_id, "revoked:ends")]
        return Call(load_script("revoke"), where, args)


def _name(user: str, channel: str) -> str:
    return f"{user}\n{channel}"


def _check(replies: list[Any]) -> None:
    if 0 in replies:
        raise DriverError(
            "too many revocations are kept; revoke a user on all channels instead of one by one, "
            "or change the app's grant key",
            code="revocations_full",
        )


def _as_mapping(reply: Any) -> Mapping[bytes, bytes]:
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _decoded(name: bytes, value: bytes) -> Revocation | None:
    at, _, until = value.partition(b" ")
    try:
        user, _, channel = name.decode().partition("\n")
        return Revocation(user, channel, float(at), float(until))
    except ValueError:
        _log.error("passed over a revocation that is none: %r", name, extra={"event": "bug"})
        return None
