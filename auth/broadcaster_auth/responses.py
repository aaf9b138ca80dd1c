"""
The JSON that pusher-js and Echo expect from an auth endpoint.

::

    private    {"auth": "<key>:<signature>", "channel_data": "<string>"}
    presence   the same, channel_data holding user_id and user_info
    encrypted  as private, and "shared_secret": "<Base64>", which the signature does not cover
    sign-in    {"auth": "<key>:<signature>", "user_data": "<string>"}

``channel_data`` and ``user_data`` are encoded once; the signature covers exactly those
bytes, and they travel as a JSON string. We sign ``channel_data`` for private channels
too, with the user's id, the time, and an expiry: stock clients forward it unread, and a
gateway of ours can then end the subscription when the user's right ends. `claims=False`
turns that off, for servers that ignore ``channel_data`` on private channels.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.errors import InvalidPayload
from broadcaster.protocol.channels import ChannelKind, is_user_id
from broadcaster.protocol.encryption import channel_secret, require_encryption_key
from broadcaster.protocol.signing import sign_channel, sign_user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.contracts.apps import App
    from broadcaster_auth.authorizer import Allowed

DEFAULT_TTL = 86_400.0


def channel_answer(
    app: App,
    allowed: Allowed,
    *,
    socket_id: str,
    now: float,
    ttl: float | None = DEFAULT_TTL,
    claims: bool = True,
) -> dict[str, str]:
    """
    Return the answer for a channel.

    Args:
        app: signs with its key and secret.
        allowed: what the rules decided.
        socket_id: of the connection that wants to enter.
        now: Unix seconds.
        ttl: seconds until the subscription ends by itself; None for never.
        claims: whether to sign time and expiry, and the user id on private channels.

    Raises:
        NotConfigured: the channel is encrypted, and the app has no master key.
        InvalidPayload: the member has no JSON form.
    """
    channel = allowed.channel
    data: dict[str, Any] = {}
    if allowed.member is not None:
        data = {"user_id": allowed.member.user_id, "user_info": allowed.member.info}
    elif claims and allowed.user_id is not None:
        data = {"user_id": allowed.user_id}
    if claims:
        times = {"iat": int(now)}
        if ttl is not None:
            times["exp"] = int(now + ttl)
        data["broadcaster"] = times
    channel_data = _json(data, "the member") if data else None
    auth = sign_channel(
        app.key,
        app.secret,
        socket_id=socket_id,
        channel=channel.name,
        channel_data=channel_data,
    )
    answer = {"auth": auth}
    if channel_data is not None:
        answer["channel_data"] = channel_data
    if channel.kind is ChannelKind.ENCRYPTED:
        secret = channel_secret(channel.name, require_encryption_key(app))
        answer["shared_secret"] = b64encode(secret).decode()
    return answer


def user_answer(app: App, user_data: Mapping[str, object], *, socket_id: str) -> dict[str, str]:
    """
    Return the answer for ``pusher.signin()``.

    Args:
        app: signs with its key and secret.
        user_data: ``{"id": str, "user_info"?: object, "watchlist"?: list}``; an integer id
            is turned into text, because pusher-js ignores ids that are not strings.
        socket_id: of the connection that signs in.

    Raises:
        InvalidPayload: no usable ``id``, or no JSON form.
    """
    user_id = user_data.get("id")
    plain = isinstance(user_id, str | int) and not isinstance(user_id, bool)
    text = str(user_id) if plain else ""
    if not is_user_id(text):
        raise InvalidPayload(
            "user_data needs an 'id' of 1 to 128 letters, digits or _ - = @ , . ; "
            f"and has {user_id!r}"
        )
    encoded = _json({**user_data, "id": text}, "user_data")
    auth = sign_user(app.key, app.secret, socket_id=socket_id, user_data=encoded)
    return {"auth": auth, "user_data": encoded}


def _json(value: object, what: str) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(f"{what} has no JSON form: {error}") from error
