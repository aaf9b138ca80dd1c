"""
Why a connection is closed, and what stock clients do about it.

The ranges are the contract: **4000-4099** the client gives up until the page is loaded
again, **4100-4199** it comes back after one second, **4200-4299** it comes back at once.
So nothing that may pass is ever closed with 4000-4099, and many connections are never
closed with 4200 in one moment: stock clients reconnect without jitter.

4301 and 4302 are codes of ``pusher:error`` events only. As close codes they would stop a
client for good.

Source: Pusher Channels Protocol 7, "Connection closure"; reactions as measured with
pusher-js 8.6.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Reaction(Enum):
    """What a stock client does after a close."""

    GIVE_UP = "gives up until the page is loaded again"
    RETRY_LATER = "reconnects after one second"
    RETRY_NOW = "reconnects at once"


class CloseCode(NamedTuple):
    """One way to close a connection."""

    code: int
    name: str
    message: str

    @property
    def reaction(self) -> Reaction:
        """What a stock client does, by the range of the code."""
        return reaction_to(self.code)


UNKNOWN_APP = CloseCode(4001, "unknown_app", "Application does not exist: no app has this key")
APP_DISABLED = CloseCode(4003, "app_disabled", "Application is disabled")
PATH_NOT_FOUND = CloseCode(4005, "path_not_found", "Path not found: sockets are at /app/<key>")
BAD_VERSION = CloseCode(4006, "bad_version", "Invalid version string format")
UNSUPPORTED_PROTOCOL = CloseCode(
    4007, "unsupported_protocol", "Unsupported protocol version: 4 to 7 are supported"
)
NO_PROTOCOL = CloseCode(4008, "no_protocol", "No protocol version supplied")
UNAUTHORIZED = CloseCode(4009, "unauthorized", "Connection is unauthorized")
OVER_CAPACITY = CloseCode(4100, "over_capacity", "Over capacity: try again in a moment")
SLOW_CONSUMER = CloseCode(4101, "slow_consumer", "Connection reads too slowly")
TOO_MUCH = CloseCode(4102, "too_much", "Connection sends too much")
RECONNECT = CloseCode(4200, "reconnect", "Server is going away: reconnect at once")
RENEW = CloseCode(4200, "renew", "Authorization is about to expire: reconnect to renew it")
PONG_MISSING = CloseCode(4201, "pong_missing", "Pong reply not received in time")

CLOSE_CODES = (
    UNKNOWN_APP,
    APP_DISABLED,
    PATH_NOT_FOUND,
    BAD_VERSION,
    UNSUPPORTED_PROTOCOL,
    NO_PROTOCOL,
    UNAUTHORIZED,
    OVER_CAPACITY,
    SLOW_CONSUMER,
    TOO_MUCH,
    RECONNECT,
    RENEW,
    PONG_MISSING,
)

# Codes of ``pusher:error`` events on a connection that stays open.
INVALID_MESSAGE = 4200
SIGN_IN_REFUSED = 4009
CLIENT_EVENT_REFUSED = 4301
WATCHLIST_CUT = 4302


def reaction_to(code: int) -> Reaction:
    """Return what a stock client does after a close with `code`."""
    if 4000 <= code < 4100 or code >= 4300:  # noqa: PLR2004 (the ranges of the protocol)
        return Reaction.GIVE_UP
    if 4200 <= code < 4300:  # noqa: PLR2004 (the ranges of the protocol)
        return Reaction.RETRY_NOW
    return Reaction.RETRY_LATER
