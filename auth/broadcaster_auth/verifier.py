"""
The verifier of a gateway: Pusher signatures and JWT grants.

Named in the registry as ``broadcaster_auth.verifier:SubscriptionVerifier``.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.contracts.verifier import Verified
from broadcaster.errors import (
    AuthorizationPending,
    ConfigurationError,
    InvalidSignature,
    InvalidToken,
)
from broadcaster.protocol.channels import shown
from broadcaster.protocol.hmac_verifier import explain_signature
from broadcaster.protocol.subscription_auth import AuthKind, classify, verify_signed
from broadcaster_auth import tokens
from broadcaster_auth.jwks import load_jwks

if TYPE_CHECKING:
    from broadcaster.contracts.apps import App, AppProvider
    from broadcaster.contracts.public_keys import KeyDocument, PublicKeys
    from broadcaster.errors import BroadcasterError
    from broadcaster_auth.tokens import Grant, GrantKey


_log = logging.getLogger("broadcaster.auth")


class SubscriptionVerifier:
    """
    See `broadcaster.contracts.verifier.Verifier`.

    Args:
        public_keys: key sets of apps that have a `jwks_url`; None where there are no such apps.
    """

    def __init__(self, public_keys: PublicKeys | None = None) -> None:
        self._public_keys = public_keys
        self._document: KeyDocument | None = None

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
        """See `broadcaster.contracts.verifier.Verifier.verify_subscription`."""
        if classify(auth) is not AuthKind.JWT:
            return verify_signed(
                app,
                auth=auth,
                socket_id=socket_id,
                channel=channel,
                channel_data=channel_data,
                now=now,
                signed_in=signed_in,
            )
        key, _, token = auth.partition(":")
        if not hmac.compare_digest(key.encode("utf-8", "surrogatepass"), app.key.encode()):
            raise InvalidSignature(
                f"Invalid key in subscription auth data: {shown(key)}", code="auth_wrong_key"
            )
        grant = self._grant(app, token, now=now, held_since=held_since)
        tokens.check_use(grant, channel=channel, socket_id=socket_id)
        return _admit(grant, channel, channel_data)

    def _grant(self, app: App, token: str, *, now: float, held_since: float | None) -> Grant:
        keys, source = _keys_of(app), self._public_keys
        if source is None or not app.jwks_url:
            return tokens.verify(token, keys, app_id=app.id, now=now)
        try:
            document = source.find(app.jwks_url)
        except ConfigurationError as error:
            raise InvalidToken(error.message, code="grants_off") from error
        if document is not None:
            keys += self._loaded(document)
        try:
            return tokens.verify(token, keys, app_id=app.id, now=now)
        except InvalidToken as error:
            if error.code not in _MISSING_KEY:
                raise
            since = now if held_since is None else held_since
            if document is not None and document.read_at >= since:
                raise  # the keys were read since, and it is not among them
            source.refresh(app.jwks_url)
            raise AuthorizationPending(f"{error.message}, yet", since=since) from error

    def _loaded(self, document: KeyDocument) -> tuple[GrantKey, ...]:
        loaded = load_jwks(document.body)
        if self._document is None or self._document.body is not document.body:
            self._document = document
            for problem in loaded.problems:
                _log.warning("a public key is passed over: %s", problem, extra={"event": "jwks"})
        return loaded.keys

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
        """See `broadcaster.contracts.verifier.Verifier.explain_refusal`."""
        del now  # what has expired says so itself
        if isinstance(error, InvalidToken) and error.code == "token_wrong_channel":
            return _explain_channel(error, channel)
        return explain_signature(
            app,
            apps,
            error,
            auth=auth,
            socket_id=socket_id,
            channel=channel,
            channel_data=channel_data,
        )


_MISSING_KEY = frozenset({"token_unknown_key", "grants_off"})


def _keys_of(app: App) -> tuple[GrantKey, ...]:
    try:
        return tokens.load_keys(app)
    except ConfigurationError as error:
        raise InvalidToken(
            f"the grant keys of this app cannot be used: {error.message}", code="grants_off"
        ) from error


def _admit(grant: Grant, channel: str, channel_data: str | None) -> Verified:
    member: dict[str, Any] = {"user_id": grant.sub}
    info = bytes(grant.info)
    if info:
        member["user_info"] = msgspec.json.decode(info)
    if channel_data is not None:
        _check_equal(channel_data, member)
    is_presence = channel.startswith("presence-")
    return Verified(
        member_data=msgspec.json.encode(member).decode() if is_presence else None,
        info_size=len(info) if is_presence else 0,
        user_id=grant.sub,
        issued_at=grant.iat,
        expires_at=grant.exp,
    )


def _check_equal(channel_data: str, member: dict[str, Any]) -> None:
    """Refuse `channel_data` that says anything else than the grant: nobody signed it."""
    try:
        sent: object = msgspec.json.decode(channel_data)
        if isinstance(sent, dict) and isinstance(sent.get("user_id"), int):
            sent["user_id"] = str(sent["user_id"])
        same = msgspec.json.encode(sent, order="deterministic") == msgspec.json.encode(
            member, order="deterministic"
        )
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise InvalidToken(
            "channel_data differs from the member in the grant: user_id must be its 'sub' and "
            "user_info its 'info'",
            code="token_member_mismatch",
        )


def _explain_channel(error: InvalidToken, channel: str) -> str:
    if channel.startswith("private-encrypted-"):
        return f"{error.message} ('*' matches no encrypted channel)"
    return f"{error.message} ('*' stays between two dots and never matches the prefix)"
