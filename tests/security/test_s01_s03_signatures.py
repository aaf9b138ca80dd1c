"""
S1 to S3 where they meet a real gateway: what a signature is for, and whose it is.

The signers and verifiers themselves are attacked in ``tests/auth/test_attacks.py``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.protocol.app import App
from broadcaster.protocol.signing import hmac_hex, sign_channel, sign_request, sign_user
from tests.gateway.world import APP

if TYPE_CHECKING:
    from broadcaster.testing.client import PusherClient
    from tests.gateway.world import RunningGateway

MEMBER = '{"user_id":"1","user_info":{"name":"Ada"}}'
STRANGER = App(id="9", key="stranger", secret="f" * 32)


def over(text: str) -> str:
    """A signature over anything, as a careless backend would make it."""
    return f"{APP.key}:{hmac_hex(APP.secret, text.encode())}"


async def refusal(client: PusherClient, channel: str, **data: Any) -> dict[str, Any]:
    await client.send({"event": "pusher:subscribe", "data": {"channel": channel, **data}})
    frame = await client.next("pusher:subscription_error", channel=channel)
    answer: dict[str, Any] = frame.data
    return answer


@pytest.mark.parametrize(
    "channel",
    [
        ':user::{"id":"1"}',
        "private-a:b",
        "private-x:presence-y",
        "private-x\n",
        "private-x\x00",
        "private-x\uff11",
        "private-\u0664",
        "private-x y",
    ],
)
async def test_s01_a_forged_channel_name_is_refused_although_its_signature_fits(
    channel: str, gateway: RunningGateway
) -> None:
    async with gateway.connect() as client:
        answer = await refusal(client, channel, auth=over(f"{client.socket_id}:{channel}"))

        assert (answer["type"], answer["code"]) == ("InvalidChannel", "invalid_channel")
        assert not gateway.node.hub.channels


async def test_s01_a_channel_s_signature_signs_nobody_in(gateway: RunningGateway) -> None:
    """`SOCKET::user::DATA` is also what a channel called `:user::DATA` would be signed as."""
    async with gateway.connect() as client:
        user_data = '{"id":"1"}'
        auth = sign_channel(
            APP.key,
            APP.secret,
            socket_id=client.socket_id,
            channel="private-x",
            channel_data=user_data,
        )
        await client.send(
            {"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}
        )
        error = await client.next("pusher:error")

    assert error.data["code"] == 4009


async def test_s01_a_sign_in_opens_no_channel(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        auth = sign_user(APP.key, APP.secret, socket_id=client.socket_id, user_data=MEMBER)
        answer = await refusal(client, "presence-x", auth=auth, channel_data=MEMBER)

    assert answer["type"] == "AuthError"


async def test_s02_what_is_signed_is_the_exact_text(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:

        def auth(channel: str, data: str | None) -> str:
            return sign_channel(
                APP.key,
                APP.secret,
                socket_id=client.socket_id,
                channel=channel,
                channel_data=data,
            )

        forged = [
            ("presence-x", auth("private-x", MEMBER), MEMBER),
            ("presence-x", auth("presence-x", None), None),
            ("presence-x", auth("presence-x", MEMBER), None),
            ("presence-x", auth("presence-x", MEMBER), MEMBER.replace("Ada", "Eve")),
            ("presence-x", auth("presence-x", MEMBER), MEMBER.replace(":", ": ")),
            (
                "presence-x",
                auth("presence-x", MEMBER),
                '{"user_info":{"name":"Ada"},"user_id":"1"}',
            ),
            (
                "presence-x",
                auth("presence-x", MEMBER),
                '{"user_id":"1","user_info":{"name":"Ada"},"user_id":"2"}',
            ),
            ("private-x", auth("private-x", None), MEMBER),
            ("private-x", auth("private-x", MEMBER), None),
        ]
        for channel, signature, data in forged:
            more = {} if data is None else {"channel_data": data}
            answer = await refusal(client, channel, auth=signature, **more)
            assert answer["type"] == "AuthError"
        await client.subscribe("presence-x", {"user_id": "1"})


async def test_s03_nothing_of_another_app_opens_anything(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        for app in (
            STRANGER,
            App(id=APP.id, key=APP.key, secret=STRANGER.secret),
            App(id=APP.id, key=STRANGER.key, secret=APP.secret),
        ):
            auth = sign_channel(
                app.key, app.secret, socket_id=client.socket_id, channel="private-x"
            )
            answer = await refusal(client, "private-x", auth=auth)
            assert (answer["type"], answer["status"]) == ("AuthError", 401)


READS = ["/channels", "/channels/orders", "/channels/presence-x/users", "/connections"]
WRITES = [
    "/events",
    "/batch_events",
    "/channels/orders/events",
    "/users/1/terminate_connections",
]
# Without an app in its path, as PyPI's `pusher` asks: the key alone says whose it is.
ALIAS = "/users/1/terminate_connections"


@pytest.mark.parametrize("route", READS + WRITES)
async def test_s03_every_signed_route_wants_this_app_s_own_signature(
    route: str, gateway: RunningGateway
) -> None:
    """Unsigned, another key, another secret, another app's id: 401 in one shape."""
    method = "GET" if route in READS else "POST"
    body = b"" if route in READS else b"{}"

    async def ask(app: App, *, path: str, signed: bool = True) -> tuple[int, set[str]]:
        params = (
            sign_request(
                app.key,
                app.secret,
                method=method,
                path=path,
                body=body,
                params={},
                now=time.time(),
            )
            if signed
            else {}
        )
        answer = await gateway.http.request(method, path, params=params, content=body)
        return answer.status_code, set(answer.json()["error"])

    own, others = f"/apps/{APP.id}{route}", f"/apps/{STRANGER.id}{route}"
    for app, path in (
        (STRANGER, own),
        (STRANGER, others),
        (App(id=APP.id, key=APP.key, secret=STRANGER.secret), own),
        (App(id=APP.id, key=STRANGER.key, secret=APP.secret), own),
    ):
        assert await ask(app, path=path) == (401, {"code", "message"})
        assert await ask(app, path=path, signed=False) == (401, {"code", "message"})


async def test_s03_the_route_without_an_app_wants_the_signature_of_the_key_s_own_app(
    gateway: RunningGateway,
) -> None:
    for app in (
        STRANGER,
        App(id=APP.id, key=APP.key, secret=STRANGER.secret),
        App(id=APP.id, key=STRANGER.key, secret=APP.secret),
    ):
        params = sign_request(
            app.key, app.secret, method="POST", path=ALIAS, body=b"{}", params={}, now=time.time()
        )
        answer = await gateway.http.post(ALIAS, params=params, content=b"{}")
        assert answer.status_code == 401
    assert (await gateway.http.post(ALIAS, content=b"{}")).status_code == 401
