r"""
Pusher signatures: subscriptions, users, HTTP API requests and webhooks.

All of them are HMAC-SHA256 in lower-case hex under the app's secret. What is signed:

=======================================  =================================
private, encrypted                       ``socket_id:channel``
presence, or any with channel_data       ``socket_id:channel:channel_data``
sign-in                                  ``socket_id::user::user_data``
HTTP API request                         ``METHOD\npath\nsorted query``
webhook                                  the raw body
=======================================  =================================

``channel_data`` and ``user_data`` are signed as the exact strings sent: PHP, Python and
JavaScript write JSON differently, so nothing is ever re-serialised. Socket ids and
channel names are checked against their grammars before anything is signed or verified,
because ``a:b`` in a name would make one signature valid for another channel.

Source: Pusher Channels, "Auth signatures", "HTTP API authentication", "Webhooks".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from broadcaster.errors import InvalidSignature, MalformedMessage
from broadcaster.protocol.channels import check_socket_id, parse_channel, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMESTAMP_WINDOW = 600
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_UNSIGNED = "auth_signature"


def hmac_hex(secret: str, text: bytes) -> str:
    """Return the lower-case hex HMAC-SHA256 of `text`."""
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def sign_channel(
    key: str, secret: str, *, socket_id: str, channel: str, channel_data: str | None = None
) -> str:
    """
    Return the ``auth`` value for a subscription: ``key:digest``.

    Raises:
        InvalidSocketId, InvalidChannel: before anything is signed.
        MalformedMessage: `channel_data` is not encodable text.
    """
    text = channel_string(socket_id=socket_id, channel=channel, channel_data=channel_data)
    return f"{key}:{hmac_hex(secret, text)}"


def sign_user(key: str, secret: str, *, socket_id: str, user_data: str) -> str:
    """Return the ``auth`` value for ``pusher:signin``."""
    return f"{key}:{hmac_hex(secret, user_string(socket_id=socket_id, user_data=user_data))}"


def channel_string(*, socket_id: str, channel: str, channel_data: str | None) -> bytes:
    """Return the bytes that a subscription's signature covers."""
    text = f"{check_socket_id(socket_id)}:{parse_channel(channel).name}"
    return _utf8(text if channel_data is None else f"{text}:{channel_data}", "channel_data")


def user_string(*, socket_id: str, user_data: str) -> bytes:
    """Return the bytes that a sign-in's signature covers."""
    return _utf8(f"{check_socket_id(socket_id)}::user::{user_data}", "user_data")


def verify_channel(
    auth: str,
    *,
    key: str,
    secret: str,
    socket_id: str,
    channel: str,
    channel_data: str | None = None,
) -> None:
    """
    Check the ``auth`` of a subscription.

    Raises:
        InvalidSignature: not ours; the message names the string that should have been
            signed (it holds nothing secret), as hosted Pusher does.
    """
    expected = channel_string(socket_id=socket_id, channel=channel, channel_data=channel_data)
    _verify(auth, key=key, secret=secret, expected=expected, form="SOCKET:CHANNEL[:DATA]")


def verify_user(auth: str, *, key: str, secret: str, socket_id: str, user_data: str) -> None:
    """Check the ``auth`` of a sign-in; raises `InvalidSignature`."""
    expected = user_string(socket_id=socket_id, user_data=user_data)
    _verify(auth, key=key, secret=secret, expected=expected, form="SOCKET::user::DATA")


def _verify(auth: str, *, key: str, secret: str, expected: bytes, form: str) -> None:
    sent_key, colon, digest = auth.partition(":")
    if not auth:
        raise InvalidSignature("auth is missing", code="auth_missing")
    if not colon or not _DIGEST.fullmatch(digest):
        raise InvalidSignature(
            "auth must be '<app key>:<64 lower-case hex digits>'", code="auth_malformed"
        )
    same_key = hmac.compare_digest(_utf8(sent_key, "auth"), key.encode())
    same_digest = hmac.compare_digest(digest.encode(), hmac_hex(secret, expected).encode())
    if not same_key:
        raise InvalidSignature(
            f"Invalid key in subscription auth data: {shown(sent_key)}", code="auth_wrong_key"
        )
    if not same_digest:
        raise InvalidSignature(
            f"Invalid signature: Expected HMAC SHA256 hex digest of {form}, but got {digest}",
            code="auth_mismatch",
        )


