"""Grants signed with keys that a gateway reads by URL."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from broadcaster_auth.tokens import load_key, mint
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm

from broadcaster.testing.client import SUCCEEDED
from tests.auth.grant_keys import key_pair
from tests.drivers.http.issuer import running_issuer
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from broadcaster.testing.client import PusherClient
    from tests.gateway.conftest import StartGateway

pytestmark = pytest.mark.redis

ERROR = "pusher:subscription_error"


def document(*kids: str) -> bytes:
    private: Any = load_pem_private_key(key_pair("ES256")[0].encode(), None)
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return json.dumps({"keys": [{**jwk, "kid": kid} for kid in kids]}).encode()


async def present(client: PusherClient, channel: str, kid: str) -> None:
    key = load_key(kid, "ES256", key_pair("ES256")[0], app_secret=APP.secret)
    made = mint(key, app_id=APP.id, sub="42", channels=[channel], now=time.time(), lifetime=600)
    auth = f"{APP.key}:{made}"
    await client.send({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth}})


async def test_nobody_is_refused_because_keys_cannot_be_read_yet(
    start_gateway: StartGateway,
) -> None:
    async with running_issuer(document("k1")) as issuer:
        issuer.head = b"HTTP/1.1 503 Later"
        gateway = await start_gateway(app=replace(APP, jwks_url=issuer.url))
        async with gateway.connect() as client, gateway.connect() as gone:
            await eventually(lambda: issuer.asked)
            await present(client, "private-a", "k1")
            await present(gone, "private-a", "k1")
            await client.settle()
            assert (client.received(SUCCEEDED), client.received(ERROR)) == ([], [])
            await gone.settle()
            await gone.send({"event": "pusher:unsubscribe", "data": {"channel": "private-a"}})

            issuer.head = b"HTTP/1.1 200 OK"
            await client.next(SUCCEEDED, channel="private-a")
            await gateway.publish("private-a", "shipped")
            await client.next("shipped")
            await gone.settle()

    assert gone.received(SUCCEEDED) == []


async def test_a_new_key_is_fetched_and_a_forged_one_is_refused(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.drivers.http.jwks.ASKED_SECONDS", 0.3)
    async with running_issuer(document("k1")) as issuer:
        gateway = await start_gateway(app=replace(APP, jwks_url=issuer.url))
        async with gateway.connect() as client:
            await present(client, "private-a", "k1")
            await client.next(SUCCEEDED, channel="private-a")

            issuer.body = document("k1", "k2")
            await present(client, "private-b", "k2")
            await present(client, "private-c", "forged")
            await client.next(SUCCEEDED, channel="private-b")
            refusal = await client.next(ERROR)

    assert refusal.channel == "private-c"
    assert refusal.data["code"] == "token_unknown_key"
