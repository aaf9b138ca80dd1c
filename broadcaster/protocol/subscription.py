"""
One channel of one connection, who it is about, and when its authorization is renewed.

Stock clients ask their auth endpoint when they connect and never again, so the only way to
a fresh authorization is a new connection. A connection is therefore closed (4200, upon
which clients come back at once) a little before the authorization of a channel ends::

    seen                                            window           expires
      |--------------------------------------------|~~~~~~~~~~~~~~~~~~~|
                                              a tenth, 60 s at most

At which moment of the window, but for its last second, is left to chance, so that clients
that came in one second do not all come back in one second. The window is a share of the
time that was left when the grant was seen, and a connection stays `SHORTEST_STAY` seconds
whatever its grants say: short grants end on time, but no client is sent around in a loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.errors import MalformedMessage
from broadcaster.protocol.messages import MemberData

if TYPE_CHECKING:
    from broadcaster.protocol.app import AppLimits
    from broadcaster.protocol.sign_in import User
    from broadcaster.protocol.subscription_auth import Verified

WINDOW_SHARE = 0.1
LONGEST_WINDOW = 60.0
# Assigning to this property of an object sets its prototype. pusher-js 8.6 keeps members as
# properties: it would count this one with every announcement and never find it.
UNUSABLE_ID = "__proto__"

LEAD_SECONDS = 1.0  # more than the pause between two looks of a gateway
SHORTEST_STAY = 5.0
NEVER = float("inf")


class Subscription:
    """
    One channel of one connection.

    Attributes:
        generation: of the join that it came from.
        user_id: whom it is about, or None if nobody said.
        member_data: on presence channels, the member as in `Verified.member_data`.
        issued_at: when its authorization was made, or None if unknown.
        expires_at: Unix seconds at which it ends, or None for never.
        renew_at: Unix seconds at which the connection is to be renewed; None until planned.
        active: whether the client was told of success.
    """

    __slots__ = (
        "active",
        "expires_at",
        "generation",
        "issued_at",
        "member_data",
        "renew_at",
        "user_id",
    )

    def __init__(self, generation: int, verified: Verified) -> None:
        self.generation = generation
        self.user_id = verified.user_id
        self.member_data = verified.member_data
        self.issued_at = verified.issued_at
        self.expires_at = verified.expires_at
        self.renew_at: float | None = None
        self.active = False

    def plan(self, now: float, chance: float) -> float:
        """
        Return when the connection is to be renewed; decided at the first call.

        Args:
            now: Unix seconds.
            chance: a random number from 0 up to 1.
        """
        if self.renew_at is None:
            self.renew_at = (
                NEVER
                if self.expires_at is None
                else renewal_time(seen_at=now, expires_at=self.expires_at, chance=chance)
            )
        return self.renew_at


def renewal_time(*, seen_at: float, expires_at: float, chance: float) -> float:
    """
    Return when to close a connection so that its client gets a fresh authorization.

    Args:
        seen_at: Unix seconds when it subscribed.
        expires_at: when the authorization ends.
        chance: a random number from 0 up to 1: where in the window (see the module).
    """
    window = min(max(expires_at - seen_at, 0.0) * WINDOW_SHARE, LONGEST_WINDOW)
    lead = min(LEAD_SECONDS, window)
    early = lead + (window - lead) * (1 - chance)
    return max(expires_at - early, seen_at + SHORTEST_STAY)


def identified(verified: Verified, user: User | None) -> Verified:
    """
    Return what a presence subscription proved, the member being the signed-in user if need be.

    Args:
        verified: without ``member_data`` if the subscription named nobody.
        user: who signed in on the connection, or None.
    """
    if verified.member_data is not None or user is None:
        return verified
    return verified._replace(
        member_data=user.member_data, info_size=user.info_size, user_id=user.id
    )


def member_of(verified: Verified, limits: AppLimits) -> MemberData:
    """
    Return the member that a presence subscription proved.

    Raises:
        MalformedMessage: there is none, or it is over a limit of the app.
    """
    if verified.member_data is None or verified.user_id is None:
        raise MalformedMessage(
            "channel_data is missing: a presence channel needs it to know the member",
            code="member_missing",
        )
    longest = limits.presence_id_length
    if not 0 < len(verified.user_id) <= longest:
        raise MalformedMessage(
            f"user_id has {len(verified.user_id)} characters; 1 to {longest} are allowed",
            code="member_invalid",
        )
    if verified.user_id == UNUSABLE_ID:
        raise MalformedMessage(
            f"user_id '{UNUSABLE_ID}' cannot be used: it is no ordinary property of a JavaScript "
            "object, so browsers could not list the member; give this user another id",
            code="member_invalid",
        )
    if verified.info_size > limits.presence_info_bytes:
        raise MalformedMessage(
            f"user_info has {verified.info_size} bytes; {limits.presence_info_bytes} are allowed",
            code="member_invalid",
        )
    return MemberData(verified.user_id, verified.member_data, verified.info_size)
