"""
Who may subscribe: the gateway asks, an implementation named in the registry answers.

Implementations: `broadcaster.protocol.hmac_verifier.HmacVerifier` (Pusher signatures
alone) and ``broadcaster_auth.verifier:SubscriptionVerifier`` (signatures and JWT grants).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broadcaster.protocol.subscription_auth import Verified

if TYPE_CHECKING:
    from broadcaster.contracts.apps import App, AppProvider
    from broadcaster.errors import BroadcasterError

__all__ = ["Verified", "Verifier"]


class Verifier(Protocol):
    """Verifies subscriptions. Synchronous, from memory, cheap: it is on the path of each."""

    def verify_subscription(
        self,
        app: App,
        *,
        auth: str,
        socket_id: str,
        channel: str,
        channel_data: str | None,
        now: float,
        signed_in: bool = False,
        held_since: float | None = None,
    ) -> Verified:
        """
        Return what `auth` proves, or raise.

        Called for private, presence and encrypted channels only.

        Args:
            app: the app of the connection.
            auth: ``<app key>:<signature or grant>``, as sent; may be empty.
            socket_id: of this connection.
            channel: full name, within the grammar.
            channel_data: exactly as sent, or None.
            now: Unix seconds.
            signed_in: whether the connection is signed in. Only then may a presence
                subscription come without `channel_data`; the answer has no ``member_data``
                then, and the member is the signed-in user.
            held_since: `AuthorizationPending.since` of the earlier answer, if there was one.

        Raises:
            AuthorizationPending: cannot be decided yet; to be asked again when more is known.
            InvalidSignature: missing, malformed, wrong or expired; `code` says which.
            InvalidToken: a grant that is forged, expired, or not for this.
            MalformedMessage: proved, but `channel_data` is not usable on this channel.
        """
        ...

    def explain_refusal(
        self,
        app: App,
        apps: AppProvider,
        error: BroadcasterError,
        *,
        auth: str,
        socket_id: str,
        channel: str,
        channel_data: str | None,
        now: float,
    ) -> str:
        """
        Return the likely cause of a refusal in one sentence, for logs and development.

        Called after `verify_subscription` raised `error`, with the same arguments. Tries
        alternatives, so it costs more than verifying; never raises; says nothing secret.
        """
        ...
