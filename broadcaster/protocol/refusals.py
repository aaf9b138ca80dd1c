"""How a client is told that something it asked for is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.protocol.close_codes import SIGN_IN_REFUSED
from broadcaster.protocol.effects import Denied, Effect, Reply
from broadcaster.protocol.messages import encode_error, encode_subscription_error

if TYPE_CHECKING:
    from collections.abc import Sequence

# Types of ``pusher:subscription_error``.
AUTH_ERROR, LIMIT_REACHED, INVALID = "AuthError", "LimitReached", "InvalidChannel"
SERVER_ERROR = "ServerError"


def error_reply(message: str, code: int | None = None) -> Reply:
    """Return a ``pusher:error`` for a connection that stays open."""
    return Reply(encode_error(code, message))


def denied(
    channel: str, kind: str, code: str, cause: str, status: int, *, found: Sequence[str] = ()
) -> list[Effect]:
    """Refuse a subscription; what was `found` out about its cause is for the log alone."""
    frame = encode_subscription_error(channel, kind, cause, status, code=code)
    return [Reply(frame), Denied(channel, code, ". ".join([cause, *found]))]


def sign_in_refused(code: str, cause: str) -> list[Effect]:
    """Refuse a sign-in; the connection stays open."""
    return [error_reply(f"Sign-in refused: {cause}", SIGN_IN_REFUSED), Denied("", code, cause)]