def request_string(method: str, path: str, params: Mapping[str, str]) -> bytes:
    """
    Return the bytes that an HTTP API request's signature covers.

    Args:
        method: upper case.
        path: as the client requested it, without query.
        params: query parameters with **unescaped** values; ``auth_signature`` is left out.
    """
    query = "&".join(
        f"{name.lower()}={params[name]}"
        for name in sorted(params, key=str.lower)
        if name.lower() != _UNSIGNED
    )
    return _utf8(f"{method}\n{path}\n{query}", "query")


def sign_request(
    key: str,
    secret: str,
    *,
    method: str,
    path: str,
    body: bytes,
    params: Mapping[str, str],
    now: float,
) -> dict[str, str]:
    """Return `params` with the ``auth_*`` parameters and ``body_md5`` added."""
    signed = {
        **params,
        "auth_key": key,
        "auth_timestamp": str(int(now)),
        "auth_version": "1.0",
        "body_md5": hashlib.md5(body, usedforsecurity=False).hexdigest(),
    }
    signed[_UNSIGNED] = hmac_hex(secret, request_string(method, path, signed))
    return signed


def verify_request(
    *,
    key: str,
    secret: str,
    method: str,
    path: str,
    params: Mapping[str, str],
    body: bytes,
    now: float,
) -> None:
    """
    Check the signature of an HTTP API request.

    Args:
        params: every query parameter once, values unescaped.
        now: Unix seconds.

    Raises:
        InvalidSignature: a parameter is missing or malformed, the timestamp is more than
            600 s away, the body does not match ``body_md5``, or the digest is wrong.
    """
    sent = {name.lower(): value for name, value in params.items()}
    _check_parameters(sent, key=key, now=now)
    _check_body(sent.get("body_md5", ""), body)
    text = request_string(method, path, params)
    expected = hmac_hex(secret, text)
    if not hmac.compare_digest(_utf8(sent[_UNSIGNED], _UNSIGNED), expected.encode()):
        raise InvalidSignature(
            "Invalid signature: you should have sent HmacSHA256Hex("
            f'"{text.decode()!s}", your_secret_key), but you sent {shown(sent[_UNSIGNED], 80)}'.replace(
                "\n", "\\n"
            ),
            code="auth_mismatch",
        )


def _check_parameters(sent: Mapping[str, str], *, key: str, now: float) -> None:
    for name in ("auth_key", "auth_timestamp", "auth_version", _UNSIGNED):
        if not sent.get(name):
            raise InvalidSignature(f"query parameter {name} is missing", code="auth_missing")
    if not hmac.compare_digest(_utf8(sent["auth_key"], "auth_key"), key.encode()):
        raise InvalidSignature(
            f"auth_key {shown(sent['auth_key'])} is not this app's key", code="auth_wrong_key"
        )
    if sent["auth_version"] != "1.0":
        raise InvalidSignature(
            f"auth_version {shown(sent['auth_version'])} is not 1.0", code="auth_malformed"
        )
    if not _TIMESTAMP.fullmatch(sent["auth_timestamp"]):
        raise InvalidSignature(
            f"auth_timestamp {shown(sent['auth_timestamp'])} is not Unix seconds",
            code="auth_malformed",
        )
    away = abs(now - int(sent["auth_timestamp"]))
    if away > TIMESTAMP_WINDOW:
        raise InvalidSignature(
            f"Timestamp expired: auth_timestamp is {int(away)} s away from this server's clock "
            f"({int(now)}); {TIMESTAMP_WINDOW} s are allowed",
            code="auth_expired",
        )


def _check_body(sent_md5: str, body: bytes) -> None:
    if not body and not sent_md5:
        return
    if not sent_md5:
        raise InvalidSignature("query parameter body_md5 is missing", code="auth_missing")
    actual = hashlib.md5(body, usedforsecurity=False).hexdigest()
    if not hmac.compare_digest(_utf8(sent_md5.lower(), "body_md5"), actual.encode()):
        raise InvalidSignature(
            f"body_md5 {shown(sent_md5)} does not match the body (its MD5 is {actual})",
            code="body_mismatch",
        )


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MalformedMessage(f"{what} contains a lone surrogate") from error
