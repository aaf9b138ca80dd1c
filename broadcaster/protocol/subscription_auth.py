"""
What the ``auth`` and ``channel_data`` of a subscription prove.

``auth`` is ``<app key>:<proof>``. What follows the first colon decides, by shape alone,
how it is verified: 64 lower-case hex digits are a Pusher signature, three base64url parts
are a JWT grant, anything else is malformed. One can never be taken for the other.

A signed ``channel_data`` may carry claims of ours beside what it is for; stock clients
forward it unread, for private channels too::

    {"user_id": "42", "broadcaster": {"iat": 1700000000, "exp": 1700086400}}

``iat`` and ``exp`` are Unix seconds: when the signature was made, and until when the
subscription may stand. Both are optional and come from our own endpoint only; signatures
of any Pusher library, which have none, are as good without.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from broadcaster.errors import InvalidSignature, MalformedMessage
from broadcaster.protocol.channels import shown
from broadcaster.protocol.messages import parse_channel_data
from broadcaster.protocol.signing import verify_channel

if TYPE_CHECKING:
    from broadcaster.protocol.messages import MemberData

MAX_USER_ID = 128
MAX_AUTH = 8_192

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class AuthKind(Enum):
    """How an ``auth`` value is verified."""

    HMAC = "hmac"
    JWT = "jwt"
    MALFORMED = "malformed"


class Verified(NamedTuple):
    """
    What a good ``auth`` proved.

    Attributes:
        member_data: on presence channels JSON text ``{"user_id":...,"user_info":...}``, the
            id in its original type; None elsewhere, and where the member is the signed-in user.
        info_size: bytes of ``user_info``.
        user_id: canonical text of whom this is about, or None if nobody said.
        issued_at: Unix seconds, or None if unknown; a revocation refuses what is older.
        expires_at: Unix seconds until which the subscription may stand, or None for ever.
    """

    member_data: str | None = None
    info_size: int = 0
    user_id: str | None = None
    issued_at: float | None = None
    expires_at: float | None = None


class Credentials(Protocol):
    """The part of an app that signatures need."""

    @property
    def key(self) -> str:
        """Public key."""
        ...

    @property
    def secret(self) -> str:
        """Signing secret."""
        ...


class Claims(msgspec.Struct, frozen=True):
    """Claims of ours in ``channel_data``; Unix seconds."""

    iat: float | None = None
    exp: float | None = None


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_claims = msgspec.json.Decoder(Claims).decode
_decode_id = msgspec.json.Decoder(str | int).decode
_NO_CLAIMS = Claims()


def classify(auth: str) -> AuthKind:
    """Say how `auth` is to be verified, from its shape alone."""
    _, _, proof = auth.partition(":")
    if _DIGEST.fullmatch(proof):
        return AuthKind.HMAC
    if len(auth) <= MAX_AUTH and _TOKEN.fullmatch(proof):
        return AuthKind.JWT
    return AuthKind.MALFORMED


def verify_signed(
    app: Credentials,
    *,
    auth: str,
    socket_id: str,
    channel: str,
    channel_data: str | None,
    now: float,
    signed_in: bool = False,
) -> Verified:
    """
    Verify a subscription that is signed by HMAC; `channel_data` is used only once it is proved.

    Args:
        app: key and secret to verify with.
        auth: ``<app key>:<64 hex digits>``.
        socket_id: of this connection.
        channel: full name; of a kind that needs authorization.
        channel_data: exactly as sent; it is part of the signed text when present, on
            private channels as well.
        now: Unix seconds.
        signed_in: whether the connection is signed in; only then may a presence
            subscription come without `channel_data`.

    Raises:
        InvalidSignature: not signed for exactly this by this app, or expired.
        MalformedMessage: the signed `channel_data` is not usable on this channel.
    """
    verify_channel(
        auth,
        key=app.key,
        secret=app.secret,
        socket_id=socket_id,
        channel=channel,
        channel_data=channel_data,
    )
    member = check_member(channel, channel_data, signed_in=signed_in)
    if channel_data is None:
        return Verified()
    user_id, claims = _read_claims(channel_data)
    if claims.exp is not None and claims.exp <= now:
        raise InvalidSignature(
            f"the authorization expired {now - claims.exp:.0f} s ago; ask the auth endpoint again",
            code="auth_expired",
        )
    if member is None:
        return Verified(user_id=user_id, issued_at=claims.iat, expires_at=claims.exp)
    return Verified(member.data, member.info_size, member.user_id, claims.iat, claims.exp)


def check_member(
    channel: str, channel_data: str | None, *, signed_in: bool = False
) -> MemberData | None:
    """
    Return the member in `channel_data` on a presence channel, None on other channels.

    Raises:
        InvalidSignature: a presence channel without a member.
        MalformedMessage: `channel_data` holds no usable ``user_id``.
    """
    if not channel.startswith("presence-"):
        return None
    if channel_data is None:
        if signed_in:
            return None
        raise InvalidSignature(
            "a presence channel needs channel_data with the member's user_id, or a sign-in first",
            code="member_missing",
        )
    member = parse_channel_data(channel_data)
    check_user_id(member.user_id)
    return member


def check_user_id(user_id: str) -> str:
    """Return `user_id` if it has 1 to 128 printable characters; raises `MalformedMessage`."""
    if not 1 <= len(user_id) <= MAX_USER_ID or not user_id.isprintable():
        raise MalformedMessage(
            f"user_id {shown(user_id)} must have 1 to {MAX_USER_ID} printable characters"
        )
    return user_id


def _read_claims(channel_data: str) -> tuple[str | None, Claims]:
    # On private channels any signed text is allowed; only what is ours is checked.
    try:
        fields = _decode_fields(channel_data)
    except (ValueError, RecursionError):
        return None, _NO_CLAIMS
    claims = _NO_CLAIMS
    if "broadcaster" in fields:
        try:
            claims = _decode_claims(fields["broadcaster"])
        except (ValueError, RecursionError) as error:
            raise MalformedMessage(
                "channel_data.broadcaster must be an object with numbers 'iat' and 'exp'"
            ) from error
    user_id = None
    if "user_id" in fields:
        try:
            user_id = str(_decode_id(fields["user_id"]))
        except (ValueError, RecursionError):
            user_id = None
    return user_id, claims
