"""
What a node logs about its sockets: one line per event, only when somebody listens.

Refusals and slow consumers are logged as INFO and above; what a healthy client does is
DEBUG, because ten thousand clients come back in one second after a deploy. Payloads,
``auth`` strings and tokens are never logged.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from broadcaster.gateway.flood import Flood
from broadcaster.protocol.envelope import Flag
from broadcaster.protocol.watchlist import is_online_list

if TYPE_CHECKING:
    from broadcaster.gateway.connection import Connection
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.protocol.close_codes import CloseCode
    from broadcaster.protocol.effects import Denied, Join
    from broadcaster.protocol.envelope import Envelope
    from broadcaster.protocol.sign_in import User

_log = logging.getLogger("broadcaster.gateway")

# A signature that does not fit here may fit somewhere else.
_DIGEST = re.compile(r"(?<![0-9a-f])([0-9a-f]{8})[0-9a-f]{56}(?![0-9a-f])")
_CUT = r"\1..."


class Trace:
    """See the module."""

    def __init__(self) -> None:
        self.on = _log.isEnabledFor(logging.DEBUG)
        self._denials = Flood("%d more were denied", "denied")
        self._refusals = Flood("%d more were refused", "refused")

    def connected(self, connection: Connection) -> None:
        """A client connected."""
        if self.on:
            _log.debug("connected", extra=_of(connection, "connected"))

    def disconnected(self, connection: Connection) -> None:
        """A client is gone; with the close code and its name if it was we who closed."""
        if not self.on:
            return
        extra = _of(connection, "disconnected")
        if connection.closed_with is None:
            _log.debug("disconnected", extra=extra)
            return
        code, name = connection.closed_with
        extra |= {"close_code": code, "cause": name}
        _log.debug("disconnected: closed with %d (%s)", code, name, extra=extra)

    def refused(
        self, connection: Connection, code: CloseCode, message: str, cause: str = ""
    ) -> None:
        """
        A client was sent away at once; a flood is counted instead of told.

        Args:
            cause: for whoever runs the server.
        """
        if not self._refusals.passes(connection.opened_at):
            return
        why = f"{message} ({cause})" if cause else message
        _log.info("refused with %d: %s", code.code, why, extra=_of(connection, "refused"))

    def subscribed(self, connection: Connection, join: Join) -> None:
        """A client is in a channel."""
        if self.on:
            extra = _of(connection, "subscribed", channel=join.channel.name)
            if join.member is not None:
                extra["user_id"] = join.member.user_id
            _log.debug("subscribed to %s", join.channel.name, extra=extra)

    def signed_in(self, connection: Connection, user: User) -> None:
        """A connection is a user's."""
        if self.on:
            extra = _of(connection, "signed_in", user_id=user.id)
            _log.debug("signed in as %s", user.id, extra=extra)

    def unsubscribed(self, connection: Connection, channel: str) -> None:
        """A client left a channel."""
        if self.on:
            _log.debug("left %s", channel, extra=_of(connection, "unsubscribed", channel=channel))

    def denied(self, connection: Connection, denied: Denied, now: float) -> None:
        """A subscription or sign-in was refused; a flood is counted instead of told."""
        if not self._denials.passes(now):
            return
        what = f"subscription to {denied.channel[:200]!a}" if denied.channel else "sign-in"
        _log.info(
            "%s denied: %s",
            what,
            _without_secrets(denied.cause, connection.app.secret),
            extra=_of(connection, "denied", channel=denied.channel[:200], code=denied.code),
        )

    def slow(self, connection: Connection) -> None:
        """A client does not read."""
        _log.warning("closed a connection that reads too slowly", extra=_of(connection, "slow"))

    def delivered(self, channel: LocalChannel | None, envelope: Envelope) -> None:
        """An event was given to the sockets of a channel here."""
        if channel is None or envelope.flags & Flag.CONTROL or is_online_list(channel.name):
            return
        try:
            name = str(json.loads(envelope.frame).get("event"))
        except (ValueError, AttributeError, RecursionError):
            name = "?"
        left_out = bool(envelope.excluded) and any(
            subscriber.socket_id == envelope.excluded for subscriber in channel.subscribers
        )
        sockets = len(channel) - left_out
        waited = max(time.time() * 1000 - envelope.time_ms, 0.0) if envelope.time_ms else 0.0
        _log.debug(
            "%s -> %d sockets of %s%s",
            name,
            sockets,
            channel.name,
            ", 1 left out" if left_out else "",
            extra={
                "event": "delivered",
                "app": channel.app_id,
                "channel": channel.name,
                "name_": name,
                "sockets": sockets,
                "dur_ms": round(waited, 1),
            },
        )


def _without_secrets(cause: str, secret: str) -> str:
    """Return `cause` without signatures, and without a secret that was sent as the key."""
    if secret:
        cause = cause.replace(secret, "(the app's secret)")
    return _DIGEST.sub(_CUT, cause)


def _of(connection: Connection, event: str, **more: Any) -> dict[str, Any]:
    return {"event": event, "app": connection.app.id, "socket_id": connection.socket_id, **more}
