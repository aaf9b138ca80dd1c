"""The HTTP driver against a real gateway's HTTP API."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from broadcaster.contracts.apps import App
from broadcaster.drivers.http.pusher import PusherPublisher
from broadcaster.drivers.redis.history import RedisHistory
from broadcaster.errors import PublishRefused
from broadcaster.protocol.envelope import decode_envelope
from broadcaster.settings import Settings
from broadcaster.wiring.gateway import open_gateway
from tests.drivers.publications import make_publication

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

    from broadcaster.drivers.redis.client import RedisClients

APP = App(id="1", key="app-key", secret="app-secret")

pytestmark = pytest.mark.redis


@pytest.fixture
async def gateway(clients: RedisClients) -> AsyncIterator[Starlette]:
    settings = Settings(app=APP, redis_url=clients.url, prefix=clients.prefix)
    made = open_gateway(settings)
    yield made.app
    await made.clients.aclose()


def driver_for(gateway: Starlette, app: App = APP) -> PusherPublisher:
    transport = httpx.ASGITransport(gateway)
    return PusherPublisher(app, base_url="http://gateway", async_transport=transport)


async def test_a_gateway_accepts_what_the_driver_sends(
    gateway: Starlette, clients: RedisClients
) -> None:
    driver = driver_for(gateway)

    await driver.apublish([make_publication("a", "private-b", name="ä", socket_id="1.2")])
    await driver.apublish([make_publication("a", data=f"{number}") for number in range(12)])

    kept = [decode_envelope(raw) for raw in await RedisHistory(clients).read("1", "a")]
    frames = [json.loads(envelope.frame) for envelope in kept]
    assert kept[0].excluded == "1.2"
    assert frames[0] == {"event": "ä", "channel": "a", "data": '{"id":7}'}
    assert [frame["data"] for frame in frames[1:]] == [f"{number}" for number in range(12)]
    assert len(await RedisHistory(clients).read("1", "private-b")) == 1
    await driver.aclose()


async def test_a_gateways_refusal_reaches_the_caller(gateway: Starlette) -> None:
    driver = driver_for(gateway, replace(APP, secret="another"))

    with pytest.raises(PublishRefused, match="auth_mismatch") as caught:
        await driver.apublish([make_publication("a")])

    assert caught.value.status == 401
    await driver.aclose()
