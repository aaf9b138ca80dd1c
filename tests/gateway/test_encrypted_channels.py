"""Encrypted channels from `broadcast()` to a subscriber who was told the secret."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from broadcaster_auth import Authorizer, Endpoint
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from broadcaster import current
from broadcaster.events.broadcast import abroadcast
from broadcaster.events.channels import EncryptedPrivateChannel, PrivateChannel
from broadcaster.events.event import ShouldBroadcastNow
from broadcaster.settings import BroadcastSettings, EndpointSettings, Settings
from broadcaster.testing.client import SUCCEEDED
from tests.gateway.world import APP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.testing.client import PusherClient
    from tests.gateway.world import RunningGateway

BACKEND_APP = replace(APP, encryption_key=bytes(range(32)))
EVENT = "App\\Events\\Told"
rules = Authorizer()


@rules.channel("{name}")
def anybody(user: object, name: str) -> bool:
    return bool(user and name)


@dataclass
class Told(ShouldBroadcastNow):
    what: str = "Zoë"

    def broadcast_on(self) -> list[PrivateChannel | EncryptedPrivateChannel]:
        return [
            EncryptedPrivateChannel("vault"),
            PrivateChannel("office"),
            EncryptedPrivateChannel("cache-vault"),
        ]


async def enter(client: PusherClient, channel: str) -> SecretBox | None:
    """Subscribe with what the auth endpoint answers; return what decrypts the events."""
    endpoint = Endpoint(app=BACKEND_APP, authorizer=rules)
    asked = {"socket_id": client.socket_id, "channel_name": channel}
    answer: dict[str, str] = json.loads(endpoint.respond(asked, user={"id": 1}).body)
    secret = answer.pop("shared_secret", None)
    await client.send({"event": "pusher:subscribe", "data": {"channel": channel, **answer}})
    await client.next(SUCCEEDED, channel=channel)
    return None if secret is None else SecretBox(b64decode(secret))


def opened(box: SecretBox | None, data: dict[str, str]) -> Any:
    assert box is not None
    return json.loads(box.decrypt(b64decode(data["ciphertext"]), b64decode(data["nonce"])))


@pytest.fixture(params=["redis", "pusher"])
async def backend(
    request: pytest.FixtureRequest, gateway: RunningGateway, redis_url: str, prefix: str
) -> AsyncIterator[None]:
    """The current application, publishing through Redis or through the gateway's HTTP API."""
    settings = Settings(
        app=BACKEND_APP,
        redis_url=redis_url,
        prefix=prefix,
        broadcast=BroadcastSettings(driver=request.param),
        endpoint=EndpointSettings(port=gateway.port),
    )
    application = current.configure(settings)
    yield
    await application.aclose()
    current.reset()


@pytest.mark.usefixtures("backend")
async def test_subscribers_read_what_nobody_on_the_way_could(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        vault = await enter(client, "private-encrypted-vault")
        await enter(client, "private-office")

        await abroadcast(Told())
        hidden = await client.next(EVENT, channel="private-encrypted-vault")
        plain = await client.next(EVENT, channel="private-office")

    assert set(hidden.data) == {"nonce", "ciphertext"}
    assert opened(vault, hidden.data) == {"what": "Zoë"}
    assert plain.data == {"what": "Zoë"}


@pytest.mark.usefixtures("backend")
async def test_the_last_event_of_an_encrypted_channel_is_kept_encrypted(
    gateway: RunningGateway,
) -> None:
    await abroadcast(Told())
    async with gateway.connect() as client:
        vault = await enter(client, "private-encrypted-cache-vault")
        kept = await client.next(EVENT)
        other = await enter(client, "private-encrypted-vault")

    assert opened(vault, kept.data) == {"what": "Zoë"}
    with pytest.raises(CryptoError):
        opened(other, kept.data)
