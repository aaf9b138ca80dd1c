"""May this socket enter? Asking the verifier, the revocations, and again when keys have come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broadcaster.errors import (
    AuthorizationError,
    AuthorizationPending,
    InvalidSignature,
    ProtocolError,
)
from broadcaster.protocol.rate import TokenBucket

if TYPE_CHECKING:
    from broadcaster.contracts.apps import AppProvider
    from broadcaster.contracts.public_keys import PublicKeys
    from broadcaster.contracts.verifier import Verified, Verifier
    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.revocations import Revocations

EXPLANATIONS_A_SECOND, EXPLANATIONS_AT_ONCE = 20, 100


class Verification:
    """
    Decides about subscriptions from memory; what it cannot decide yet is held.

    Args:
        debug: whether refusals explain themselves to clients.
    """

    def __init__(
        self,
        verifier: Verifier,
        apps: AppProvider,
        revocations: Revocations,
        public_keys: PublicKeys,
        *,
        debug: bool,
    ) -> None:
        self._verifier = verifier
        self._apps = apps
        self._revocations = revocations
        self._debug = debug
        self._held: set[Connection] = set()
        # Trying alternatives costs many times what refusing does.
        self._explanations = TokenBucket(EXPLANATIONS_A_SECOND, burst=EXPLANATIONS_AT_ONCE)
        public_keys.on_read(self._retry)

    def verify(
        self,
        connection: Connection,
        auth: str,
        channel: str,
        channel_data: str | None,
        held_since: float | None = None,
    ) -> Verified:
        """Check the ``auth`` of a subscription; see `Verifier.verify_subscription`."""
        app, socket_id, now = connection.app, connection.socket_id, time.time()
        try:
            verified = self._verifier.verify_subscription(
                app,
                auth=auth,
                socket_id=socket_id,
                channel=channel,
                channel_data=channel_data,
                now=now,
                signed_in=connection.session.user is not None,
                held_since=held_since,
            )
        except AuthorizationPending:
            raise
        except (ProtocolError, AuthorizationError) as error:
            if not self._explanations.take(now):
                raise
            cause = self._verifier.explain_refusal(
                app,
                self._apps,
                error,
                auth=auth,
                socket_id=socket_id,
                channel=channel,
                channel_data=channel_data,
                now=now,
            )
            if cause == error.message:
                raise
            if self._debug:
                raise InvalidSignature(f"{error}. {cause}", code=error.code) from error
            error.add_note(cause)
            raise
        self._revocations.check(app.id, channel, verified)
        return verified

    def hold(self, connection: Connection) -> None:
        """Ask a connection's session again when keys have been read."""
        self._held.add(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._held.discard(connection)

    def _retry(self) -> None:
        held, self._held = self._held, set()
        for connection in held:
            if connection.closing_at is None:
                connection.act(connection.session.retry())
