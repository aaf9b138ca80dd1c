"""
The verbs that take authorizations back.

``revoke(user=42)`` ends the user's subscriptions on every gateway within a second, and
refuses every grant and signature that was made for them until now; ``arevoke`` is its
coroutine. What is made afterwards is good again.
"""

from __future__ import annotations

import time

from broadcaster import current
from broadcaster.protocol.revocation import revocation


def revoke(*, user: str | int, channel: str | None = None) -> None:
    """
    Revoke what a user was authorized for up to now.

    Args:
        user: the user's id, as rules, members and grants name them.
        channel: full name, as ``private-orders.42``; ``*`` stands for characters within one
            dot segment. Default: all channels.

    Raises:
        NotConfigured: no credentials or no Redis server were found.
        DriverUnavailable: Redis did not answer within 2 s; it is unknown whether it holds.
            Repeating it does no harm.
        DriverError: too many revocations are kept (code ``revocations_full``).
        MalformedMessage: no user id.
        InvalidChannel: not a name of channels that are authorized.
    """
    item = revocation(user, channel, now=time.time())
    app = current.application()
    app.revoker.revoke(app.app_id, item)


async def arevoke(*, user: str | int, channel: str | None = None) -> None:
    """Revoke what a user was authorized for up to now, from a coroutine; see `revoke`."""
    item = revocation(user, channel, now=time.time())
    app = current.application()
    await app.revoker.arevoke(app.app_id, item)
