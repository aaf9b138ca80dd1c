"""S4: requests that are sent again, late, early, or with parameters bent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from tests.security.requests import EVENTS, event_body, signed_params

if TYPE_CHECKING:
    import httpx

    from tests.gateway.world import RunningGateway


async def ask(gateway: RunningGateway, query: str, body: bytes) -> httpx.Response:
    return await gateway.http.post(f"{EVENTS}?{query}", content=body)


@pytest.mark.parametrize("away", [-601, -86_400, 602, 86_400])
async def test_s04_a_request_from_another_time_is_refused(
    away: int, gateway: RunningGateway
) -> None:
    body = event_body()
    query = urlencode(signed_params(EVENTS, body, now=time.time() + away))

    answer = await ask(gateway, query, body)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "auth_expired"


@pytest.mark.parametrize(
    ("bend", "status"),
    [
        (lambda good: [], 401),
        *(
            (lambda good, gone=name: [(k, v) for k, v in good if k != gone], 401)
            for name in ("auth_key", "auth_timestamp", "auth_version", "auth_signature", "body_md5")
        ),
        *(
            (lambda good, twice=name: [*good, (twice, dict(good)[twice])], 400)
            for name in ("auth_key", "auth_timestamp", "auth_signature", "body_md5")
        ),
        (lambda good: [*good, ("AUTH_KEY", "other")], 400),
        (lambda good: [*good, ("info[]", "user_count")], 400),
        (lambda good: [*good, ("channels[0]", "a")], 400),
        (lambda good: [(k, "9" * 400 if k == "auth_timestamp" else v) for k, v in good], 401),
        (lambda good: [(k, "٢" if k == "auth_timestamp" else v) for k, v in good], 401),
        (lambda good: [(k, "1e9" if k == "auth_timestamp" else v) for k, v in good], 401),
        (lambda good: [(k, "-1" if k == "auth_timestamp" else v) for k, v in good], 401),
        (lambda good: [(k, "" if k == "auth_signature" else v) for k, v in good], 401),
        (lambda good: [(k, v.upper() if k == "auth_signature" else v) for k, v in good], 401),
        (lambda good: [(k, "0" * 32 if k == "body_md5" else v) for k, v in good], 401),
        (lambda good: [(k, "2.0" if k == "auth_version" else v) for k, v in good], 401),
    ],
)
async def test_s04_bent_parameters_are_refused_and_nothing_is_published(
    bend: object, status: int, gateway: RunningGateway
) -> None:
    body = event_body(1)
    assert callable(bend)
    async with gateway.connect() as client:
        await client.subscribe("orders")
        answer = await ask(
            gateway, urlencode(bend(list(signed_params(EVENTS, body).items()))), body
        )
        await gateway.publish("orders", "after")
        await client.next("after")

    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert client.received("e") == []


async def test_s04_another_body_than_the_signed_one_is_refused(gateway: RunningGateway) -> None:
    query = urlencode(signed_params(EVENTS, event_body(1)))

    for body in (event_body(2), b"", event_body(1) + b" "):
        answer = await ask(gateway, query, body)
        assert answer.status_code == 401


async def test_s04_an_empty_body_may_have_its_md5(gateway: RunningGateway) -> None:
    """As PyPI's `pusher` sends it; the others leave it out."""
    path = "/apps/1234/channels"
    with_md5 = signed_params(path, method="GET")

    assert (await gateway.http.get(path, params=with_md5)).status_code == 200


async def test_s04_a_request_sent_twice_with_a_key_is_delivered_once(
    gateway: RunningGateway,
) -> None:
    """A replay within the window brings the key along: the header, or the signed body's."""
    body = event_body(1, idempotency_key="once")
    query = urlencode(signed_params(EVENTS, body))
    async with gateway.connect() as client:
        await client.subscribe("orders")
        answers = [await ask(gateway, query, body) for _ in range(3)]
        await gateway.publish("orders", "after")
        await client.next("after")

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert client.received("e") == [1]
