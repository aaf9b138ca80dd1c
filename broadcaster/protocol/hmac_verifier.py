"""A verifier for Pusher signatures alone, and what a wrong one was probably made of."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from broadcaster.errors import BroadcasterError, InvalidToken
from broadcaster.protocol.channels import shown
from broadcaster.protocol.signing import hmac_hex
from broadcaster.protocol.subscription_auth import AuthKind, classify, verify_signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.protocol.subscription_auth import Credentials, Verified

_EXPLAINED_BYTES = 10_240
_PREFIXES = ("private-encrypted-", "private-", "presence-")


class KnownApps(Protocol):
    """The part of an app provider that explanations use."""

    def by_key(self, key: str) -> Credentials | None:
        """Return the app with this key, or None."""
        ...


class HmacVerifier:
    """A `broadcaster.contracts.verifier.Verifier` for Pusher signatures alone."""

    def verify_subscription(
        self,
        app: Credentials,
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
        del held_since  # a signature can always be decided at once
        if classify(auth) is AuthKind.JWT:
            raise InvalidToken(
                "auth holds a JWT grant, but this gateway verifies Pusher signatures only",
                code="grants_off",
            )
        return verify_signed(
            app,
            auth=auth,
            socket_id=socket_id,
            channel=channel,
            channel_data=channel_data,
            now=now,
            signed_in=signed_in,
        )

    def explain_refusal(
        self,
        app: Credentials,
        apps: KnownApps,
        error: BroadcasterError,
        *,
        auth: str,
        socket_id: str,
        channel: str,
        channel_data: str | None,
        now: float,
    ) -> str:
        """See `broadcaster.contracts.verifier.Verifier.explain_refusal`."""
        del now  # an expired signature says so itself
        return explain_signature(
            app,
            apps,
            error,
            auth=auth,
            socket_id=socket_id,
            channel=channel,
            channel_data=channel_data,
        )


def explain_signature(
    app: Credentials,
    apps: KnownApps,
    error: BroadcasterError,
    *,
    auth: str,
    socket_id: str,
    channel: str,
    channel_data: str | None,
) -> str:
    """
    Return the likely cause why a Pusher signature was refused, in one sentence.

    Only what is cheap to try is tried (a few dozen digests); nothing here decides anything.
    """
    match error.code:
        case "auth_missing":
            return (
                "the client sent no auth: its authEndpoint answered without 'auth', or a custom "
                "authorizer passed none on"
            )
        case "auth_malformed":
            return _explain_shape(auth, app.key)
        case "auth_wrong_key":
            return _explain_key(auth.partition(":")[0], apps)
        case "auth_mismatch":
            return _explain_digest(
                app, apps, auth.partition(":")[2], socket_id, channel, channel_data
            )
        case _:
            return error.message


def _explain_shape(auth: str, key: str) -> str:
    key_part, colon, proof = auth.partition(":")
    bare = key_part if not colon else proof
    if not colon and classify(f"x:{auth}") is not AuthKind.MALFORMED:
        return f"auth lacks the app key in front: send '{shown(key).strip(chr(39))}:<auth>'"
    if len(bare) == 64 and classify(f"x:{bare.lower()}") is AuthKind.HMAC:  # noqa: PLR2004 - hex digits of SHA-256
        return "the signature is in capital letters; Pusher signatures are lower-case hex"
    return f"auth {shown(auth, 24)} is neither '<app key>:<64 hex digits>' nor '<app key>:<JWT>'"


def _explain_key(sent_key: str, apps: KnownApps) -> str:
    if apps.by_key(sent_key) is not None:
        return f"signed for another app of this server (key {shown(sent_key)})"
    return f"signed with the key of an app this server does not know ({shown(sent_key)})"


def _explain_digest(
    app: Credentials,
    apps: KnownApps,
    digest: str,
    socket_id: str,
    channel: str,
    channel_data: str | None,
) -> str:
    tail = "" if channel_data is None else f":{channel_data}"
    for text, cause in _alternatives(socket_id, channel, channel_data):
        if _matches(app.secret, text, digest):
            return cause
    if isinstance(apps, Iterable):
        text = f"{socket_id}:{channel}{tail}"
        for other in apps:  # only providers that can list their apps are iterable
            if _matches(other.secret, text, digest):
                return "signed with the secret of another app of this server, under this app's key"
    if _matches(app.secret + "\n", f"{socket_id}:{channel}{tail}", digest):
        return "the application's secret ends in a line break; strip it where it is read"
    return (
        "signed for another socket_id (an answer of an earlier connection, or a cached one) or "
        "with another secret than this app's"
    )


def _alternatives(
    socket_id: str, channel: str, channel_data: str | None
) -> Iterator[tuple[str, str]]:
    tail = "" if channel_data is None else f":{channel_data}"
    for prefix in _PREFIXES:
        if channel.startswith(prefix):
            yield (
                f"{socket_id}:{channel.removeprefix(prefix)}{tail}",
                f"signed for the name without its prefix; sign the full name {shown(channel)}",
            )
        else:
            base = next((channel[len(p) :] for p in _PREFIXES if channel.startswith(p)), channel)
            yield (
                f"{socket_id}:{prefix}{base}{tail}",
                f"signed for {shown(prefix + base)}, not for {shown(channel)}",
            )
    for wrong in ("", "undefined", "null", ".".join(reversed(socket_id.split(".")))):
        yield (
            f"{wrong}:{channel}{tail}",
            f"signed for the socket_id {shown(wrong)}; the connection's is {socket_id}",
        )
    if channel_data is None:
        yield f"{socket_id}:{channel}:", "signed with an empty channel_data that was not sent"
        return
    yield f"{socket_id}:{channel}", "the signature does not cover the channel_data that was sent"
    yield f"{socket_id}::user::{channel_data}", "this is the signature of a sign-in"
    for text in _reserialised(channel_data):
        yield (
            f"{socket_id}:{channel}:{text}",
            "channel_data was encoded again after it was signed; send the signed string itself",
        )


def _reserialised(channel_data: str) -> Iterator[str]:
    if len(channel_data) > _EXPLAINED_BYTES:
        return
    try:
        value = json.loads(channel_data)
        for separators in ((",", ":"), (", ", ": ")):
            for ascii_only in (True, False):
                for sort in (True, False):
                    text = json.dumps(
                        value, separators=separators, ensure_ascii=ascii_only, sort_keys=sort
                    )
                    yield text
                    yield text.replace("/", "\\/")
    except (ValueError, RecursionError):
        return


def _matches(secret: str, text: str, digest: str) -> bool:
    try:
        return hmac.compare_digest(hmac_hex(secret, text.encode()), digest)
    except (UnicodeEncodeError, TypeError):
        return False
